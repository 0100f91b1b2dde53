"""The emulated data centre in one asynchronous process: nodes, kubelets, engines, GPUs and their traffic.

Model time is wall time since the world began, on a fixed grid of ticks; each tick's lag is recorded.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from joulery.domain.keys import ObjectKey
from joulery.emulator.accounts import PoolTruth
from joulery.emulator.addresses import PodAddresses
from joulery.emulator.apiserver import ApiServer
from joulery.emulator.engines import EmulatedEngines
from joulery.emulator.kubelet import Kubelet
from joulery.emulator.lag import LagRecord, LagSummary, ticks_due
from joulery.emulator.meters import NodeMeters
from joulery.emulator.nodes import DEFAULT_PRODUCT, NodeObjects, emulated_nodes
from joulery.emulator.outcomes import EmulationOutcomes, Timeline, pool_columns, pool_result
from joulery.emulator.podresources import HeldGpus, PodResourcesServer
from joulery.emulator.targets import TargetsFile
from joulery.errors import ConfigError
from joulery.serving.engine import Engine
from joulery.serving.instance import instance_model

Ints = npt.NDArray[np.int64]

# Clocks and readiness take effect on ticks; requests arrive at their exact times.
TICK_NS = 25_000_000
# NVML's energy counter moves about every 100 ms.
_METER_TICKS = 4
_TIMELINE_TICKS = 40
_NS_PER_S = 1_000_000_000
_REMOVAL_S = 8.0


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """What is emulated. `data` holds GPU state files, sockets and the targets file; the world makes it."""

    kubeconfig: Path
    data: Path
    pools: tuple[PoolTruth, ...]
    nodes: int = 6
    gpus_per_node: int = 8
    product: str = DEFAULT_PRODUCT
    seed: int = 0
    targets: Path | None = None

    @property
    def targets_file(self) -> Path:
        """Prometheus' file_sd document; `targets.json` in the data folder where no other is named."""
        return self.targets or self.data / "targets.json"


class EmulatedWorld:
    """`async with EmulatedWorld(config) as world`: everything runs inside; on exit its nodes are deleted."""

    def __init__(self, config: WorldConfig, *, report: Callable[[str], None]) -> None:
        self.config = config
        self.nodes = emulated_nodes(config.nodes, config.gpus_per_node, product=config.product)
        self._report = report
        self._meters = {node.name: NodeMeters(node, self.nvml_state(node.name)) for node in self.nodes}
        self.engines = EmulatedEngines(
            config.pools, self._meters, TargetsFile(config.targets_file), PodAddresses()
        )
        self._lags = LagRecord()
        self._timeline = Timeline()
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets: list[PodResourcesServer] = []
        self._start_ns = 0
        self._started_at_s = 0.0

    async def __aenter__(self) -> Self:
        _compile(self.config.pools)
        self._server = await ApiServer.connect(self.config.kubeconfig)
        self._objects = NodeObjects(self._server, self.nodes, self._report)
        self.kubelet = Kubelet(
            self._server, self.nodes, self.engines, seed=self.config.seed, report=self._report
        )
        try:
            await self._serve_pod_resources()
            await self._objects.register()
        except BaseException:
            await self._close()
            raise
        # The collector's pauses would be ticks that come late: what exists now is never garbage.
        gc.freeze()
        self._start_ns = time.monotonic_ns()
        self._started_at_s = time.time()
        endless = {"kubelet": self.kubelet.run, "leases": self._objects.renew_for_ever, "ticks": self._tick}
        self._tasks = [asyncio.create_task(run(), name=name) for name, run in endless.items()]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    @property
    def now_s(self) -> float:
        """Model time: seconds since the world began."""
        return (time.monotonic_ns() - self._start_ns) / _NS_PER_S

    def nvml_state(self, node: str) -> Path:
        """The GPU state file of a node, for JOULERY_NVML_STATE of its agent."""
        return self.config.data / "nvml" / f"{node}.state"

    def pod_resources_socket(self, node: str) -> Path:
        """The node's PodResources socket."""
        return self.config.data / "pr" / f"{node}.sock"

    def submit_schedule(
        self, pool: str, arrival_s: npt.NDArray[np.float64], inputs: Ints, outputs: Ints
    ) -> None:
        """Let requests of a pool (`namespace/name`) arrive at these times of the model, not before now.

        Raises:
            ConfigError: unknown pool, or a time that has passed.
        """
        account = self.engines.accounts.get(pool)
        if account is None:
            raise ConfigError(f"no pool {pool!r} is emulated, only {', '.join(self.engines.accounts)}")
        arrival_ns = np.round(np.asarray(arrival_s, float) * _NS_PER_S).astype(np.int64)
        if len(arrival_ns) and int(arrival_ns[0]) <= self.engines.now_ns:
            raise ConfigError(
                f"pool {pool}: arrival at {arrival_s[0]:.3f} s lies before now, {self.now_s:.3f} s"
            )
        account.traffic.schedule(arrival_ns, inputs, outputs)

    def mishap(self, kind: str, name: str) -> None:
        """Let something go wrong: `Restart`, `HidePages`, `ShowPages` of a pod, `ReloadDriver` of a node.

        Raises:
            ConfigError: unknown kind, pod or node.
        """
        engines = self.engines
        match kind:
            case "ReloadDriver" if name in self._meters:
                self._meters[name].reload()
            case "Restart":
                engines.restart(_key(name))
            case "HidePages":
                engines.hide_pages(_key(name))
            case "ShowPages":
                engines.show_pages(_key(name))
            case _:
                raise ConfigError(f"no mishap {kind!r} for {name!r}")

    async def run_until(self, model_s: float) -> None:
        """Wait for a model time. Raises what broke if a part of the world does."""
        left_s = max(0.0, model_s - self.now_s)
        done, _ = await asyncio.wait(self._tasks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
            raise RuntimeError(f"the emulator's {task.get_name()} ended by themselves")

    def outcomes(self) -> EmulationOutcomes:
        """Everything up to the last tick."""
        self.engines.meter()
        return EmulationOutcomes(
            started_at_s=self._started_at_s,
            model_s=self.engines.now_ns / _NS_PER_S,
            pools={name: pool_result(account) for name, account in self.engines.accounts.items()},
            fleet_energy_j=self.engines.fleet_energy_j,
            lag=self.lag(),
            seed=self.config.seed,
            gpus=self.config.nodes * self.config.gpus_per_node,
            timeline=self._timeline.arrays(),
        )

    def lag(self) -> LagSummary:
        """How far ticks were behind the wall clock."""
        return self._lags.summary()

    async def _tick(self) -> None:
        tick = 1
        while True:
            due = ticks_due(self._elapsed_ns(), tick, TICK_NS)
            if due:
                self.engines.tick(due[-1] * TICK_NS)
                reached_ns = self._elapsed_ns()
                self._lags.add([(reached_ns - number * TICK_NS) * 1e-6 for number in due])
                self._every(due, _METER_TICKS, self.engines.meter)
                self._every(due, _TIMELINE_TICKS, self._sample)
                tick = due[-1] + 1
            await asyncio.sleep(max(0.0, (tick * TICK_NS - self._elapsed_ns()) / _NS_PER_S))

    def _elapsed_ns(self) -> int:
        return time.monotonic_ns() - self._start_ns

    def _every(self, due: range, ticks: int, call: Callable[[], None]) -> None:
        if due[-1] // ticks > (due[0] - 1) // ticks:
            call()

    def _sample(self) -> None:
        engines = self.engines
        pools = {
            name: pool_columns(account, engines.instances(account))
            for name, account in engines.accounts.items()
        }
        self._timeline.sample(engines.now_ns / _NS_PER_S, engines.fleet_energy_j, pools)

    async def _serve_pod_resources(self) -> None:
        for node in self.nodes:
            held = _held_gpus(self.kubelet, node.name, node.gpu_uuids)
            server = PodResourcesServer(self.pod_resources_socket(node.name), node.gpu_uuids, held)
            await server.start()
            self._sockets.append(server)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._remove_nodes()
        await asyncio.gather(*(server.stop() for server in self._sockets))
        await self._server.close()
        for meters in self._meters.values():
            meters.close()

    async def _remove_nodes(self) -> None:
        try:
            async with asyncio.timeout(_REMOVAL_S):
                await self._objects.remove()
        except TimeoutError:
            self._report("the API server does not answer: the emulated nodes' objects stay behind")


def _held_gpus(kubelet: Kubelet, node: str, uuids: Sequence[str]) -> Callable[[], list[HeldGpus]]:
    """What PodResources lists: pods with devices and without, as the kubelet does."""
    return lambda: [
        HeldGpus(pod.key.namespace, pod.key.name, pod.container, tuple(uuids[index] for index in gpus))
        for pod, gpus in kubelet.running(node)
    ]


def _key(name: str) -> ObjectKey:
    namespace, _, pod = name.partition("/")
    return ObjectKey(namespace, pod)


def _compile(pools: Sequence[PoolTruth]) -> None:
    """Run an engine once, so that no tick waits for the compiler."""
    for pool in pools[:1]:
        sizes = pool.truth.accelerators[pool.accelerator].device.tensor_parallel_sizes
        model = instance_model(pool.truth, pool.accelerator, max(sizes))
        engine = Engine(model, token_budget=2048, max_num_seqs=64, clock_mhz=model.max_clock_mhz)
        engine.submit(0, 64, 4)
        engine.advance(_NS_PER_S)
        engine.take_finished()
        engine.counters()

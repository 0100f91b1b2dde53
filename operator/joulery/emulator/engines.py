"""All engines of the emulation: what happens inside pods, tick by tick, in model time.

The runtime behind the emulated kubelet. Requests enter here in process; only pages leave through sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulery.domain.keys import ObjectKey
from joulery.emulator.accounts import PoolAccount, PoolTruth
from joulery.emulator.addresses import PodAddresses
from joulery.emulator.engine_options import EngineOptions, flags, read_options
from joulery.emulator.instance import Instance, InstancePhase
from joulery.emulator.meters import EMPTY_GPU_W, NodeMeters
from joulery.emulator.page_server import PageServer
from joulery.emulator.pages import EnginePage
from joulery.emulator.pods import PodSpec
from joulery.emulator.targets import ScrapeTarget, TargetsFile
from joulery.errors import ConfigError
from joulery.serving.instance import instance_model
from joulery.serving.parameters import UnknownVariantError

_PLAIN_PORT = 8000
_NS = 1e-9


@dataclass(slots=True)
class _Pod:
    """One pod's insides; foreign pods have no instance."""

    spec: PodSpec
    gpus: tuple[int, ...]
    site: PageServer
    address: str
    port: int
    account: PoolAccount | None = None
    instance: Instance | None = None
    page: EnginePage | None = None
    metered_j: float = 0.0
    drained: asyncio.Event = field(default_factory=asyncio.Event)


class EmulatedEngines:
    """Every pod's engine. `tick` moves model time; the rest is called by the kubelet between ticks."""

    def __init__(
        self,
        pools: Sequence[PoolTruth],
        meters: Mapping[str, NodeMeters],
        targets: TargetsFile,
        addresses: PodAddresses,
    ) -> None:
        _check_distinct(pools)
        self.accounts = {str(pool.key): PoolAccount(pool) for pool in pools}
        self.now_ns = 0
        self._meters = meters
        self._targets = targets
        self._addresses = addresses
        self._pods: dict[str, _Pod] = {}
        self._metered_ns = 0

    # --- the kubelet's side

    def start(self, pod: PodSpec, gpus: tuple[int, ...]) -> str:
        """Begin loading; the pod's address. A pod of no known pool gets an address and no engine.

        Raises:
            ConfigError: the arguments of a pool's pod do not make an engine.
        """
        account = self._account_of(pod)
        if account is None:
            self._pods[pod.uid] = inside = self._foreign(pod, gpus)
            return inside.address
        options = read_options(pod.arguments)
        instance = self._instance(pod, options, account.pool)
        inside = self._foreign(pod, gpus, options.port)
        inside.account, inside.instance, inside.page = account, instance, _page(account.pool, options)
        _publish(inside)
        account.starts += 1
        self._pods[pod.uid] = inside
        return inside.address

    async def listen(self, uid: str) -> None:
        """Loading is over: metrics are served, and scraped from now on."""
        inside = self._pods[uid]
        if inside.instance is None:
            return
        inside.instance.load()
        await inside.site.start()
        spec = inside.spec
        self._targets.add(uid, ScrapeTarget(spec.key, inside.address, inside.port, spec.node, spec.container))

    def take_requests(self, uid: str) -> None:
        """Known to be ready: it gets its share from the next tick on."""
        inside = self._pods.get(uid)
        if inside is not None and inside.instance is not None:
            inside.instance.serve()

    async def drain(self, uid: str) -> None:
        """No new requests; returns when the running ones are finished."""
        inside = self._pods.get(uid)
        if inside is None or inside.instance is None:
            return
        inside.instance.drain()
        if inside.instance.in_flight > 0:
            await inside.drained.wait()

    def stop(self, uid: str) -> None:
        """End at once; requests in flight go back to their pool's door."""
        inside = self._pods.pop(uid, None)
        if inside is None:
            return
        inside.site.close()
        self._targets.remove(uid)
        inside.drained.set()
        if inside.instance is not None and inside.account is not None:
            inside.account.traffic.lost(inside.instance.end())
            self._settle(inside)

    # --- what may go wrong

    def restart(self, pod: ObjectKey) -> None:
        """The engine's process ends and is back at once: running requests are lost, counters start from zero."""
        inside = self._serving(pod)
        assert inside.instance is not None
        assert inside.account is not None
        ended, pool = inside.instance, inside.account.pool
        inside.account.traffic.lost(ended.end())
        self._settle(inside)
        fresh = Instance(inside.spec.key, ended.options, ended.model, self.now_ns)
        fresh.load()
        fresh.serve()
        inside.instance, inside.page, inside.metered_j = fresh, _page(pool, ended.options), 0.0
        _publish(inside)

    def hide_pages(self, pod: ObjectKey) -> None:
        """Readers get 404 from now on."""
        self._serving(pod).site.pages = {}

    def show_pages(self, pod: ObjectKey) -> None:
        """Readers get the engine's pages again."""
        _publish(self._serving(pod))

    def _serving(self, pod: ObjectKey) -> _Pod:
        for inside in self._pods.values():
            phase = inside.instance.phase if inside.instance is not None else None
            if inside.spec.key == pod and phase is InstancePhase.SERVING:
                return inside
        raise ConfigError(f"no engine serves in pod {pod}")

    # --- model time

    def tick(self, until_ns: int) -> None:
        """Live up to a time: clocks as locked now, requests that arrived meanwhile, all engines advanced."""
        for account in self.accounts.values():
            self._route(account, until_ns)
        for inside in self._pods.values():
            if inside.instance is not None:
                self._advance(inside, inside.instance, until_ns)
        self.now_ns = until_ns

    def meter(self) -> None:
        """Charge the energy since the last time to GPUs and pools, and show it to NVML."""
        elapsed_s = (self.now_ns - self._metered_ns) * _NS
        self._metered_ns = self.now_ns
        if elapsed_s <= 0:
            return
        holders = {(p.spec.node, gpu): p for p in self._pods.values() if p.instance for gpu in p.gpus}
        for inside in self._pods.values():
            if inside.account is not None:
                self._settle(inside)
                inside.account.gpu_seconds += len(inside.gpus) * elapsed_s
        for node, meters in self._meters.items():
            for gpu in range(meters.count):
                holder = holders.get((node, gpu))
                instance = holder.instance if holder is not None else None
                if instance is None:
                    meters.burn((gpu,), EMPTY_GPU_W * elapsed_s)
                meters.show(
                    gpu,
                    clock_mhz=instance.clock_mhz if instance is not None else None,
                    busy=instance is not None and instance.in_flight > 0,
                    elapsed_s=elapsed_s,
                )

    def instances(self, account: PoolAccount) -> list[Instance]:
        """Engines of one pool, in order of their start."""
        return [p.instance for p in self._pods.values() if p.account is account and p.instance is not None]

    @property
    def fleet_energy_j(self) -> float:
        """Joules of every GPU of every node, empty ones included."""
        return sum(meters.energy_j for meters in self._meters.values())

    def _route(self, account: PoolAccount, until_ns: int) -> None:
        serving = [i for i in self.instances(account) if i.phase is InstancePhase.SERVING]
        for instance, ids in zip(serving, account.traffic.take(until_ns, len(serving)), strict=False):
            if len(ids):
                instance.submit(*account.traffic.requests(ids), ids)

    def _advance(self, inside: _Pod, instance: Instance, until_ns: int) -> None:
        assert inside.account is not None
        assert inside.page is not None
        clock_mhz = self._meters[inside.spec.node].highest_clock_mhz(inside.gpus)
        inside.account.clock_changes += instance.set_clock(clock_mhz)
        done = instance.advance(until_ns)
        inside.page.observe_first_tokens(instance.take_first_tokens())
        if done is not None and len(done):
            inside.account.traffic.finished(done)
            inside.page.observe_finished(done)
        if instance.phase is InstancePhase.DRAINING and instance.in_flight == 0:
            inside.drained.set()

    def _settle(self, inside: _Pod) -> None:
        """Charge what a pod burnt since the last time."""
        assert inside.instance is not None
        assert inside.account is not None
        joules = inside.instance.energy_j - inside.metered_j
        inside.metered_j += joules
        inside.account.energy_j += joules
        self._meters[inside.spec.node].burn(inside.gpus, joules)

    def _account_of(self, pod: PodSpec) -> PoolAccount | None:
        given = flags(pod.arguments)
        name = given.get("served-model-name") or given.get("model")
        for account in self.accounts.values():
            pool = account.pool
            if pool.key.namespace == pod.key.namespace and pool.served_model_name == name:
                return account
        return None

    def _instance(self, pod: PodSpec, options: EngineOptions, pool: PoolTruth) -> Instance:
        if options.tensor_parallel_size != pod.gpus:
            raise ConfigError(
                f"--tensor-parallel-size is {options.tensor_parallel_size}, but the pod has {pod.gpus} GPUs"
            )
        try:
            model = instance_model(pool.truth, pool.accelerator, options.tensor_parallel_size)
        except UnknownVariantError as error:
            raise ConfigError(str(error)) from error
        return Instance(pod.key, options, model, self.now_ns, pod.warmup_requests)

    def _foreign(self, pod: PodSpec, gpus: tuple[int, ...], port: int = _PLAIN_PORT) -> _Pod:
        bound = self._addresses.reserve(port)
        return _Pod(pod, gpus, PageServer(bound, {}), bound.getsockname()[0], port)


def _publish(inside: _Pod) -> None:
    page, instance = inside.page, inside.instance
    assert page is not None
    assert instance is not None
    inside.site.pages = {"/metrics": lambda: _render(page, instance), "/health": lambda: b""}


def _page(pool: PoolTruth, options: EngineOptions) -> EnginePage:
    longest = options.max_model_length or pool.truth.parameters.max_model_length
    return EnginePage(pool.metrics, options.served_model_name, longest)


def _render(page: EnginePage, instance: Instance) -> bytes:
    engine, counters = instance.engine, instance.counters()
    assert engine is not None
    assert counters is not None
    return page.render(counters, engine.itl_histogram, engine.itl_sum_ns)


def _check_distinct(pools: Sequence[PoolTruth]) -> None:
    served = [(pool.key.namespace, pool.served_model_name) for pool in pools]
    for namespace, model in served:
        if served.count((namespace, model)) > 1:
            raise ConfigError(
                f"two pools of namespace {namespace} serve {model}: no pod could tell which is its own"
            )

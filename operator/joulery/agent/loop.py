"""One clock epoch of a node, top to bottom: observe, govern, bound, actuate. Called every few seconds."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulery.agent.bindings import BindingBook, BoundInstance, PodDevices, resolve
from joulery.agent.board import GpuBoard
from joulery.agent.engine_metrics import EngineMetricsReader
from joulery.agent.governing import InstanceState, Wish, step
from joulery.agent.metrics import AgentMetrics
from joulery.agent.pod_resources import PodResources
from joulery.agent.settings import AgentSettings
from joulery.agent.targets import Grounds, targets
from joulery.agent.watch import NodePicture
from joulery.domain import reasons
from joulery.domain.clock_table import ClockTable
from joulery.domain.load_window import EngineReading
from joulery.domain.plan import Binding, NodeDirective
from joulery.domain.verdict import Verdict
from joulery.errors import MetricsError, UnavailableError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """What an epoch reads from and acts on."""

    picture: NodePicture
    pods: PodResources
    engines: EngineMetricsReader
    board: GpuBoard
    metrics: AgentMetrics


class ClockLoop:
    """Holds the memory between epochs: pods, bindings and each instance's load window and governor."""

    def __init__(self, ports: Ports, settings: AgentSettings) -> None:
        self._ports = ports
        self._settings = settings
        self._started_s = time.monotonic()
        self._pods: tuple[PodDevices, ...] = ()
        self._pods_read_s = self._started_s
        self._pods_known = False
        self._pods_asked_s = float("-inf")
        self._pods_asked_for: tuple[Binding, ...] = ()
        self._book = BindingBook()
        self._instances: dict[tuple[str, str], InstanceState] = {}
        self._gpus = tuple(record.facts for record in ports.board.records.values())
        self._gpu_ids = {g.uuid: g.uuid for g in self._gpus} | {str(g.index): g.uuid for g in self._gpus}
        self.pod_problem: str | None = None

    async def run_epoch(self) -> None:
        """One epoch; what goes wrong ends in verdicts."""
        ports, now_s = self._ports, time.monotonic()
        # One look at the picture, since it may change at every await below.
        is_complete = ports.picture.is_complete
        directive = ports.picture.directive or NodeDirective(ports.picture.node, "", (), ())
        # 1. Who holds which GPU, and what the GPUs show.
        await asyncio.gather(self._read_pods(directive.bindings, now_s), ports.board.read())
        resolution = resolve(self._book, directive.bindings, self._pods, self._gpu_ids)
        self._book = resolution.book
        ports.board.assign(resolution.holders)
        # 2. At the start, locks that an earlier agent left wait for the objects that may confirm them.
        is_known = is_complete and self._pods_known
        if not is_known and now_s - self._started_s < self._settings.start_grace_s:
            return
        # 3. What each engine does, and the clock that suffices for it.
        readings = await self._read_engines(resolution.instances)
        wishes = self._govern(directive.tables, readings)
        # 4. Inside the administrator's bounds, while the operator lives.
        grounds = Grounds(ports.picture.policies, resolution.refused, self._lease_problem(now_s))
        wanted = targets(self._gpus, resolution.instances, wishes, grounds)
        # 5. Record the intent, then lock and reset.
        await ports.board.pursue(wanted)

    async def _read_pods(self, bindings: tuple[Binding, ...], now_s: float) -> None:
        """The kubelet's answer; while it is silent the last one holds for a while, then no pod is known."""
        is_recent = now_s - self._pods_asked_s < self._settings.pod_resources_interval_s
        if is_recent and bindings == self._pods_asked_for:
            return
        self._pods_asked_s, self._pods_asked_for = now_s, bindings
        try:
            self._pods = await self._ports.pods.list()
        except UnavailableError as error:
            if self.pod_problem is None:
                _LOG.warning("%s", error)
            self.pod_problem = str(error)
            if now_s - self._pods_read_s > self._settings.pod_resources_hold_s:
                self._pods = ()
            return
        self._pods_read_s, self._pods_known, self.pod_problem = now_s, True, None

    async def _read_engines(
        self, instances: Sequence[BoundInstance]
    ) -> Mapping[Binding, EngineReading | Verdict]:
        bindings = [instance.binding for instance in instances]
        return dict(zip(bindings, await asyncio.gather(*map(self._read_engine, bindings)), strict=True))

    async def _read_engine(self, binding: Binding) -> EngineReading | Verdict:
        try:
            return await self._ports.engines.read(metrics_url(binding), time.monotonic())
        except MetricsError as error:
            self._ports.metrics.blind.inc()
            return Verdict(reasons.ENGINE_METRICS_UNAVAILABLE, f"highest clock: {error}")

    def _govern(
        self, tables: Sequence[ClockTable], readings: Mapping[Binding, EngineReading | Verdict]
    ) -> Mapping[Binding, Wish]:
        by_name = {table.name: table for table in tables}
        states, wishes = {}, {}
        for binding, reading in readings.items():
            key, table = (binding.pod_uid, binding.address), by_name[binding.table]
            state = self._instances.get(key) or InstanceState.fresh(table, self._settings.load_window_s)
            states[key], wishes[binding] = step(state, table, reading)
        self._instances = states
        return wishes

    def _lease_problem(self, now_s: float) -> Verdict | None:
        lease, limit_s = self._ports.picture.lease, self._ports.picture.cadence.lease_timeout_s
        self._ports.metrics.lease_age.set(lease.age_s(now_s))
        if not lease.is_stale(now_s, limit_s):
            return None
        seen = "never seen" if lease.renew_time is None else f"last changed more than {limit_s:.0f} s ago"
        namespace = self._settings.operator_namespace
        return Verdict(
            reasons.LEASE_STALE,
            f"the operator's Lease {namespace}/joulery was {seen}: default clocks until the operator is back",
        )


def metrics_url(binding: Binding) -> str:
    """Where a bound engine publishes its metrics."""
    host = binding.address
    if ":" in host:
        host = f"[{ipaddress.ip_address(host)}]"
    return f"http://{host}:{binding.metrics_port}{binding.metrics_path}"

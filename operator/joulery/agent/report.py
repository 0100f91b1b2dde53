"""The GPUNode's status: what it holds, and when it is worth a write."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from joulery import __version__
from joulery.agent.kube import AgentCluster, GoneError
from joulery.agent.record import GpuRecord
from joulery.agent.settings import AgentSettings
from joulery.agent.watch import GPU_NODES, NodePicture
from joulery.api.labels import API_VERSION
from joulery.api.v1alpha1.common import Condition
from joulery.api.v1alpha1.gpu_node import GPUNodeStatus, GPUStatus
from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.errors import ClusterError, ConflictError

_LOG = logging.getLogger(__name__)
_LONGEST_MESSAGE = 1024
_READY = "Ready"


def gpu_status(record: GpuRecord, now: datetime, now_s: float) -> GPUStatus:
    """One GPU's entry; `now` by the wall clock is `now_s` by the monotonic one."""
    reading, verdict, owner = record.reading, record.shown_verdict, record.owner
    return GPUStatus(
        uuid=record.facts.uuid,
        index=record.facts.index,
        product_name=record.facts.product,
        requested_mhz=record.requested_mhz,
        applied_mhz=record.applied_mhz,
        observed_mhz=reading.sm_clock_mhz if reading else None,
        power_milliwatts=reading.power_mw if reading else None,
        energy_millijoules=reading.energy_mj if reading else None,
        reason=verdict.reason,
        message=_with_throttle(record, verdict.message)[:_LONGEST_MESSAGE],
        owner_namespace=owner.namespace if owner else None,
        owner_pod=owner.name if owner else None,
        highest_clock_since_time=_wall_time(record.highest_since_s, now, now_s),
    )


def _wall_time(at_s: float | None, now: datetime, now_s: float) -> datetime | None:
    return None if at_s is None else now - timedelta(seconds=now_s - at_s)


def _with_throttle(record: GpuRecord, message: str) -> str:
    if record.reading is None or not record.reading.is_throttled:
        return message
    bits = record.reading.event_reasons
    return f"{message}; held down by the GPU itself (clock event reasons {bits:#x}: power, thermal or brake)"


def readiness(
    records: Mapping[str, GpuRecord], problems: Mapping[str, str], pod_problem: str | None
) -> Verdict:
    """Whether the agent can do its work, with the first thing that keeps it from it."""
    failed = [record for record in records.values() if record.failure is not None]
    if failed and failed[0].failure is not None:
        return Verdict(
            reasons.AGENT_FAILED, f"{len(failed)} of {len(records)} GPUs: {failed[0].failure.message}"
        )
    if pod_problem is not None:
        return Verdict(reasons.AGENT_FAILED, pod_problem)
    if problems:
        return Verdict(reasons.AGENT_FAILED, next(iter(problems.values())))
    return Verdict(reasons.READY, f"{len(records)} GPUs answer")


def _plan_id(picture: NodePicture) -> str | None:
    return (picture.directive.plan_id or None) if picture.directive else None


def _essence(records: Mapping[str, GpuRecord], picture: NodePicture, ready: Verdict) -> object:
    """What changes only when something happened; readings and the loads in messages move all the time."""
    gpus = tuple(
        (r.facts.uuid, r.requested_mhz, r.applied_mhz, r.shown_verdict.reason, r.owner, r.highest_since_s)
        for r in records.values()
    )
    return gpus, _plan_id(picture), ready, picture.generation


class Reporter:
    """Writes the status on change or every `report_interval_s`, at most every `report_spacing_s`."""

    def __init__(self, cluster: AgentCluster, settings: AgentSettings, boot_id: str) -> None:
        self._cluster = cluster
        self._settings = settings
        self._boot_id = boot_id
        self._task: asyncio.Task[None] | None = None
        self._started_s = float("-inf")
        self._essence: object = None
        self._condition: Condition | None = None
        self._problem: str | None = None

    def report_soon(
        self, records: Mapping[str, GpuRecord], picture: NodePicture, ready: Verdict, now_s: float
    ) -> None:
        """Start a write if it is time; epochs never wait for the API server, and one write runs at a time."""
        age_s = now_s - self._started_s
        if age_s < self._settings.report_spacing_s or not (self._task is None or self._task.done()):
            return
        essence = _essence(records, picture, ready)
        if essence == self._essence and age_s < self._settings.report_interval_s:
            return
        self._started_s = now_s
        self._task = asyncio.create_task(self._write(self._status(records, picture, ready), essence))

    async def farewell(self, records: Mapping[str, GpuRecord], picture: NodePicture, why: Verdict) -> None:
        """The last word, after whatever is still being written: not ready any more, and why."""
        if self._task is not None:
            await self._task
        await self._write(self._status(records, picture, why), None)

    def _status(
        self, records: Mapping[str, GpuRecord], picture: NodePicture, ready: Verdict
    ) -> Mapping[str, Any]:
        now, now_s = datetime.now(UTC), time.monotonic()
        return GPUNodeStatus(
            observed_generation=picture.generation,
            agent_version=__version__,
            boot_id=self._boot_id,
            plan_id=_plan_id(picture),
            report_time=now,
            lease_seen_time=picture.lease_seen_at,
            conditions=(self._ready_condition(ready, picture.generation),),
            gpus=tuple(gpu_status(record, now, now_s) for record in records.values()),
        ).manifest()

    def _ready_condition(self, ready: Verdict, generation: int | None) -> Condition:
        status = "True" if ready.reason == reasons.READY else "False"
        old = self._condition
        since = (
            old.last_transition_time
            if old and old.status == status
            else datetime.now(UTC).replace(microsecond=0)
        )
        self._condition = Condition(
            type=_READY,
            status=status,
            reason=ready.reason,
            message=ready.message[:_LONGEST_MESSAGE],
            observed_generation=generation,
            last_transition_time=since,
        )
        return self._condition

    async def _write(self, status: Mapping[str, Any], essence: object) -> None:
        """Apply the status; a refused write is logged and tried again when the next one is due."""
        try:
            await self._apply(status)
        except ClusterError as error:
            if str(error) != self._problem:
                _LOG.warning("status not written: %s", error)
            self._problem = str(error)
        else:
            self._problem, self._essence = None, essence

    async def _apply(self, status: Mapping[str, Any]) -> None:
        """A missing object is made first, for a node without an operator yet."""
        name = self._settings.node_name
        manifest = {"apiVersion": API_VERSION, "kind": "GPUNode", "metadata": {"name": name}}
        try:
            await self._cluster.apply(f"{GPU_NODES}/{name}/status", {**manifest, "status": status})
        except GoneError:
            with suppress(ConflictError):  # the operator was faster
                await self._cluster.create(GPU_NODES, {**manifest, "spec": {}})
            await self._cluster.apply(f"{GPU_NODES}/{name}/status", {**manifest, "status": status})

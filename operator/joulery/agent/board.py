"""The node's GPUs in the agent's hands: reads them, locks and resets them in parallel, remembers each.

Order of every first lock: the intent goes to the state file, then the call to the driver. What the next start
could not undo is never done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from joulery.agent.gpu import GpuDevice, GpuError, GpuReading, GpuTrouble
from joulery.agent.metrics import AgentMetrics
from joulery.agent.record import GpuRecord, Target, observed
from joulery.agent.state import StateFile
from joulery.agent.worker import DeviceWorker
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import Verdict
from joulery.errors import ConfigError

_LOG = logging.getLogger(__name__)
# Epochs may be shorter; the driver's own counters move ten times a second and nothing here is urgent.
_READ_EVERY_S = 2.0
_STARTING = Verdict(reasons.NO_BINDING, "the agent is starting")
# When a new clock is looked for after a lock, in seconds from one look to the next.
_SETTLE_LOOKS_S = (0.05, 0.05, 0.1, 0.3)


class GpuBoard:
    """All GPUs by UUID."""

    def __init__(self, workers: Sequence[DeviceWorker], state: StateFile, metrics: AgentMetrics) -> None:
        self._workers = {worker.facts.uuid: worker for worker in workers}
        self._state = state
        self._metrics = metrics
        self._recorded = state.load()
        self._read_at_s = float("-inf")
        self._settling: set[asyncio.Task[None]] = set()
        self.records: dict[str, GpuRecord] = {
            uuid: GpuRecord(worker.facts, _STARTING, is_ours=uuid in self._recorded)
            for uuid, worker in self._workers.items()
        }

    async def read(self) -> None:
        """Read every GPU unless that was just done; what fails is its own failure, the rest goes on."""
        if time.monotonic() - self._read_at_s < _READ_EVERY_S:
            return
        self._read_at_s = time.monotonic()
        await asyncio.gather(*(self._read(uuid) for uuid in self._workers))

    def assign(self, holders: Mapping[str, ObjectKey]) -> None:
        """Note which pod holds each GPU."""
        for uuid, record in self.records.items():
            if record.owner != holders.get(uuid):
                self._change(uuid, owner=holders.get(uuid))

    async def pursue(self, targets: Mapping[str, Target | Verdict]) -> None:
        """Bring every GPU to its target: lock what differs, reset what is ours and has none."""
        now_s = time.monotonic()
        earlier = self._recorded
        for uuid, target in targets.items():
            self._take(uuid, target, now_s)
        self._record_intent()
        await asyncio.gather(*(self._pursue(u, t, was_ours=u in earlier) for u, t in targets.items()))
        self._record_outcome()

    async def reset_all(self, why: Verdict) -> bool:
        """Reset every GPU that is ours; whether all were."""
        await self.pursue(dict.fromkeys(self.records, why))
        return not any(record.is_ours for record in self.records.values())

    def stuck(self) -> tuple[str, ...]:
        """GPUs whose driver calls hang."""
        return tuple(uuid for uuid, worker in self._workers.items() if worker.is_stuck)

    def stop(self) -> None:
        """Let the workers end."""
        for task in self._settling:
            task.cancel()
        for worker in self._workers.values():
            worker.stop()

    async def _read(self, uuid: str) -> None:
        record = self.records[uuid]
        try:
            reading = await self._workers[uuid].call(_read_device)
        except GpuError as error:
            self._failed(uuid, error)
            self._change(uuid, reading=None, strikes=0)
            return
        now = observed(self.records[uuid], reading, time.monotonic())
        if now.stands_down_until_s != record.stands_down_until_s:
            _LOG.warning("foreign clock: %s: %s", uuid, now.verdict.message)
            self._metrics.foreign.labels(gpu=uuid).inc()
        # A refused lock stays the GPU's failure until a call that sets something succeeds.
        self.records[uuid] = now if record.reading else replace(now, failure=None)

    def _take(self, uuid: str, target: Target | Verdict, now_s: float) -> None:
        """Note what is wanted; a GPU about to be locked becomes ours before it is."""
        record = self.records[uuid]
        if isinstance(target, Verdict):
            failure = record.failure if record.is_ours or record.reading is None else None
            self._change(uuid, requested_mhz=None, highest_since_s=None, verdict=target, failure=failure)
        elif record.stands_down(now_s):
            self._change(uuid, requested_mhz=target.requested_mhz, highest_since_s=target.highest_since_s)
        else:
            self._change(
                uuid,
                requested_mhz=target.requested_mhz,
                highest_since_s=target.highest_since_s,
                verdict=target.verdict,
                is_ours=True,
                stands_down_until_s=None,
            )

    async def _pursue(self, uuid: str, target: Target | Verdict, *, was_ours: bool) -> None:
        record = self.records[uuid]
        if not record.is_ours:
            return
        if isinstance(target, Verdict):
            await self._reset(uuid, target)
        elif record.applied_mhz != target.highest_mhz:
            await self._lock(uuid, target.highest_mhz, was_ours=was_ours)

    async def _lock(self, uuid: str, highest_mhz: int, *, was_ours: bool) -> None:
        before = self.records[uuid]
        try:
            with self._metrics.set_call.time():
                await self._workers[uuid].call(lambda device: device.lock(highest_mhz))
        except GpuError as error:
            self._failed(uuid, error)
            # A refused first lock leaves nothing to reset; a hung one may still take hold.
            may_hold = was_ours or error.trouble is GpuTrouble.STUCK
            self._change(uuid, applied_mhz=None, is_ours=may_hold)
            return
        self._change(uuid, applied_mhz=highest_mhz, applied_at_s=time.monotonic(), strikes=0, failure=None)
        self._tell_change(before, highest_mhz)
        self._watch_settling(before, highest_mhz)

    async def _reset(self, uuid: str, why: Verdict) -> None:
        try:
            with self._metrics.set_call.time():
                await self._workers[uuid].call(_reset_device)
        except GpuError as error:
            self._failed(uuid, error)
            return
        self._change(uuid, applied_mhz=None, is_ours=False, strikes=0, failure=None)
        self._metrics.resets.labels(reason=why.reason).inc()
        _LOG.info("clock reset: %s: %s: %s", uuid, why.reason, why.message)

    def _failed(self, uuid: str, error: GpuError) -> None:
        verdict = Verdict(reasons.CLOCK_REFUSED, str(error))
        if self.records[uuid].failure != verdict:
            _LOG.error("device: %s", error)
        self._metrics.refusals.labels(trouble=error.trouble).inc()
        self._change(uuid, failure=verdict)

    def _change(self, uuid: str, **fields: object) -> None:
        self.records[uuid] = replace(self.records[uuid], **fields)  # type: ignore[arg-type]

    def _record_intent(self) -> None:
        """Name GPUs in the state file before their first lock; what cannot be named is not locked."""
        new = self._ours() - self._recorded
        if not new:
            return
        try:
            self._state.store(self._recorded | new)
        except ConfigError as error:
            _LOG.error("%s", error)
            for uuid in new:
                self._change(uuid, is_ours=False, failure=Verdict(reasons.CLOCK_REFUSED, str(error)))
        else:
            self._recorded |= new

    def _record_outcome(self) -> None:
        """Strike what was reset; a name too many costs one needless reset at the next start."""
        ours = self._ours()
        if ours == self._recorded:
            return
        try:
            self._state.store(ours)
        except ConfigError as error:
            _LOG.error("%s", error)
        else:
            self._recorded = ours

    def _ours(self) -> frozenset[str]:
        return frozenset(uuid for uuid, record in self.records.items() if record.is_ours)

    def _tell_change(self, before: GpuRecord, highest_mhz: int) -> None:
        was = before.applied_mhz
        direction = "down" if was is None or highest_mhz < was else "up"
        self._metrics.changes.labels(direction=direction).inc()
        uuid, why = before.facts.uuid, before.verdict
        text = "clock set: %s: %s -> %s MHz for %s: %s"
        _LOG.info(text, uuid, was or "default", highest_mhz, before.owner, why.message)

    def _watch_settling(self, before: GpuRecord, highest_mhz: int) -> None:
        """Measure in the background how long the clock takes, on one GPU of the instance."""
        first = min(r.facts.index for r in self.records.values() if r.owner == before.owner)
        if before.reading is None or before.facts.index != first:
            return
        task = asyncio.create_task(self._settle(before.facts.uuid, before.reading, highest_mhz))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, uuid: str, before: GpuReading, highest_mhz: int) -> None:
        worker, started_s = self._workers[uuid], time.monotonic()
        for pause_s in _SETTLE_LOOKS_S:
            await asyncio.sleep(pause_s)
            try:
                reading = await worker.call(_read_device)
            except GpuError:
                return  # the next epoch reads it too, and reports it
            if _has_arrived(before, reading, highest_mhz, worker.facts.step_mhz):
                self._metrics.settle.observe(time.monotonic() - started_s)
                return


def _has_arrived(before: GpuReading, now: GpuReading, highest_mhz: int, step_mhz: int) -> bool:
    """Down: inside the range. Up: near its end, which only a busy GPU shows."""
    if before.sm_clock_mhz > highest_mhz:
        return now.sm_clock_mhz <= highest_mhz + step_mhz
    return now.sm_clock_mhz >= highest_mhz - step_mhz


# Not `GpuDevice.read` itself: a Protocol's own method has no body.
def _read_device(device: GpuDevice) -> GpuReading:
    return device.read()


def _reset_device(device: GpuDevice) -> None:
    device.reset()

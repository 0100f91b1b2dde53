"""What the agent knows of each GPU between epochs, and the judgement of what it reads back. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from joulery.agent.gpu import GpuFacts, GpuReading
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import Verdict

# The clock itself settles later than the call that sets it returns; before this no reading is judged.
_SETTLED_AFTER_S = 2.0
_STRIKES = 2
# How long a GPU that another program clocks is left alone before one more try.
_STAND_DOWN_S = 600.0


@dataclass(frozen=True, slots=True)
class Target:
    """What one GPU should be locked to; `requested_mhz` is the wish before bounds and grid.

    `highest_since_s` is since when its instance has been held at the highest clock of its table, else None.
    """

    requested_mhz: int
    highest_mhz: int
    verdict: Verdict
    highest_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class GpuRecord:
    """One GPU; times are monotonic seconds.

    `applied_mhz` is the upper end last set, None for default clocks or when unsure; `owner` is the pod that
    holds the GPU; `is_ours` is set from the intent to lock until a reset succeeds: what the state file names;
    `highest_since_s` is the target's.
    """

    facts: GpuFacts
    verdict: Verdict
    is_ours: bool = False
    requested_mhz: int | None = None
    applied_mhz: int | None = None
    applied_at_s: float = 0.0
    owner: ObjectKey | None = None
    reading: GpuReading | None = None
    failure: Verdict | None = None
    strikes: int = 0
    stands_down_until_s: float | None = None
    highest_since_s: float | None = None

    def stands_down(self, now_s: float) -> bool:
        """Whether another program's clocks are being left alone."""
        return self.stands_down_until_s is not None and now_s < self.stands_down_until_s

    @property
    def shown_verdict(self) -> Verdict:
        """The failure where there is one, else why the clock is as it is."""
        return self.failure or self.verdict


def observed(record: GpuRecord, reading: GpuReading, now_s: float) -> GpuRecord:
    """The record after reading the GPU: driver reloads, and clocks that somebody else set.

    Only a clock above our range is foreign: below it the range, a throttle or idling explain everything.
    """
    if record.applied_mhz is None:
        return replace(record, reading=reading, strikes=0)
    if _reloaded(record.reading, reading):
        return replace(record, reading=reading, applied_mhz=None, strikes=0)
    if reading.sm_clock_mhz <= record.applied_mhz + record.facts.step_mhz:
        return replace(record, reading=reading, strikes=0)
    if now_s - record.applied_at_s < _SETTLED_AFTER_S:
        return replace(record, reading=reading)
    strikes = record.strikes + 1
    if strikes < _STRIKES:
        return replace(record, reading=reading, strikes=strikes)
    return _stand_down(record, reading, now_s)


def _reloaded(before: GpuReading | None, now: GpuReading) -> bool:
    """A falling energy counter means a reloaded driver, and with it default clocks."""
    if before is None or before.energy_mj is None or now.energy_mj is None:
        return False
    return now.energy_mj < before.energy_mj


def _stand_down(record: GpuRecord, reading: GpuReading, now_s: float) -> GpuRecord:
    """The lock is no longer ours, so neither is the right to reset it."""
    message = (
        f"runs at {reading.sm_clock_mhz} MHz although locked to at most {record.applied_mhz} MHz: another "
        f"program sets its clocks; left alone for {_STAND_DOWN_S:.0f} s, stop the other writer or take "
        "Clocks from the pool's knobs"
    )
    verdict = Verdict(reasons.FOREIGN_CLOCK, message)
    return replace(
        record,
        reading=reading,
        verdict=verdict,
        is_ours=False,
        applied_mhz=None,
        strikes=0,
        stands_down_until_s=now_s + _STAND_DOWN_S,
    )

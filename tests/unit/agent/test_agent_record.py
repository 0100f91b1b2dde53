"""What is read back is judged: foreign clocks, reloaded drivers, throttling."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fake_gpu import facts
from joulery.agent.gpu import GpuReading
from joulery.agent.record import GpuRecord, observed
from joulery.agent.report import gpu_status
from joulery.domain import reasons
from joulery.domain.verdict import Verdict

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
LOCKED = GpuRecord(
    facts(), Verdict(reasons.CLOCK_APPLIED, "table"), is_ours=True, applied_mhz=1200, applied_at_s=100.0
)


def showing(clock_mhz: int, energy_mj: int | None = 5000, event_reasons: int = 0) -> GpuReading:
    return GpuReading(clock_mhz, 400_000, energy_mj, event_reasons)


def test_clock_above_the_range_twice_is_foreign_and_ends_our_ownership() -> None:
    once = observed(LOCKED, showing(1980), 105.0)
    assert once.verdict.reason == reasons.CLOCK_APPLIED
    twice = observed(once, showing(1980), 110.0)
    assert twice.verdict.reason == reasons.FOREIGN_CLOCK
    assert not twice.is_ours
    assert twice.stands_down(110.0 + 599.0)
    assert not twice.stands_down(110.0 + 601.0)


def test_one_sight_above_the_range_between_two_inside_is_forgotten() -> None:
    record = LOCKED
    for at_s, clock in ((105.0, 1980), (110.0, 1200), (115.0, 1980)):
        record = observed(record, showing(clock), at_s)
    assert record.verdict.reason == reasons.CLOCK_APPLIED


def test_clock_that_is_still_settling_is_not_judged() -> None:
    record = LOCKED
    for at_s in (100.1, 100.6, 101.1, 101.6):
        record = observed(record, showing(1980), at_s)
    assert record.strikes == 0


def test_lower_clocks_and_one_step_above_are_inside_the_range() -> None:
    record = LOCKED
    for clock in (345, 1000, 1215):
        record = observed(observed(record, showing(clock), 105.0), showing(clock), 110.0)
    assert record.verdict.reason == reasons.CLOCK_APPLIED


def test_falling_energy_counter_means_default_clocks_to_lock_anew() -> None:
    record = observed(replace(LOCKED, reading=showing(1200, 5000)), showing(1980, 10), 105.0)
    assert record.applied_mhz is None
    assert record.is_ours


def test_missing_energy_counter_is_missing_and_not_zero() -> None:
    record = observed(observed(LOCKED, showing(1200, None), 105.0), showing(1200, None), 110.0)
    assert record.applied_mhz == 1200
    assert "energyMillijoules" not in gpu_status(record, NOW, 110.0).manifest()


def test_throttling_is_told_beside_the_reason() -> None:
    status = gpu_status(observed(LOCKED, showing(900, event_reasons=0x40), 105.0), NOW, 105.0)
    assert status.reason == reasons.CLOCK_APPLIED
    assert "0x40" in str(status.message)


def test_time_since_which_load_holds_a_gpu_is_told_by_the_wall_clock() -> None:
    held = gpu_status(replace(LOCKED, highest_since_s=80.0), NOW, 110.0).manifest()
    assert held["highestClockSinceTime"] == (NOW - timedelta(seconds=30.0)).isoformat().replace("+00:00", "Z")
    assert "highestClockSinceTime" not in gpu_status(LOCKED, NOW, 110.0).manifest()

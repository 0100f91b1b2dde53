"""Lag of ticks behind the wall clock."""

from __future__ import annotations

from joulery.emulator.lag import LagRecord, ticks_due


def test_no_ticks_is_no_lag() -> None:
    assert LagRecord().summary().p99_ms == 0.0
    assert LagRecord().summary().valid


def test_an_overdue_stretch_counts_every_tick_in_it() -> None:
    due = ticks_due(now_ns=1_000, next_tick=3, tick_ns=100)
    assert list(due) == [3, 4, 5, 6, 7, 8, 9, 10]
    assert not ticks_due(now_ns=299, next_tick=3, tick_ns=100)


def test_a_run_with_more_than_a_hundredth_of_its_ticks_late_is_invalid() -> None:
    lags = LagRecord()
    lags.add([1.0] * 97)
    assert lags.summary().valid
    lags.add([400.0] * 3)
    summary = lags.summary()
    assert not summary.valid
    assert (summary.ticks, summary.p50_ms, summary.max_ms) == (100, 1.0, 400.0)

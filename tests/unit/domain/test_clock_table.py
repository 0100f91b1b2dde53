"""The governor: up at once, down late, highest under any guard."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.domain.clock_table import (
    ClockRow,
    ClockTable,
    EngineSample,
    GovernorState,
    govern,
    wanted_clock_mhz,
)

TABLE = ClockTable(
    "t",
    (ClockRow(1000, 200, 1200), ClockRow(2000, 400, 1590), ClockRow(3000, 600, 1980)),
    1200,
    1980,
    dwell_s=15,
)
QUIET = EngineSample(100.0, 500, 100, 4, 0, 0.1)


def test_the_first_row_that_carries_the_weighted_load_decides() -> None:
    assert wanted_clock_mhz(TABLE, QUIET) == 1200
    assert wanted_clock_mhz(TABLE, replace(QUIET, prompt_tokens_per_s=1500)) == 1200  # 0.5 x 1.5 + 0.5 x 0.5
    assert wanted_clock_mhz(TABLE, replace(QUIET, prompt_tokens_per_s=1600)) == 1590
    assert (
        wanted_clock_mhz(TABLE, replace(QUIET, prompt_tokens_per_s=2000, generation_tokens_per_s=550)) == 1980
    )


def test_a_rate_that_weighs_little_moves_the_clock_little() -> None:
    prompt_bound = replace(TABLE, prompt_weight=0.9)
    assert wanted_clock_mhz(prompt_bound, replace(QUIET, generation_tokens_per_s=900)) == 1200
    assert wanted_clock_mhz(prompt_bound, replace(QUIET, prompt_tokens_per_s=1500)) == 1590


def test_a_row_without_a_rate_carries_none_of_it() -> None:
    silent = replace(TABLE, rows=(ClockRow(1000, 0, 1200),))
    assert wanted_clock_mhz(silent, replace(QUIET, generation_tokens_per_s=0)) == 1200
    assert wanted_clock_mhz(silent, QUIET) == 1980


def test_beyond_the_last_row_the_highest_clock_holds() -> None:
    assert wanted_clock_mhz(TABLE, replace(QUIET, prompt_tokens_per_s=9000)) == 1980


@pytest.mark.parametrize(
    "signal",
    [{"running_requests": 300}, {"kv_usage": 0.9}, {"queue_age_s": 0.6}],
    ids=["batch", "kv", "queue"],
)
def test_each_guard_alone_means_the_highest_clock(signal: dict[str, float]) -> None:
    assert wanted_clock_mhz(TABLE, replace(QUIET, **signal)) == 1980


def test_it_rises_at_once() -> None:
    state = govern(TABLE, GovernorState(1200), replace(QUIET, prompt_tokens_per_s=1800))
    assert state.clock_mhz == 1590


def test_it_falls_only_after_the_dwell() -> None:
    state = GovernorState(1980)
    clocks = []
    for second in range(0, 25, 5):
        state = govern(TABLE, state, replace(QUIET, at_s=float(second)))
        clocks.append(state.clock_mhz)
    assert clocks == [1980, 1980, 1980, 1200, 1200]


def test_a_single_high_sample_starts_the_dwell_anew() -> None:
    state = govern(TABLE, GovernorState(1590), replace(QUIET, at_s=0.0))
    state = govern(TABLE, state, replace(QUIET, at_s=10.0, prompt_tokens_per_s=1800))
    state = govern(TABLE, state, replace(QUIET, at_s=16.0))
    assert state.clock_mhz == 1590


def test_time_at_the_highest_clock_is_remembered_from_its_start() -> None:
    busy = replace(QUIET, prompt_tokens_per_s=9000)
    state = govern(TABLE, GovernorState(1200), replace(busy, at_s=5.0))
    state = govern(TABLE, state, replace(busy, at_s=10.0))
    assert state.highest_since_s == 5.0


def test_queue_that_empties_for_one_sample_is_no_end_of_being_held() -> None:
    held = govern(TABLE, GovernorState(1200), replace(QUIET, at_s=5.0, queue_age_s=0.6))
    eased = govern(TABLE, held, replace(QUIET, at_s=10.0))
    assert (eased.clock_mhz, eased.highest_since_s) == (1980, 5.0), "the dwell keeps the clock and the memory"
    assert govern(TABLE, eased, replace(QUIET, at_s=15.0, queue_age_s=0.6)).highest_since_s == 5.0
    fallen = govern(TABLE, eased, replace(QUIET, at_s=30.0))
    assert (fallen.clock_mhz, fallen.highest_since_s) == (1200, None)


def test_new_instance_that_starts_at_the_highest_clock_is_not_held_there() -> None:
    assert govern(TABLE, GovernorState(1980), QUIET).highest_since_s is None


def test_table_of_one_clock_says_nothing_of_load() -> None:
    pinned = replace(TABLE, rows=(), lowest_mhz=1980)
    busy = replace(QUIET, prompt_tokens_per_s=9000, queue_age_s=5.0)
    assert govern(pinned, GovernorState(1980), busy).highest_since_s is None


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 1), st.floats(1, 60)), min_size=1, max_size=30),
    st.floats(0, 30),
)
def test_held_is_only_what_the_load_keeps_at_the_highest_clock(
    samples: list[tuple[float, float, float]], dwell_s: float
) -> None:
    table, at_s = replace(TABLE, dwell_s=dwell_s), 0.0
    state = GovernorState(TABLE.highest_mhz)
    for prompt, queue_age_s, pause_s in samples:
        at_s += pause_s
        sample = replace(QUIET, at_s=at_s, prompt_tokens_per_s=prompt, queue_age_s=queue_age_s)
        before, state = state, govern(table, state, sample)
        wants = wanted_clock_mhz(table, sample) == TABLE.highest_mhz
        if state.highest_since_s is None:
            assert not wants
            continue
        assert state.clock_mhz == TABLE.highest_mhz
        assert state.highest_since_s == before.highest_since_s or (wants and state.highest_since_s == at_s)


@given(
    st.floats(0, 5000),
    st.floats(0, 1000),
    st.floats(0, 400),
    st.floats(0, 1),
    st.floats(0, 3),
    st.integers(1200, 1980),
)
def test_more_load_never_wants_a_lower_clock(
    prompt: float, generated: float, running: float, kv: float, age: float, clock: int
) -> None:
    sample = EngineSample(0.0, prompt, generated, running, 0.0, kv, age)
    more = replace(sample, prompt_tokens_per_s=prompt * 1.5, generation_tokens_per_s=generated * 1.5)
    assert wanted_clock_mhz(TABLE, more) >= wanted_clock_mhz(TABLE, sample)
    state = govern(TABLE, GovernorState(clock), sample)
    assert TABLE.lowest_mhz <= state.clock_mhz <= TABLE.highest_mhz

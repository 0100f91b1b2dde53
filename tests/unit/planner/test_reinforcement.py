"""An instance more where objectives are missed at the highest clock, and one less when they are long kept."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from joulery.domain.memory import Reinforcement
from joulery.planner.reinforcement import ReinforcementRules, Streak, reinforce

RULES = ReinforcementRules()
MISSED, SLOW, KEPT = (False, True), (False, False), (True, False)


def played(windows: list[tuple[bool, bool]]) -> list[int]:
    """Instances added after each window."""
    added, streak, counts = Reinforcement(), Streak(), []
    for number, (kept, at_highest) in enumerate(windows):
        streak = streak.after(kept=kept, at_highest=at_highest)
        added, streak = reinforce(added, streak, float(number), RULES)
        counts.append(added.instances)
    return counts


def test_two_windows_missed_at_the_highest_clock_add_one() -> None:
    assert played([MISSED]) == [0]
    assert played([MISSED, MISSED, MISSED]) == [0, 1, 1]
    assert played([MISSED] * 4) == [0, 1, 1, 2]


def test_what_a_higher_clock_may_cure_adds_none() -> None:
    assert played([SLOW] * 6) == [0] * 6
    assert played([MISSED, SLOW, MISSED]) == [0, 0, 0]


def test_a_window_that_kept_the_promise_ends_the_count() -> None:
    assert played([MISSED, KEPT, MISSED, MISSED]) == [0, 0, 0, 1]


def test_it_goes_one_by_one_after_an_hour_of_kept_promises() -> None:
    counts = played([MISSED] * 4 + [KEPT] * 12)
    assert counts[3:9] == [2] * 6
    assert counts[9:15] == [1] * 6
    assert counts[15] == 0


@given(st.lists(st.sampled_from([MISSED, SLOW, KEPT]), max_size=80))
def test_it_stays_in_bounds_and_moves_by_one(windows: list[tuple[bool, bool]]) -> None:
    counts = [0, *played(windows)]
    assert all(0 <= n <= RULES.most for n in counts)
    assert all(abs(after - before) <= 1 for before, after in itertools.pairwise(counts))


@given(st.lists(st.sampled_from([MISSED, SLOW, KEPT]), max_size=80))
def test_it_never_goes_within_the_windows_that_ask_for_it_to_stay(windows: list[tuple[bool, bool]]) -> None:
    counts = [0, *played(windows)]
    for index, (before, after) in enumerate(itertools.pairwise(counts)):
        if after < before:
            assert all(kept for kept, _ in windows[index + 1 - RULES.kept_windows : index + 1])

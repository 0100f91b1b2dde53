"""The derate as a pure function: bounded, slow, monotone, and moved by nothing that says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.domain import reasons
from joulery.domain.memory import Derate
from joulery.planner.derate import DerateRules, Window, judge, missed_beyond_promise

RULES = DerateRules()

derates = st.builds(Derate, share=st.floats(RULES.lowest, 1.0), profile=st.just("p"))
windows = st.builds(
    Window,
    ends_s=st.floats(1.0, 1e9),
    requests=st.floats(0.0, 1e5),
    attained_percent=st.none() | st.floats(0.0, 100.0),
    unfit=st.none() | st.just("uneven"),
    is_tested=st.booleans(),
)
judged = st.builds(Window, st.just(1.0), st.floats(100.0, 1e5), st.floats(0.0, 100.0))


def clean(requests: float = 5000.0) -> Window:
    return Window(1.0, requests, 100.0)


def missing(percent: float, requests: float = 5000.0) -> Window:
    return Window(1.0, requests, 100.0 - percent)


@given(st.lists(windows, max_size=60))
def test_it_never_leaves_its_bounds(seen: list[Window]) -> None:
    derate = Derate()
    for window in seen:
        derate, _ = judge(derate, window, RULES)
        assert RULES.lowest <= derate.share <= 1.0


@given(derates, windows)
def test_it_is_slow_both_ways(derate: Derate, window: Window) -> None:
    after, _ = judge(derate, window, RULES)
    moved = after.share - derate.share
    assert -RULES.longest_fall - 1e-12 <= moved <= RULES.recovery + 1e-12


@given(derates, judged, st.floats(0.0, 100.0))
def test_who_misses_more_is_not_believed_more(derate: Derate, window: Window, worse: float) -> None:
    assert window.attained_percent is not None
    missed_more = replace(window, attained_percent=min(window.attained_percent, worse))
    assert judge(derate, missed_more, RULES)[0].share <= judge(derate, window, RULES)[0].share


@given(derates, derates, judged)
def test_of_two_the_lower_stays_the_lower(one: Derate, other: Derate, window: Window) -> None:
    low, high = sorted((one, other), key=lambda d: d.share)
    assert judge(low, window, RULES)[0].share <= judge(high, window, RULES)[0].share


@given(derates, windows)
def test_what_is_skipped_changes_nothing(derate: Derate, window: Window) -> None:
    after, verdict = judge(derate, window, RULES)
    if verdict.reason == reasons.WINDOW_SKIPPED:
        assert after == derate
        assert verdict.message
    says_nothing = window.unfit is not None or window.requests < 100.0 or window.attained_percent is None
    assert not says_nothing or verdict.reason == reasons.WINDOW_SKIPPED


@given(derates)
def test_it_recovers_in_full_where_the_promise_is_kept(derate: Derate) -> None:
    for _ in range(round((1.0 - RULES.lowest) / RULES.recovery) + 1):
        derate, _ = judge(derate, clean(), RULES)
    assert derate.share == 1.0
    assert derate.optimistic_since_s is None


@given(derates)
def test_attainment_under_a_load_that_tests_nothing_confirms_nothing(derate: Derate) -> None:
    assert judge(derate, replace(clean(), is_tested=False), RULES)[0] == derate


@given(derates)
def test_misses_under_any_load_count(derate: Derate) -> None:
    lowered, verdict = judge(derate, replace(missing(3.0), is_tested=False), RULES)
    assert verdict.reason == reasons.WINDOW_MISSED
    assert lowered.share < derate.share or derate.share == RULES.lowest


def test_a_miss_within_the_promise_is_none_and_few_requests_are_given_their_noise() -> None:
    assert missed_beyond_promise(99.0, 1e9) == pytest.approx(0.0, abs=1e-9)
    assert missed_beyond_promise(98.0, 1e9) == pytest.approx(0.01, abs=1e-5)
    # One standard deviation of one per cent of 100 requests is one request.
    assert missed_beyond_promise(98.0, 100.0) == pytest.approx(0.0, abs=1e-3)


def test_users_are_told_once_it_is_worth_a_word_and_until_it_is_over() -> None:
    derate, told = Derate(), []
    for number, window in enumerate([missing(2.0)] * 3 + [clean()] * 60):
        derate, _ = judge(derate, replace(window, ends_s=float(number + 1)), RULES)
        told.append(derate.optimistic_since_s)
    assert told[0] is None
    assert told[1] == told[2] == 2.0
    since = told.index(None, 2)
    # It ends above where it began, so that a share near the threshold does not make an Event each window.
    assert 1.0 - (RULES.confirmed_above - RULES.optimistic_below) < derate.share
    assert all(t is None for t in told[since:])

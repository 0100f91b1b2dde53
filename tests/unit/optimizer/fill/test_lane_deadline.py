"""A deadline for lanes that fill: a checked plan always, and nothing begun after it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer import lp
from joulery.optimizer.fill import changes, nearby
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.solution import SolveStatus
from stopwatches import Ticking, jumping

TIGHT, SHORT = 0.75, 1.5


def fleet(lanes: int, tightness: float = TIGHT) -> LaneProblem:
    return fill(drawn(Case(lanes, 2, 6, tightness), 2))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(calls=st.integers(0, 50), lanes=st.sampled_from([5, 33]), tightness=st.sampled_from([TIGHT, SHORT]))
def test_whenever_the_time_is_up_there_is_a_checked_plan(calls: int, lanes: int, tightness: float) -> None:
    problem = fleet(lanes, tightness)
    plan = solve_lanes(problem, time_limit_s=1.0, stopwatch=jumping(calls))
    assert plan.is_plan
    assert check_lanes(problem, plan) == ()


def test_after_the_deadline_no_solver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lp.highspy.Highs, "run", lambda _: pytest.fail("HiGHS was asked"))
    for tightness in (TIGHT, SHORT):
        plan = solve_lanes(fleet(33, tightness), time_limit_s=1.0, stopwatch=jumping(0))
        assert plan.status is SolveStatus.FALLBACK
        assert plan.why.startswith("no time for prices: limit 1.0 s; ")


@pytest.mark.parametrize(("lanes", "tightness"), [(5, TIGHT), (33, TIGHT), (33, SHORT)])
def test_nothing_is_begun_once_the_stopwatch_has_shown_the_limit(
    lanes: int, tightness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopwatch = Ticking()
    began: list[float] = []
    run, looked = lp.highspy.Highs.run, nearby.list_nearby

    def running(highs: lp.highspy.Highs) -> object:
        began.append(stopwatch.seconds)
        return run(highs)

    def looking(*given: object) -> int:
        began.append(stopwatch.seconds)
        return looked(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(lp.highspy.Highs, "run", running)
    monkeypatch.setattr(nearby, "list_nearby", looking)
    for limit_s in range(1, 60, 3):
        stopwatch.seconds = 0.0
        plan = solve_lanes(fleet(lanes, tightness), time_limit_s=float(limit_s), stopwatch=stopwatch)
        assert plan.is_plan
        assert max(began, default=0.0) < limit_s
        began.clear()


@pytest.mark.parametrize(("limit_s", "looks"), [(50.0, 1), (150.0, 2), (1e6, 3)])
def test_a_wider_look_is_begun_where_several_times_the_last_one_are_left(
    limit_s: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single lane may take most of a look, and several times as long in the next, so asking in between is late."""
    problem = fill(drawn(Case(33, 2, 6, TIGHT), 5))
    stopwatch, began, looked = Ticking(), list[float](), changes.nearby_of

    def looking(*given: object) -> object:
        began.append(stopwatch.seconds)
        found = looked(*given)  # type: ignore[arg-type]
        stopwatch.seconds = began[-1] + 15.0 * 3.0 ** (len(began) - 1)
        return found

    monkeypatch.setattr(changes, "nearby_of", looking)
    assert solve_lanes(problem, time_limit_s=limit_s, stopwatch=stopwatch).is_plan
    assert len(began) == looks


def test_a_plan_that_greed_beats_is_not_taken() -> None:
    problem = fleet(33, SHORT)
    greedy = solve_lanes(problem, engine="fallback")
    for calls in range(0, 40, 4):
        plan = solve_lanes(problem, time_limit_s=0.1, stopwatch=jumping(calls))
        assert sum(plan.shed) <= sum(greedy.shed) + 2e-6


@pytest.mark.parametrize("lanes", [5, 33, 60])
def test_time_enough_gives_the_same_plan_as_no_stopwatch(lanes: int) -> None:
    problem = fleet(lanes)
    assert solve_lanes(problem, time_limit_s=60.0, stopwatch=lambda: 0.0) == solve_lanes(problem)


def test_without_a_stopwatch_all_of_the_limit_is_always_left() -> None:
    deadline = Deadline(2.0)
    assert deadline.allows(1e9)
    assert deadline.keeping(5.0) == deadline
    assert deadline.part(0.25).left_s == 0.5


def test_with_a_stopwatch_a_step_needs_its_units() -> None:
    deadline = Deadline(2.0, lambda: 1.25).measured(1.0)
    assert (deadline.unit_s, deadline.left_s) == (0.25, 0.75)
    assert deadline.allows(2.9)
    assert not deadline.allows(3.0)
    assert not deadline.keeping(0.75).allows()
    assert deadline.part(0.5) == deadline
    assert replace(deadline, stopwatch=None).allows(1e9)

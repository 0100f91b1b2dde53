"""A deadline for lanes and pools together, and the greed that is at hand before anything better is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.optimizer import lp
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.solution import SolveStatus
from mixed_lanes import lost_by_weight, mixed, short
from stopwatches import Ticking, jumping


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(calls=st.integers(0, 60), blocks=st.sampled_from([2, 6, 20, 40]), is_short=st.booleans())
def test_whenever_the_time_is_up_there_is_a_checked_plan(calls: int, blocks: int, is_short: bool) -> None:
    problem = short(2, blocks) if is_short else mixed(2, blocks, room=1.0)
    plan = solve_lanes(problem, time_limit_s=1.0, stopwatch=jumping(calls))
    assert plan.is_plan
    assert check_lanes(problem, plan) == ()


def test_after_the_deadline_no_solver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lp.highspy.Highs, "run", lambda _: pytest.fail("HiGHS was asked"))
    for problem in (mixed(2, 20, room=1.0), short(2, 8)):
        plan = solve_lanes(problem, time_limit_s=1.0, stopwatch=jumping(0))
        assert plan.status is SolveStatus.FALLBACK
        assert plan.why.startswith("no time for prices: limit 1.0 s; ")
        assert check_lanes(problem, plan) == ()


@pytest.mark.parametrize("is_short", [False, True])
def test_no_solver_begins_once_the_stopwatch_has_shown_the_limit(
    is_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopwatch = Ticking()
    began: list[float] = []
    run = lp.highspy.Highs.run

    def running(highs: lp.highspy.Highs) -> object:
        began.append(stopwatch.seconds)
        return run(highs)

    monkeypatch.setattr(lp.highspy.Highs, "run", running)
    problem = short(2, 8) if is_short else mixed(4, 20, 12, room=1.0)
    for limit_s in range(1, 90, 4):
        stopwatch.seconds = 0.0
        plan = solve_lanes(problem, time_limit_s=float(limit_s), stopwatch=stopwatch)
        assert plan.is_plan
        assert max(began, default=0.0) < limit_s
        began.clear()


@pytest.mark.parametrize("problem", [mixed(1, 6), mixed(1, 20, 12, room=1.0), mixed(1, 40), short(3, 6)])
def test_time_enough_gives_what_no_stopwatch_gives(problem: object) -> None:
    timed = solve_lanes(problem, time_limit_s=60.0, stopwatch=lambda: 0.0)
    assert timed == solve_lanes(problem, time_limit_s=60.0)


def test_pools_alone_keep_the_deadline_of_their_own_door() -> None:
    alone = replace(mixed(2, 40, room=0.5), lanes=())
    plan = solve_lanes(alone, time_limit_s=1.0, stopwatch=jumping(0))
    assert plan.status is SolveStatus.FALLBACK
    assert check_lanes(alone, plan) == ()


def test_a_plan_that_greed_beats_is_not_taken() -> None:
    problem = short(5, 12, most_nodes=6)
    greedy = lost_by_weight(problem, solve_lanes(problem, engine="fallback"))
    for calls in range(0, 60, 4):
        plan = solve_lanes(problem, time_limit_s=0.1, stopwatch=jumping(calls))
        assert [round(lost, 5) for lost in lost_by_weight(problem, plan)] <= [
            round(lost + 2e-5, 5) for lost in greedy
        ]


def test_greed_likes_small_options_where_large_ones_would_make_others_shed() -> None:
    lost = []
    for seed in range(6):
        problem = mixed(seed, 40, 12, room=1.0)
        lost.append(sum(solve_lanes(problem, engine="fallback").shed))
    assert sum(lost) / len(lost) < 2.0

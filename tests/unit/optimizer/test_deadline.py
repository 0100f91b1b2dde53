"""A deadline on a stopwatch: a checked plan always, and nothing begun after it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.optimizer import lp
from joulery.optimizer.checker import check
from joulery.optimizer.highs import Limits, out_of_time
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import solve
from problems import fleet_problem
from stopwatches import jumping


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(calls=st.integers(0, 12), engine=st.sampled_from(["milp", "columns"]), short=st.booleans())
def test_whenever_the_time_is_up_there_is_a_checked_plan(calls: int, engine: str, short: bool) -> None:
    problem = fleet_problem(3, 12, 0.6 if short else 0.85, clocks=6)
    solution = solve(problem, engine=engine, time_limit_s=1.0, stopwatch=jumping(calls))
    assert solution.is_plan
    assert check(problem, solution) == ()


def test_after_the_deadline_the_solver_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lp.highspy.Highs, "run", lambda _: pytest.fail("HiGHS was asked"))
    for engine in ("milp", "columns"):
        solution = solve(fleet_problem(1, 40, 0.8), engine=engine, time_limit_s=1.0, stopwatch=jumping(0))
        assert solution.status is SolveStatus.FALLBACK
        assert "no time for HiGHS" in solution.why


def test_a_stopwatch_counts_everything_and_the_solvers_clock_only_itself() -> None:
    on_stopwatch = Limits(1.0, 1e-6, lambda: 0.75, until_s=1.0).after(0.0)
    assert on_stopwatch.time_limit_s == pytest.approx(0.25)
    assert out_of_time(on_stopwatch) is None
    assert out_of_time(Limits(1.0, 1e-6, lambda: 1.5, until_s=1.0).after(0.0)) is not None
    assert Limits(1.0, 1e-6).after(0.0).time_limit_s == 1.0
    assert Limits(1.0, 1e-6).reserving() == Limits(1.0, 1e-6)
    reserved = Limits(1.0, 1e-6, lambda: 0.25, until_s=1.0).reserving()
    assert reserved.time_limit_s == pytest.approx(0.5)


def test_no_model_is_begun_that_takes_longer_to_make_than_there_is_time() -> None:
    assert Limits(1.0, 1e-6, lambda: 0.4, until_s=1.0).reserving().is_over
    assert not Limits(1.0, 1e-6, lambda: 0.3, until_s=1.0).reserving().is_over


def test_time_enough_gives_the_same_plan_as_no_stopwatch() -> None:
    problem = fleet_problem(1, 40, 0.8)
    assert solve(problem, time_limit_s=60.0, stopwatch=lambda: 0.0) == solve(problem, time_limit_s=60.0)

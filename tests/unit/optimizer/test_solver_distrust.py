"""Limits, exceptions and lies of the solver end in a checked greedy plan that says why."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.optimizer import highs
from joulery.optimizer.checker import check
from joulery.optimizer.fallback import greedy, is_better, safe_bound_w, sheds
from joulery.optimizer.highs import Limits, NoAnswer, Outcome, doubt, minimise
from joulery.optimizer.milp import Answer, least_cost
from joulery.optimizer.problem import Problem, supply_of
from joulery.optimizer.solution import Choice, SolveStatus
from joulery.optimizer.solve import solve
from joulery.optimizer.table import tabulate
from other_process import printed
from problems import H100, KINDS, block, fleet_problem, small_problem

BELIEVED = Outcome(status="optimal", has_point=True, claimed=10.0, bound=10.0, spent_s=0.1)


@pytest.fixture
def tight() -> Problem:
    return fleet_problem(1, 40, 0.8)


def test_an_honest_outcome_is_believed() -> None:
    assert doubt(BELIEVED, 10.0) is None
    assert doubt(replace(BELIEVED, status="user_limit", bound=7.0), 10.0) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"status": "unbounded"}, "status unbounded"),
        ({"status": "user_limit", "has_point": False, "claimed": 0.0}, "without a feasible point"),
        ({"claimed": 0.0}, "claims an objective of 0.0"),
        ({"claimed": float("nan")}, "claims an objective of nan"),
        ({"bound": 10.1}, "claims a lower bound of 10.1"),
        ({"bound": float("nan")}, "claims a lower bound of nan"),
    ],
)
def test_what_does_not_agree_is_not_believed(change: dict, expected: str) -> None:
    answer = doubt(replace(BELIEVED, **change), 10.0)
    assert isinstance(answer, NoAnswer)
    assert expected in answer.why


def test_cvxpy_still_reads_a_limit_without_an_incumbent_as_zeros_and_we_do_not() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(10**5, 10**6, size=(5, 40)).astype(float)
    x = cp.Variable(40, integer=True)
    rows = [weights @ x == weights.sum(axis=1) // 2 + 1, x >= 0, x <= 1]
    outcome = minimise(cp.Problem(cp.Minimize(cp.sum(x)), rows), Limits(0.05, 1e-6))
    assert outcome.status == "user_limit"
    assert not outcome.has_point
    assert isinstance(doubt(outcome, 0.0), NoAnswer)


def test_a_limit_without_an_incumbent_gives_the_checked_greedy_plan(tight: Problem) -> None:
    solution = solve(tight, engine="milp", time_limit_s=1e-9)
    assert (solution.status, solution.engine) == (SolveStatus.FALLBACK, "fallback")
    assert "without a feasible point" in solution.why
    assert check(tight, solution) == ()


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan")])
def test_no_time_asks_no_solver(tight: Problem, limit_s: float) -> None:
    solution = solve(tight, time_limit_s=limit_s)
    assert solution.status is SolveStatus.FALLBACK
    assert "no time for HiGHS" in solution.why


@pytest.mark.parametrize("error", [ValueError("kError"), cp.error.SolverError("not set"), MemoryError()])
def test_an_exception_of_the_solver_is_named_and_survived(
    tight: Problem, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cp.Problem, "solve", broken)
    solution = solve(tight, engine="milp")
    assert solution.status is SolveStatus.FALLBACK
    assert f"HiGHS failed: {type(error).__name__}" in solution.why
    assert check(tight, solution) == ()


def test_a_solver_that_chooses_twice_for_a_pool_is_not_believed() -> None:
    table = tabulate(small_problem(2))
    both = np.ones(4)
    assert highs.chosen_places(table, np.array([0, 1, 6, 12]), both) is None
    assert highs.chosen_places(table, np.array([0, 1, 6, 12]), np.array([0.0, 1.0, 1.0, 1.0])) is not None
    assert highs.chosen_places(table, np.array([0, 6, 12]), None) is None


def answering(monkeypatch: pytest.MonkeyPatch, options: np.ndarray, *, is_proven: bool) -> None:
    """Let the MILP answer with these options."""
    answer = Answer(options, 0.0, is_proven, 0.01)
    monkeypatch.setattr("joulery.optimizer.solve.least_cost", lambda *_: answer)


def test_a_plan_of_the_solver_that_fails_the_check_is_dropped(
    tight: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tabulate(tight)
    answering(monkeypatch, table.end - 1, is_proven=True)  # ten TP8 instances for every pool
    solution = solve(tight, engine="milp")
    assert solution.status is SolveStatus.FALLBACK
    assert "the checker refused the plan of HiGHS" in solution.why
    assert check(tight, solution) == ()


def test_an_unproven_plan_is_called_feasible(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = fleet_problem(1, 10, 0.9)
    table = tabulate(problem)
    best = least_cost(table, greedy(table), Limits(5.0, 1e-6))
    assert isinstance(best, Answer)
    answering(monkeypatch, best.options, is_proven=False)
    solution = solve(problem, engine="milp")
    assert (solution.status, solution.engine) == (SolveStatus.FEASIBLE, "milp")
    assert solution.why == "HiGHS reached its time limit"


def test_a_plan_worse_than_the_greedy_one_is_dropped(tight: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, tabulate(tight).start.copy(), is_proven=False)
    solution = solve(tight, engine="milp")
    assert (solution.status, solution.engine) == (SolveStatus.FALLBACK, "fallback")
    assert "better than HiGHS's plan, which is feasible" in solution.why


OTHER_THREADS = """
import highspy
from problems import fleet_problem
from joulery.optimizer.checker import check
from joulery.optimizer.solve import solve

other = highspy.Highs()
other.setOptionValue("output_flag", False)
other.setOptionValue("threads", 2)
x = other.addVariables(2, lb=0, ub=5)
other.maximize(x[0] + x[1])
problem = fleet_problem(1, 10, 0.9)
for engine in ("milp", "columns"):
    solution = solve(problem, engine=engine)
    print(solution.status, check(problem, solution), solution.why.partition(":")[0])
"""


def test_highs_refusing_to_run_beside_another_thread_count_is_survived() -> None:
    read, priced = printed(OTHER_THREADS).splitlines()
    assert read == "Fallback () HiGHS failed"
    assert priced == "Fallback () HiGHS ended with status error"


def test_importing_the_optimizer_imports_neither_cvxpy_nor_highs() -> None:
    heavy = "{'cvxpy', 'highspy', 'scipy'}"
    code = f"import sys, joulery.optimizer.solve; print(sorted({heavy} & set(sys.modules)))"
    assert printed(code) == "[]"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_greed_always_fits_and_its_bound_is_safe(seed: int) -> None:
    problem = small_problem(seed, pools=4)
    solution = solve(problem, engine="fallback")
    assert solution.status is SolveStatus.FALLBACK
    assert check(problem, solution) == ()
    assert solution.bound_w <= solution.cost_w


def test_greed_keeps_a_previous_plan_that_serves_and_fits() -> None:
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1200, 500.0, 1.0, 0.0), (1, 1, 1200, 800.0, 1.0, 0.0)]
    problem = Problem(KINDS, (block("a", rows), block("b", rows)), (supply_of(H100, [8]),))
    assert solve(problem, engine="fallback", previous=Choice((2, 1))).choice == Choice((2, 1))
    assert solve(problem, engine="fallback", previous=Choice((2, 0))).choice == Choice((2, 1))


@pytest.mark.parametrize("stale", [(), (1,), (1, 99), (-1, 0)])
def test_a_previous_plan_of_another_problem_is_ignored(stale: tuple[int, ...]) -> None:
    problem = small_problem(5, pools=2)
    assert solve(problem, engine="fallback", previous=Choice(stale)) == solve(problem, engine="fallback")


def test_greed_takes_small_options_when_cheap_ones_would_shed() -> None:
    # Eight GPUs: the first pool's cheapest option takes them all, its smallest leaves room for the second.
    none, wide, narrow = (0, 0, 0, 0.0, 0.0, 0.0), (2, 1, 900, 500.0, 1.0, 0.0), (1, 1, 1980, 900.0, 1.0, 0.0)
    pools = (block("a", [none, narrow, wide]), block("b", [none, narrow]))
    problem = Problem(KINDS, pools, (supply_of(H100, [8]),))
    assert solve(problem, engine="fallback").shed == (0.0, 0.0)


def test_comparing_plans_puts_service_before_watts() -> None:
    table = tabulate(fleet_problem(2, 5, 0.7))
    plan = greedy(table)
    nothing = table.start.copy()
    assert sheds(table, nothing)
    assert is_better(table, plan, nothing)
    assert not is_better(table, nothing, plan)
    assert not is_better(table, plan, plan)
    assert safe_bound_w(table, nothing) <= float(table.cost_w[nothing].sum())


def test_a_reached_limit_leaves_time_for_the_next_stage() -> None:
    assert Limits(1.0, 1e-6).after(0.4).time_limit_s == pytest.approx(0.6)
    assert Limits(1.0, 1e-6).after(5.0).time_limit_s == highs.LEAST_TIME_LIMIT_S


def test_a_limit_that_stops_stage_one_is_not_called_infeasible(tight: Problem) -> None:
    table = tabulate(tight)
    answer = least_cost(table, greedy(table), Limits(1e-9, 1e-6))
    assert isinstance(answer, NoAnswer)
    assert not answer.is_infeasible


def test_the_solver_gets_no_start_one_thread_and_its_own_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    # A start makes HiGHS up to 17 times slower, another thread count makes it refuse, a seed has cost it its bound.
    asked: list[dict[str, object]] = []
    real = cp.Problem.solve
    monkeypatch.setattr(
        cp.Problem, "solve", lambda self, **options: (asked.append(options), real(self, **options))[1]
    )
    solve(fleet_problem(1, 10, 0.8), engine="milp")
    assert asked
    for options in asked:
        assert options["warm_start"] is False
        assert options["threads"] == 1
        assert "random_seed" not in options


def test_no_parameter_is_in_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    # cvxpy takes gigabytes for a parameter times a variable.
    monkeypatch.setattr(cp, "Parameter", lambda *_, **__: pytest.fail("a parameter"))
    assert solve(fleet_problem(1, 10, 0.8), engine="milp").status is SolveStatus.OPTIMAL

"""A limit on starts saves churn and refuses no load: within it the least cost, beyond it only what is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.optimizer.checker import check
from joulery.optimizer.faults import faults_of
from joulery.optimizer.problem import PoolBlock, Problem, supply_of
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import solve
from problems import H100, KINDS, block, brute_force, lost_by_weight, small_problem, solution_of

engines = st.sampled_from(["columns", "milp"])


def limited(seed: int, most: int) -> Problem:
    """Random pools whose options start up to all of their instances."""
    problem = small_problem(seed, gpus=28)
    rng = np.random.default_rng(seed)
    pools = tuple(replace(p, starts=rng.integers(0, p.count + 1)) for p in problem.pools)
    return replace(problem, pools=pools, max_starts=most)


def pool(key: str, starts: tuple[int, int, int]) -> PoolBlock:
    """Nothing; one instance of TP2 that serves all; two that do so for fewer watts."""
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1980, 900.0, 1.0, 0.0), (0, 2, 1200, 600.0, 1.0, 0.0)]
    return replace(block(key, rows), starts=np.array(starts, dtype=np.int64))


def pair(most: int | None, running: int = 1) -> Problem:
    starts = (0, max(0, 1 - running), max(0, 2 - running))
    pools = (pool("a", starts), pool("b", starts))
    return Problem(KINDS, pools, (supply_of(H100, [8]),), max_starts=most)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), most=st.integers(0, 8), engine=engines)
def test_nothing_is_shed_for_the_limit_and_within_it_the_cost_is_the_least(
    seed: int, most: int, engine: str
) -> None:
    problem = limited(seed, most)
    solution = solve(problem, engine=engine)
    assert check(problem, solution) == ()
    least_lost, _ = brute_force(replace(problem, max_starts=None))
    assert lost_by_weight(problem, solution.shed) == pytest.approx(least_lost, abs=1e-6)
    lost_within, cost_within_w = brute_force(problem)
    is_within = lost_within == pytest.approx(least_lost, abs=1e-6)
    assert (solution.starts_over_limit == 0) == is_within
    if is_within:
        assert solution.cost_w == pytest.approx(cost_within_w, rel=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), most=st.integers(0, 8))
def test_greed_tells_how_far_it_is_beyond_the_limit(seed: int, most: int) -> None:
    problem = limited(seed, most)
    assert check(problem, solve(problem, engine="fallback")) == ()


@pytest.mark.parametrize("engine", ["columns", "milp", "fallback"])
@pytest.mark.parametrize(("most", "cost_w"), [(None, 1200.0), (2, 1200.0), (1, 1500.0), (0, 1800.0)])
def test_of_starts_that_only_save_watts_as_many_are_made_as_are_allowed(
    engine: str, most: int | None, cost_w: float
) -> None:
    solution = solve(pair(most), engine=engine)
    assert (solution.cost_w, solution.starts_over_limit) == (cost_w, 0)


@pytest.mark.parametrize("engine", ["columns", "milp", "fallback"])
def test_what_the_load_needs_is_started_and_no_more(engine: str) -> None:
    solution = solve(pair(1, running=0), engine=engine)
    assert solution.choice.option == (1, 1)
    assert (solution.shed, solution.starts_over_limit) == ((0.0, 0.0), 1)
    assert "the load needs 1 starts more than the limit of 1" in solution.why
    assert solution.bound_w <= solution.cost_w == 1800.0


def test_starts_beyond_the_limit_that_are_not_told_are_refused_by_the_checker() -> None:
    (wrong,) = check(pair(1), solution_of(pair(1), (2, 2)))
    assert wrong == "2 starts, 1 allowed, 0 more told"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"max_starts": -1}, "must not be negative"),
        ({"pools": (pool("a", (1, 1, 1)),)}, "an option with count 0 starts instances"),
        ({"pools": (pool("a", (0, -1, 1)),)}, "starts must lie in"),
        ({"pools": (replace(pool("a", (0, 1, 1)), starts=np.zeros(2, dtype=np.int64)),)}, "one per option"),
    ],
)
def test_contradictory_starts_are_named(change: dict, expected: str) -> None:
    problem = replace(pair(1), **change)
    assert any(expected in fault for fault in faults_of(problem))
    assert solve(problem).status is SolveStatus.REFUSED


def test_the_order_of_pools_changes_no_plan_under_a_limit() -> None:
    for seed in range(12):
        problem = limited(seed, 2)
        turned = replace(problem, pools=problem.pools[::-1])
        assert solve(turned).choice.option == solve(problem).choice.option[::-1]


@pytest.mark.parametrize("engine", ["columns", "milp"])
@pytest.mark.parametrize(("most", "cost_w"), [(1, 1100.0), (0, 1200.0), (2, 1000.0)])
def test_of_as_many_instances_those_that_run_may_be_the_dearer_ones(
    engine: str, most: int, cost_w: float
) -> None:
    """Two variants on one kind: the cheaper one would have to be started."""
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1200, 600.0, 1.0, 0.0), (0, 1, 1980, 500.0, 1.0, 0.0)]
    starts = np.array([0, 0, 1], dtype=np.int64)
    pools = tuple(replace(block(key, rows), starts=starts) for key in ("a", "b"))
    solution = solve(Problem(KINDS, pools, (supply_of(H100, [8]),), max_starts=most), engine=engine)
    assert (solution.cost_w, solution.starts_over_limit) == (cost_w, 0)
    assert (solution.status, solution.engine) == (SolveStatus.OPTIMAL, engine)

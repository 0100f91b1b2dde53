"""Quotas that pools share: every engine keeps them, the checker sees when one is not kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.optimizer.checker import check
from joulery.optimizer.faults import faults_of
from joulery.optimizer.packing import binding_rows, packing_rows
from joulery.optimizer.problem import GpuQuota, Problem, supply_of
from joulery.optimizer.solution import Shortage, SolveStatus
from joulery.optimizer.solve import solve
from problems import H100, KINDS, block, brute_force, lost_by_weight, small_problem, solution_of

ONE_OR_TWO = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1200, 500.0, 0.5, 0.0), (0, 2, 1200, 800.0, 1.0, 0.0)]


def under_quotas(problem: Problem, gpus: int, other: int) -> Problem:
    """The same with every second kind under one quota and the others under another."""
    kinds = tuple(replace(k, quota=("team", "other")[i % 2]) for i, k in enumerate(problem.kinds))
    return replace(problem, kinds=kinds, quotas=(GpuQuota("team", gpus), GpuQuota("other", other)))


def two_pools(gpus: int) -> Problem:
    """Two pools of two GPUs per instance that would like two instances each, on a node of eight."""
    kinds = tuple(replace(k, quota="team") for k in KINDS)
    pools = (block("a", ONE_OR_TWO, weight=2.0), block("b", ONE_OR_TWO))
    return Problem(kinds, pools, (supply_of(H100, [8]),), (GpuQuota("team", gpus),))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    engine=st.sampled_from(["columns", "milp"]),
    gpus=st.integers(0, 16),
    other=st.integers(0, 16),
)
def test_the_least_shed_and_cost_within_quotas_is_found(
    seed: int, engine: str, gpus: int, other: int
) -> None:
    problem = under_quotas(small_problem(seed, gpus=40), gpus, other)
    solution = solve(problem, engine=engine)
    assert solution.status is SolveStatus.OPTIMAL
    assert check(problem, solution) == ()
    lost, cost_w = brute_force(problem)
    assert lost_by_weight(problem, solution.shed) == pytest.approx(lost, abs=1e-6)
    assert solution.cost_w == pytest.approx(cost_w, rel=1e-5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), gpus=st.integers(0, 16))
def test_greed_keeps_quotas(seed: int, gpus: int) -> None:
    problem = under_quotas(small_problem(seed, gpus=40), gpus, 8)
    assert check(problem, solve(problem, engine="fallback")) == ()


@pytest.mark.parametrize("engine", ["columns", "milp", "fallback"])
def test_what_a_quota_lacks_is_named(engine: str) -> None:
    solution = solve(two_pools(6), engine=engine)
    assert solution.choice.option == (2, 1)
    assert solution.shortage == (Shortage("quota team", 2),)


@pytest.mark.parametrize("engine", ["columns", "milp", "fallback"])
def test_a_quota_that_does_not_bind_changes_nothing(engine: str) -> None:
    problem = small_problem(5, gpus=24)
    free = solve(problem, engine=engine)
    wide = solve(under_quotas(problem, 10_000, 10_000), engine=engine)
    assert (wide.choice, wide.cost_w) == (free.choice, free.cost_w)


def test_a_plan_over_its_quota_is_refused_by_the_checker() -> None:
    problem = two_pools(6)
    (wrong,) = check(problem, solution_of(problem, (2, 2)))
    assert wrong == "quota team: 8 GPUs used, 6 allowed"
    assert check(problem, solution_of(problem, (2, 1))) == ()


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ((), "named by instances but not given"),
        ((GpuQuota("team", -1),), "must not be negative"),
        ((GpuQuota("team", 1), GpuQuota("team", 2)), "given more than once"),
    ],
)
def test_contradictory_quotas_are_named(quotas: tuple[GpuQuota, ...], expected: str) -> None:
    problem = replace(two_pools(6), quotas=quotas)
    assert any(expected in fault for fault in faults_of(problem))
    assert solve(problem).status is SolveStatus.REFUSED


def test_the_order_of_quotas_and_pools_changes_no_plan() -> None:
    problem = under_quotas(small_problem(11, pools=5, gpus=24), 9, 10)
    turned = replace(problem, pools=problem.pools[::-1], quotas=problem.quotas[::-1])
    assert solve(turned).choice.option == solve(problem).choice.option[::-1]


def test_no_row_of_gpus_implies_a_quota() -> None:
    problem = two_pools(6)
    rows = binding_rows(packing_rows(problem.kinds, problem.supplies, problem.quotas))
    assert rows.accelerator[-1] == "quota team"
    assert rows.slots[-1] == 6


@pytest.mark.parametrize("engine", ["columns", "milp"])
@pytest.mark.parametrize(("gpus", "cost_w"), [(0, 1200.0), (2, 1100.0), (4, 1000.0)])
def test_of_as_many_gpus_those_of_the_quota_with_room_may_be_the_dearer_ones(
    engine: str, gpus: int, cost_w: float
) -> None:
    """One size of one accelerator under two quotas: the cheaper option is of the one that is nearly used up."""
    kinds = (replace(KINDS[0], quota="little"), replace(KINDS[0], quota="much"))
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1200, 500.0, 1.0, 0.0), (1, 1, 1200, 600.0, 1.0, 0.0)]
    quotas = (GpuQuota("little", gpus), GpuQuota("much", 8))
    pools = (block("a", rows), block("b", rows))
    solution = solve(Problem(kinds, pools, (supply_of(H100, [8]),), quotas), engine=engine)
    assert solution.cost_w == cost_w
    assert (solution.status, solution.engine) == (SolveStatus.OPTIMAL, engine)

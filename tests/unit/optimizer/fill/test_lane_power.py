"""Watts that lanes that fill, and pools beside them, share: a budget, and nodes switched on only as they are needed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.bench.forms import equal, fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.budget import drawn_w
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import OffNodes, supply_of
from joulery.optimizer.solution import SolveStatus

few = settings(max_examples=12, deadline=None)
CASE = Case(6, 2, 12)


def with_off(problem: LaneProblem, watts: float, on: int = 1) -> LaneProblem:
    """All but so many nodes of each accelerator off."""
    supplies = []
    for supply in problem.supplies:
        nodes = dict(supply.slots)[8]
        supplies.append(supply_of(supply.accelerator, [8] * on, OffNodes(nodes - on, 8, watts)))
    return replace(problem, supplies=tuple(supplies))


def at_nodes(problem: LaneProblem, numbers: tuple[int, ...]) -> LaneProblem:
    """With so many nodes of each accelerator, all on."""
    pairs = zip(problem.supplies, numbers, strict=True)
    return replace(problem, supplies=tuple(supply_of(s.accelerator, [8] * n) for s, n in pairs))


def roomy(problem: LaneProblem) -> LaneProblem:
    """With half as many nodes more, so that nobody has to shed."""
    return at_nodes(problem, tuple(math.ceil(1.5 * dict(s.slots)[8]) for s in problem.supplies))


def mixed(case: Case, seed: int) -> LaneProblem:
    """Half of the fleet's pools fill, half split equally."""
    fleet = drawn(case, seed)
    problem, pools = fill(fleet), equal(fleet).pools
    half = case.pools // 2
    return replace(problem, lanes=problem.lanes[:half], pools=pools[half:])


def least_over_nodes(problem: LaneProblem, watts: float, on: int) -> float:
    """By trying every number of nodes."""
    most = [dict(supply.slots)[8] for supply in problem.supplies]
    costs = []
    for numbers in np.ndindex(*(m - on + 1 for m in most)):
        plan = solve_lanes(at_nodes(problem, tuple(n + on for n in numbers)))
        if plan.is_plan and not any(plan.shed):
            costs.append(plan.cost_w + watts * sum(numbers))
    return min(costs)


@pytest.mark.parametrize("watts", [0.0, 300.0, 2000.0])
@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("draw", [lambda seed: fill(drawn(CASE, seed)), lambda seed: mixed(CASE, seed)])
def test_as_many_nodes_are_on_as_is_cheapest(draw: object, seed: int, watts: float) -> None:
    assert callable(draw)
    problem: LaneProblem = roomy(draw(seed))
    plan = solve_lanes(with_off(problem, watts))
    assert check_lanes(with_off(problem, watts), plan) == ()
    assert not any(plan.shed)
    assert plan.bound_w <= plan.cost_w
    assert plan.cost_w == pytest.approx(least_over_nodes(problem, watts, 1), rel=2e-3)


@given(seed=st.integers(0, 500), watts=st.floats(0.0, 3000.0))
@few
def test_the_bound_holds_and_dear_nodes_never_lower_the_cost(seed: int, watts: float) -> None:
    problem = roomy(fill(drawn(Case(40, 2, 12), seed)))
    cheap, dear = (solve_lanes(with_off(problem, w)) for w in (watts, watts + 500.0))
    gap = 5e-3
    assert cheap.bound_w <= cheap.cost_w <= dear.cost_w * (1.0 + gap)
    assert cheap.cost_w - cheap.bound_w <= gap * cheap.cost_w


@pytest.mark.parametrize("engine", ["columns", "fallback"])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_a_budget_is_kept_and_weights_are_shed_from_the_lowest(
    engine: str, share: float, *, is_mixed: bool
) -> None:
    problem = mixed(CASE, 1) if is_mixed else fill(drawn(CASE, 1))
    weights = (5.0, 1.0, 1.0, 5.0, 1.0, 1.0)
    half = len(problem.lanes)
    problem = replace(
        problem,
        lanes=tuple(replace(n, weight=w) for n, w in zip(problem.lanes, weights, strict=False)),
        pools=tuple(replace(p, weight=w) for p, w in zip(problem.pools, weights[half:], strict=False)),
    )
    free = solve_lanes(problem, engine=engine)
    budget_w = share * drawn_w(problem, free)
    bounded = replace(problem, power_budget_w=budget_w)
    plan = solve_lanes(bounded, engine=engine)
    assert check_lanes(bounded, plan) == ()
    assert drawn_w(problem, plan) <= budget_w * (1.0 + 1e-9)
    assert plan.power_missing_w == pytest.approx((1.0 - share) * drawn_w(problem, free), rel=1e-6)
    assert "power budget too small by" in plan.why
    lost = {w: sum(s for s, own in zip(plan.shed, weights, strict=True) if own == w) for w in (5.0, 1.0)}
    assert lost[5.0] < 1e-9 or lost[1.0] > 4.0 - 1e-9
    assert lost[1.0] > 0.0


def test_a_budget_that_does_not_bind_changes_nothing() -> None:
    problem = fill(drawn(CASE, 2))
    free = solve_lanes(problem)
    assert solve_lanes(replace(problem, power_budget_w=2.0 * free.cost_w)) == free


def test_shares_use_up_the_budget_nearly() -> None:
    problem = fill(drawn(Case(40, 2, 12), 1))
    budget_w = 0.7 * solve_lanes(problem).cost_w
    plan = solve_lanes(replace(problem, power_budget_w=budget_w))
    assert 0.97 * budget_w <= drawn_w(problem, plan) <= budget_w


def test_bad_budgets_and_nodes_are_named() -> None:
    problem = fill(drawn(CASE, 2))
    assert "power budget: -5.0 W" in solve_lanes(replace(problem, power_budget_w=-5.0)).why
    wrong = replace(problem.supplies[0], off=OffNodes(999, 8, 100.0))
    refused = solve_lanes(replace(problem, supplies=(wrong, *problem.supplies[1:])))
    assert refused.status is SolveStatus.REFUSED
    assert "do not hold the 999 nodes" in refused.why


def test_the_checker_counts_watts_and_nodes_itself() -> None:
    problem = with_off(fill(drawn(CASE, 2)), 500.0, on=0)
    plan = solve_lanes(problem)
    assert plan.node_w >= 500.0
    told: LanePlan = replace(plan, node_w=0.0, cost_w=plan.cost_w - plan.node_w, bound_w=0.0)
    wrong = "; ".join(check_lanes(replace(problem, power_budget_w=1.0), told))
    assert f"nodes take {plan.node_w} W, not 0.0 W" in wrong
    assert "1.0 W allowed" in wrong

"""Watts that pools share: a budget for all of them, and nodes that are switched on only as far as they are needed."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.optimizer.checker import check
from joulery.optimizer.faults import faults_of
from joulery.optimizer.packing import place
from joulery.optimizer.problem import OffNodes, Problem, supply_of
from joulery.optimizer.solution import Choice, Solution, SolveStatus
from joulery.optimizer.solve import solve
from problems import A100, H100, KINDS, block, fleet_problem, lost_by_weight, small_problem

ENGINES = ("columns", "milp", "fallback")
seeds = st.integers(0, 10_000)
few = settings(max_examples=25, deadline=None)


def with_off(seed: int, pools: int = 3) -> tuple[Problem, dict[str, tuple[list[int], OffNodes]]]:
    """A small problem whose nodes are partly on; and the nodes."""
    rng = np.random.default_rng([seed, 5])
    nodes = {
        name: (
            rng.integers(0, 9, size=2).tolist(),
            OffNodes(int(rng.integers(0, 4)), 8, float(rng.uniform(50, 900))),
        )
        for name in (H100, A100)
    }
    supplies = tuple(supply_of(name, on, off) for name, (on, off) in nodes.items())
    return replace(small_problem(seed, pools=pools), supplies=supplies), nodes


def watts_of_nodes(
    problem: Problem, options: tuple[int, ...], nodes: dict[str, tuple[list[int], OffNodes]]
) -> float | None:
    """By placing instances, one node more at a time; None where they do not fit."""
    total = 0.0
    for name, (on, off) in nodes.items():
        counts: dict[int, int] = {}
        for pool, option in zip(problem.pools, options, strict=True):
            kind = problem.kinds[int(pool.kind[option])]
            if kind.accelerator == name:
                counts[kind.gpus] = counts.get(kind.gpus, 0) + int(pool.count[option])
        fits = (m for m in range(off.number + 1) if place([*on, *[off.gpus] * m], counts) is not None)
        needed = next(fits, None)
        if needed is None:
            return None
        total += needed * off.watts
    return total


def least(problem: Problem, nodes: dict[str, tuple[list[int], OffNodes]]) -> tuple[tuple[float, ...], float]:
    """Least shed by weight, then least watts with those of nodes, over all combinations."""
    best: tuple[tuple[float, ...], float] | None = None
    for options in itertools.product(*(range(len(pool)) for pool in problem.pools)):
        node_w = watts_of_nodes(problem, options, nodes)
        chosen = list(zip(problem.pools, options, strict=True))
        watts = math.fsum(float(p.watts[o]) for p, o in chosen)
        if node_w is None or (
            problem.power_budget_w is not None and watts > problem.power_budget_w * (1.0 + 1e-9)
        ):
            continue
        shed = lost_by_weight(problem, [1.0 - float(p.served[o]) for p, o in chosen])
        value = (shed, node_w + watts + math.fsum(float(p.switch_w[o]) for p, o in chosen))
        best = value if best is None else min(best, value)
    assert best is not None
    return best


@pytest.mark.parametrize("engine", ["columns", "milp"])
@given(seed=seeds)
@few
def test_nodes_are_switched_on_where_that_is_cheapest(engine: str, seed: int) -> None:
    problem, nodes = with_off(seed)
    found = solve(problem, engine=engine)
    shed, cost_w = least(problem, nodes)
    assert check(problem, found) == ()
    assert lost_by_weight(problem, found.shed) == pytest.approx(shed, abs=1e-5)
    assert found.cost_w == pytest.approx(cost_w, rel=1e-5)
    assert found.node_w == pytest.approx(watts_of_nodes(problem, found.choice.option, nodes))
    assert found.bound_w <= found.cost_w * (1.0 + 1e-9)


@pytest.mark.parametrize("engine", ["columns", "milp"])
@given(seed=seeds, share=st.floats(0.0, 1.3))
@few
def test_a_budget_sheds_least_by_weight(engine: str, seed: int, share: float) -> None:
    problem, nodes = with_off(seed)
    free_w = sum(float(p.watts[o]) for p, o in zip(problem.pools, solve(problem).choice.option, strict=True))
    problem = replace(problem, power_budget_w=share * free_w)
    found = solve(problem, engine=engine)
    shed, cost_w = least(problem, nodes)
    assert check(problem, found) == ()
    assert lost_by_weight(problem, found.shed) == pytest.approx(shed, abs=1e-5)
    assert found.cost_w == pytest.approx(cost_w, rel=1e-5)


@given(seed=seeds, share=st.floats(0.5, 1.1), watts=st.floats(0.0, 1500.0))
@few
def test_both_engines_agree_on_fleets(seed: int, share: float, watts: float) -> None:
    problem = fleet_problem(seed, 8, tightness=1.2)
    (supply,) = problem.supplies
    nodes = dict(supply.slots)[8]
    off = OffNodes(nodes - 1, 8, watts)
    budget_w = share * solve(problem).cost_w
    problem = replace(problem, supplies=(supply_of(H100, [8], off),), power_budget_w=budget_w)
    # HiGHS's limit is on the wall clock, and this asks for what is proven however busy the machine is.
    prices, full = (solve(problem, engine=engine, time_limit_s=120.0) for engine in ("columns", "milp"))
    assert check(problem, prices) == check(problem, full) == ()
    assert lost_by_weight(problem, prices.shed) == pytest.approx(lost_by_weight(problem, full.shed), abs=1e-5)
    assert prices.cost_w == pytest.approx(full.cost_w, rel=1e-4)
    assert prices.status is full.status is SolveStatus.OPTIMAL


@pytest.mark.parametrize("engine", ENGINES)
def test_a_budget_that_does_not_bind_changes_nothing(engine: str) -> None:
    problem = fleet_problem(3, 12)
    free = solve(problem, engine=engine)
    bounded = solve(replace(problem, power_budget_w=2.0 * free.cost_w), engine=engine)
    assert bounded.shed == free.shed
    assert bounded.cost_w == pytest.approx(free.cost_w, rel=1e-6)
    assert bounded.power_missing_w == 0.0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pools", [9, 40])
def test_a_budget_too_small_is_kept_and_told_with_what_is_missing(engine: str, pools: int) -> None:
    problem = fleet_problem(5, pools, tightness=1.3)
    free_w = solve(problem).cost_w
    # Forty pools that have to shed for watts take HiGHS longer than that: then greed's plan is told so.
    found = solve(replace(problem, power_budget_w=0.6 * free_w), engine=engine, time_limit_s=0.5)
    drawn = sum(float(p.watts[o]) for p, o in zip(problem.pools, found.choice.option, strict=True))
    assert check(replace(problem, power_budget_w=0.6 * free_w), found) == ()
    assert drawn <= 0.6 * free_w * (1.0 + 1e-6)
    assert sum(found.shed) > 0.0
    assert 0.0 < found.power_missing_w < 0.5 * free_w
    assert f"power budget too small by {found.power_missing_w:.0f} W at least" in found.why


def test_a_budget_takes_from_the_lowest_weight_first() -> None:
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1000, 400.0, 0.5, 0.0), (0, 1, 1980, 700.0, 1.0, 0.0)]
    pools = (block("dear", rows, 5.0), block("cheap", rows, 1.0))
    problem = Problem(KINDS, pools, (supply_of(H100, [8]),), power_budget_w=1200.0)
    found = solve(problem)
    assert found.shed == (0.0, 0.5)
    assert found.power_missing_w == pytest.approx(200.0)
    assert found.shortage == ()


def test_load_moves_to_nodes_that_are_on() -> None:
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (2, 1, 1980, 500.0, 1.0, 0.0), (4, 1, 1980, 900.0, 1.0, 0.0)]
    problem = Problem(
        KINDS, (block("a", rows),), (supply_of(H100, [], OffNodes(2, 8, 800.0)), supply_of(A100, [8]))
    )
    found = solve(problem)
    assert (found.cost_w, found.node_w) == (900.0, 0.0)
    cheaper = replace(problem, supplies=(supply_of(H100, [], OffNodes(2, 8, 300.0)), supply_of(A100, [8])))
    assert (solve(cheaper).cost_w, solve(cheaper).node_w) == (800.0, 300.0)


@given(seed=seeds)
@few
def test_dearer_nodes_never_lower_the_cost_and_free_ones_cost_nothing(seed: int) -> None:
    problem = fleet_problem(seed, 10, tightness=1.1)
    (supply,) = problem.supplies
    nodes = dict(supply.slots)[8]

    def cost_w(watts: float) -> float:
        off = OffNodes(nodes - 2, 8, watts)
        found = solve(replace(problem, supplies=(supply_of(H100, [8, 8], off),)))
        assert found.bound_w <= found.cost_w
        return found.cost_w

    costs = [cost_w(watts) for watts in (0.0, 200.0, 1000.0)]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(solve(problem).cost_w, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"power_budget_w": -1.0}, "power budget: -1.0 W"),
        ({"power_budget_w": math.nan}, "power budget: nan W"),
        ({"supplies": (supply_of(H100, [8], OffNodes(-1, 8, 5.0)),)}, "neither may be negative"),
        ({"supplies": (supply_of(H100, [8], OffNodes(1, 0, 5.0)),)}, "none without GPUs"),
        ({"supplies": (supply_of(H100, [8], OffNodes(1, 8, math.inf)),)}, "once it is on"),
        ({"supplies": (replace(supply_of(H100, [8]), off=OffNodes(2, 8, 5.0)),)}, "do not hold the 2 nodes"),
    ],
)
def test_faults_are_named(change: dict[str, object], expected: str) -> None:
    problem = replace(Problem(KINDS, (), (supply_of(H100, [8]),)), **change)
    assert any(expected in fault for fault in faults_of(problem))
    assert solve(problem).status is SolveStatus.REFUSED


def test_the_checker_counts_watts_and_nodes_itself() -> None:
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (2, 1, 1980, 500.0, 1.0, 0.0)]
    problem = Problem(
        KINDS, (block("a", rows),), (supply_of(H100, [], OffNodes(1, 8, 800.0)),), power_budget_w=400.0
    )
    told = Solution(Choice((1,)), 500.0, 0.0, (0.0,), SolveStatus.OPTIMAL, "by hand", "milp")
    wrong = "; ".join(check(problem, told))
    assert "500.0 W drawn, 400.0 W allowed" in wrong
    assert "nodes take 800.0 W, not 0.0 W" in wrong
    assert "cost is 1300.0 W, not 500.0 W" in wrong

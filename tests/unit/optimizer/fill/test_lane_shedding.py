"""Lanes that fill where supply is short: least shed by falling weight, told and checked; and what greed makes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill import columns
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.fill.plan import Group, LanePlan
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import GpuQuota, Kind, Supply, supply_of
from joulery.optimizer.solution import Shortage, SolveStatus

solver = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
seeds = st.integers(0, 10_000)


def short(seed: int, lanes: int = 3, clocks: int = 4, *, most_nodes: int = 2) -> LaneProblem:
    """Lanes of two weights on a few nodes, some of them partly taken."""
    problem = fill(drawn(Case(lanes, 2, clocks), seed))
    rng = np.random.default_rng(seed)
    names = sorted({kind.accelerator for kind in problem.kinds})
    supplies = tuple(
        supply_of(n, rng.integers(0, 9, int(rng.integers(0, most_nodes + 1))).tolist()) for n in names
    )
    weighted = tuple(replace(n, weight=float(rng.integers(1, 3))) for n in problem.lanes)
    return replace(problem, lanes=weighted, supplies=supplies)


def lost_by_weight(problem: LaneProblem, plan: LanePlan) -> list[float]:
    """Shares of load, from the highest weight."""
    weights = sorted({lane.weight for lane in problem.lanes}, reverse=True)
    pairs = list(zip(problem.lanes, plan.shed, strict=True))
    return [math.fsum(shed for lane, shed in pairs if lane.weight == weight) for weight in weights]


def sheds_as_textbook(problem: LaneProblem) -> None:
    prices = solve_lanes(problem)
    full = solve_lanes(problem, engine="textbook", time_limit_s=20.0)
    assert check_lanes(problem, prices) == ()
    if full.status is SolveStatus.OPTIMAL:
        assert check_lanes(problem, full) == ()
        assert lost_by_weight(problem, prices) == pytest.approx(lost_by_weight(problem, full), abs=2e-5)
        # Ways that shed as much in all may differ in watts: of them the textbook's is the cheapest.
        assert prices.cost_w >= full.bound_w * (1 - 2e-5)
        if prices.shed == pytest.approx(full.shed, abs=2e-5):
            assert prices.cost_w == pytest.approx(full.cost_w, rel=1e-4)
            assert prices.bound_w <= full.cost_w * (1 + 1e-4)


@solver
@given(seed=seeds)
def test_it_sheds_and_costs_what_the_textbook_model_says(seed: int) -> None:
    sheds_as_textbook(short(seed))


@solver
@given(seed=seeds, fewest=st.integers(1, 3), lost=st.integers(0, 1), start_w=st.sampled_from([0.0, 200.0]))
def test_what_is_served_keeps_its_rules(seed: int, fewest: int, lost: int, start_w: float) -> None:
    problem = short(seed, lanes=2)
    ruled = tuple(
        replace(n, fewest=fewest, lost=lost, start_w=start_w, running=((int(n.kind[0]), 1),))
        for n in problem.lanes
    )
    sheds_as_textbook(replace(problem, lanes=ruled))


@solver
@given(seed=seeds, gpus=st.integers(0, 8))
def test_quotas_make_lanes_shed(seed: int, gpus: int) -> None:
    problem = short(seed, lanes=2)
    kinds = tuple(replace(kind, quota="team") for kind in problem.kinds)
    sheds_as_textbook(replace(problem, kinds=kinds, quotas=(GpuQuota("team", gpus),)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, lanes=st.integers(1, 12))
def test_greed_always_has_a_plan_that_sheds_no_less(seed: int, lanes: int) -> None:
    problem = short(seed, lanes)
    greedy = solve_lanes(problem, engine="fallback")
    assert check_lanes(problem, greedy) == ()
    assert greedy.status is SolveStatus.FALLBACK
    best = solve_lanes(problem)
    for one, other in zip(lost_by_weight(problem, best), lost_by_weight(problem, greedy), strict=True):
        assert one <= other + 2e-5
        if one < other - 2e-5:
            break
    else:
        assert best.cost_w <= greedy.cost_w * (1 + 1e-5)


KINDS = (Kind("H100", 1), Kind("H100", 2))


def one_item(key: str, capacity: float, weight: float) -> Lane:
    """An instance of one GPU at one clock."""
    row = (np.array([0]), np.array([1200]), np.array([capacity]), np.array([50.0]), np.array([300.0]))
    return Lane(key, *row, weight=weight)


def test_a_higher_weight_is_served_whatever_lower_ones_lose() -> None:
    lanes = (one_item("a", 0.5, 1.0), one_item("b", 1.0, 1.0), one_item("c", 0.25, 2.0))
    problem = LaneProblem(KINDS, lanes, (supply_of("H100", [4]),))
    plan = solve_lanes(problem)
    assert plan.shed == (1.0, 1.0, 0.0)
    assert plan.why.startswith("not enough GPUs, missing 3 of H100; ")
    assert plan.shortage == (Shortage("H100", 3),)
    more = solve_lanes(replace(problem, supplies=(supply_of("H100", [6]),)))
    assert more.shed == pytest.approx((0.5, 0.0, 0.0), abs=1e-8)


@solver
@given(seed=seeds, lanes=st.integers(1, 4))
def test_with_what_is_missing_on_nodes_of_its_own_nothing_is_shed(seed: int, lanes: int) -> None:
    problem = short(seed, lanes)
    for engine in ("columns", "fallback"):
        plan = solve_lanes(problem, engine=engine)
        assert bool(plan.shortage) == any(plan.shed)
        missing = {each.accelerator: each.gpus_missing for each in plan.shortage}
        more = tuple(
            Supply(s.accelerator, tuple((g, n + missing.get(s.accelerator, 0) // g) for g, n in s.slots))
            for s in problem.supplies
        )
        assert not any(solve_lanes(replace(problem, supplies=more)).shed)


def test_of_lanes_that_shed_alike_the_dearer_one_sheds() -> None:
    cheap, dear = one_item("z", 1.0, 1.0), one_item("a", 1.0, 1.0)
    dear = replace(dear, full_w=dear.full_w * 2)
    plan = solve_lanes(LaneProblem(KINDS, (cheap, dear), (supply_of("H100", [1]),)))
    assert (plan.shed, plan.cost_w) == ((0.0, 1.0), 300.0)


def test_a_solver_that_breaks_leaves_the_greedy_plan_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no licence for arithmetic")

    monkeypatch.setattr(columns, "find_prices", broken)
    problem = short(3)
    plan = solve_lanes(problem)
    assert check_lanes(problem, plan) == ()
    assert plan.status is SolveStatus.FALLBACK
    assert "no licence for arithmetic" in plan.why


def test_the_checker_sees_lies_about_what_is_shed() -> None:
    problem = LaneProblem(KINDS, (one_item("a", 0.5, 1.0),), (supply_of("H100", [1]),))
    plan = solve_lanes(problem)
    assert plan.shed == pytest.approx((0.5,))
    assert any("0.0 shed" in f for f in check_lanes(problem, replace(plan, shed=(0.0,))))
    assert any("sheds -1.0" in f for f in check_lanes(problem, replace(plan, shed=(-1.0,))))
    assert check_lanes(problem, replace(plan, shed=())) == ("shed given for 0 of 1 lanes and pools",)
    ruled = replace(problem, lanes=(replace(problem.lanes[0], fewest=2),))
    assert any("instances, fewest 2" in f for f in check_lanes(ruled, plan))
    empty = replace(plan, groups=((Group(0, 1, 0.0),),), shed=(1.0,), cost_w=50.0, bound_w=0.0)
    assert check_lanes(ruled, empty) == ()


def test_a_weight_that_is_no_number_is_named() -> None:
    problem = LaneProblem(KINDS, (one_item("a", 0.5, math.nan),), (supply_of("H100", [1]),))
    assert "lane a: weight nan" in solve_lanes(problem).why

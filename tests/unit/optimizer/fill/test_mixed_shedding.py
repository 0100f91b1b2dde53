"""Lanes and pools that share too few GPUs: shed by falling weight over both, told and checked; and what greed makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.optimizer.fill import columns
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import GpuQuota, Kind, PoolBlock, Supply, supply_of
from joulery.optimizer.solution import Shortage, SolveStatus
from mixed_lanes import lost_by_weight, running, short

solver = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
seeds = st.integers(0, 10_000)


def sheds_as_textbook(problem: LaneProblem) -> None:
    prices = solve_lanes(problem)
    full = solve_lanes(problem, engine="textbook", time_limit_s=20.0)
    assert check_lanes(problem, prices) == ()
    assert prices.bound_w <= prices.cost_w
    if full.status is SolveStatus.OPTIMAL:
        assert check_lanes(problem, full) == ()
        assert lost_by_weight(problem, prices) == pytest.approx(lost_by_weight(problem, full), abs=2e-5)
        # Ways that shed as much in all may differ in watts: of them the textbook's is the cheapest.
        assert prices.cost_w >= full.bound_w * (1 - 2e-5)
        if prices.shed == pytest.approx(full.shed, abs=2e-5):
            assert prices.cost_w == pytest.approx(full.cost_w, rel=1e-4)
            assert prices.bound_w <= full.cost_w * (1 + 1e-4)


@solver
@given(seed=seeds, blocks=st.integers(2, 5))
def test_it_sheds_and_costs_what_the_textbook_model_says(seed: int, blocks: int) -> None:
    sheds_as_textbook(short(seed, blocks))


@solver
@given(seed=seeds, gpus=st.integers(0, 12))
def test_quotas_make_both_shed(seed: int, gpus: int) -> None:
    problem = short(seed)
    kinds = tuple(replace(kind, quota="team") for kind in problem.kinds)
    sheds_as_textbook(replace(problem, kinds=kinds, quotas=(GpuQuota("team", gpus),)))


@solver
@given(seed=seeds, most=st.integers(0, 6))
def test_what_the_load_needs_is_started_whatever_the_limit(seed: int, most: int) -> None:
    problem = running(short(seed), seed, most)
    plan = solve_lanes(problem)
    assert check_lanes(problem, plan) == ()
    free = solve_lanes(replace(problem, max_starts=None), engine="textbook", time_limit_s=20.0)
    if free.status is SolveStatus.OPTIMAL:
        assert lost_by_weight(problem, plan) == pytest.approx(lost_by_weight(problem, free), abs=2e-5)
    if plan.starts_over_limit:
        assert f"more than the limit of {most}" in plan.why
        fewer = replace(problem, max_starts=most + plan.starts_over_limit - 1)
        kept = solve_lanes(fewer, engine="textbook", time_limit_s=20.0)
        assert kept.status is not SolveStatus.OPTIMAL or sum(kept.shed) > sum(plan.shed) + 1e-6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, blocks=st.integers(1, 12))
def test_greed_always_has_a_plan_that_sheds_no_less(seed: int, blocks: int) -> None:
    problem = short(seed, blocks)
    greedy, best = solve_lanes(problem, engine="fallback"), solve_lanes(problem)
    assert check_lanes(problem, greedy) == check_lanes(problem, best) == ()
    assert greedy.status is SolveStatus.FALLBACK
    for one, other in zip(lost_by_weight(problem, best), lost_by_weight(problem, greedy), strict=True):
        assert one <= other + 2e-5
        if one < other - 2e-5:
            break
    else:
        # Of ways that shed alike in all, each has its own: only where all shed alike are their watts comparable.
        alike = best.shed == pytest.approx(greedy.shed, abs=1e-6)
        assert not alike or best.cost_w <= greedy.cost_w * (1 + 1e-5)


@solver
@given(seed=seeds, blocks=st.integers(2, 6))
def test_with_what_is_missing_on_nodes_of_its_own_nobody_sheds(seed: int, blocks: int) -> None:
    problem = short(seed, blocks)
    for engine in ("columns", "fallback"):
        plan = solve_lanes(problem, engine=engine)
        assert bool(plan.shortage) == (sum(plan.shed) > 1e-9)
        missing = {each.accelerator: each.gpus_missing for each in plan.shortage}
        more = tuple(
            Supply(s.accelerator, tuple((g, n + missing.get(s.accelerator, 0) // g) for g, n in s.slots))
            for s in problem.supplies
        )
        assert sum(solve_lanes(replace(problem, supplies=more)).shed) <= 1e-9


KINDS = (Kind("H100", 1), Kind("H100", 2))


def lane(key: str, capacity: float, weight: float) -> Lane:
    """An instance of one GPU at one clock."""
    row = (np.array([0]), np.array([1200]), np.array([capacity]), np.array([50.0]), np.array([300.0]))
    return Lane(key, *row, weight=weight)


def pool(key: str, count: int, weight: float) -> PoolBlock:
    """Up to `count` instances of one GPU serve their share."""
    counts = np.arange(count + 1)
    share = counts / count
    return PoolBlock(
        key, weight, np.zeros(count + 1, dtype=np.int64), counts, np.full(count + 1, 1200),
        counts * 300.0, share, np.zeros(count + 1),
    )  # fmt: skip


def of(gpus: int, *both: Lane | PoolBlock) -> LaneProblem:
    return LaneProblem(
        KINDS,
        tuple(one for one in both if isinstance(one, Lane)),
        (supply_of("H100", [gpus]),),
        pools=tuple(one for one in both if isinstance(one, PoolBlock)),
    )


@pytest.mark.parametrize("engine", ["columns", "fallback", "textbook"])
@pytest.mark.parametrize(
    ("weights", "gpus", "shed"),
    [
        ((2.0, 1.0), 5, (0.0, 0.75)),
        ((1.0, 2.0), 5, (0.75, 0.0)),
        ((2.0, 1.0), 4, (0.0, 1.0)),
        ((1.0, 2.0), 3, (1.0, 0.25)),
        ((1.0, 2.0), 0, (1.0, 1.0)),
        ((1.0, 2.0), 8, (0.0, 0.0)),
    ],
)
def test_whatever_splits_in_whichever_way_a_higher_weight_is_served_first(
    engine: str, weights: tuple[float, float], gpus: int, shed: tuple[float, float]
) -> None:
    problem = of(gpus, lane("fills", 0.25, weights[0]), pool("splits", 4, weights[1]))
    plan = solve_lanes(problem, engine=engine)
    assert plan.shed == pytest.approx(shed, abs=2e-6)
    assert check_lanes(problem, plan) == ()


def test_it_says_how_many_gpus_both_miss_together() -> None:
    problem = of(5, lane("fills", 0.25, 1.0), pool("splits", 4, 2.0))
    plan = solve_lanes(problem)
    assert plan.shortage == (Shortage("H100", 3),)
    assert plan.why.startswith("not enough GPUs, missing 3 of H100; ")


def test_a_pool_whose_options_never_serve_all_is_no_reason_to_call_gpus_short() -> None:
    half = pool("splits", 4, 1.0)
    half = replace(half, served=half.served * 0.5)
    plan = solve_lanes(of(8, lane("fills", 0.25, 1.0), half))
    assert (plan.shed, plan.shortage) == ((0.0, 0.5), ())
    assert plan.status is SolveStatus.OPTIMAL


def test_a_lane_that_is_shed_wholly_leaves_the_pools_their_cheapest_plan() -> None:
    problem = of(2, lane("fills", 0.25, 1.0), pool("splits", 2, 2.0))
    plan = solve_lanes(problem)
    assert (plan.shed, plan.cost_w, plan.bound_w, plan.options) == ((1.0, 0.0), 600.0, 600.0, (2,))


def test_of_one_weight_greed_lets_go_first_whom_it_helps_most() -> None:
    lanes_first = solve_lanes(of(4, lane("fills", 0.25, 1.0), pool("splits", 2, 1.0)), engine="fallback")
    pools_first = solve_lanes(of(4, lane("fills", 0.125, 1.0), pool("splits", 2, 1.0)), engine="fallback")
    assert lanes_first.shed == pytest.approx((0.5, 0.0), abs=1e-6)
    assert pools_first.shed == pytest.approx((0.75, 0.0), abs=1e-6)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=seeds)
def test_a_solver_that_breaks_leaves_the_greedy_plan_and_says_why(seed: int) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no licence for arithmetic")

    problem = short(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "find_prices", broken)
        plan = solve_lanes(problem)
    assert check_lanes(problem, plan) == ()
    assert plan.engine == "fallback"
    assert "no licence for arithmetic" in plan.why

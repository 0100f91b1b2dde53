"""Lanes that fill and pools that split equally in one problem: one choice over both, against exact oracles."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.bench.forms import concave, equal
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.fill.solve import ENGINES, solve_lanes
from joulery.optimizer.problem import GpuQuota, Kind, PoolBlock, supply_of
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import solve
from mixed_lanes import doubled, mixed, other_order, running, short, told
from other_process import printed

solver = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
seeds = st.integers(0, 10_000)


def costs_as_textbook(problem: LaneProblem) -> None:
    prices = solve_lanes(problem)
    full = solve_lanes(problem, engine="textbook", time_limit_s=20.0)
    assert prices.is_plan
    assert check_lanes(problem, prices) == ()
    if full.status is SolveStatus.OPTIMAL and not any(full.shed):
        assert check_lanes(problem, full) == ()
        assert prices.starts_over_limit == 0
        assert prices.status is SolveStatus.OPTIMAL
        assert full.bound_w * (1 - 1e-6) <= prices.cost_w <= full.cost_w * (1 + 1e-5)
        assert prices.bound_w <= full.cost_w * (1 + 1e-9)


@solver
@given(seed=seeds, blocks=st.integers(2, 6))
def test_a_mixed_problem_costs_what_the_textbook_model_says(seed: int, blocks: int) -> None:
    costs_as_textbook(mixed(seed, blocks))


@solver
@given(seed=seeds, gpus=st.integers(4, 60), other=st.integers(4, 60))
def test_quotas_hold_over_both(seed: int, gpus: int, other: int) -> None:
    problem = mixed(seed, room=2.0)
    kinds = tuple(replace(k, quota=("team", "other")[i % 2]) for i, k in enumerate(problem.kinds))
    costs_as_textbook(
        replace(problem, kinds=kinds, quotas=(GpuQuota("team", gpus), GpuQuota("other", other)))
    )


@solver
@given(seed=seeds, most=st.integers(0, 20))
def test_the_limit_of_starts_holds_over_both(seed: int, most: int) -> None:
    costs_as_textbook(running(mixed(seed, room=2.0), seed, most))


@solver
@given(seed=seeds, fewest=st.integers(1, 3), lost=st.integers(0, 1), start_w=st.sampled_from([0.0, 200.0]))
def test_lanes_keep_their_rules_beside_pools(seed: int, fewest: int, lost: int, start_w: float) -> None:
    problem = mixed(seed, room=2.0)
    ruled = tuple(
        replace(n, fewest=fewest, lost=lost, start_w=start_w, running=((int(n.kind[0]), 1),))
        for n in problem.lanes
    )
    costs_as_textbook(replace(problem, lanes=ruled))


KINDS = (Kind("H100", 1), Kind("H100", 2))


def lane(key: str, capacities: list[float], weight: float = 1.0) -> Lane:
    """Clocks of one GPU, 50 W idle; faster ones draw more for each share."""
    number = len(capacities)
    return Lane(
        key,
        kind=np.zeros(number, dtype=np.int64),
        clock_mhz=np.arange(1, number + 1) * 600,
        capacity=np.array(capacities),
        idle_w=np.full(number, 50.0),
        full_w=50.0 + 300.0 * np.array(capacities) ** 2 + 100.0 * np.array(capacities),
        weight=weight,
    )


def pool(
    key: str, counts: list[int], watts: list[float], served: list[float], weight: float = 1.0
) -> PoolBlock:
    """Options of one GPU each instance."""
    number = len(counts)
    return PoolBlock(
        key, weight, np.zeros(number, dtype=np.int64), np.array(counts), np.full(number, 1200),
        np.array(watts), np.array(served), np.zeros(number),
    )  # fmt: skip


def cheapest_by_hand(one: Lane, other: PoolBlock, gpus: int) -> float:
    """Every number of instances of every clock, filled by their slopes, beside every full option."""
    least = np.inf
    options = [
        (int(c), float(w)) for c, w, s in zip(other.count, other.watts, other.served, strict=True) if s == 1.0
    ]
    for counts in itertools.product(range(gpus + 1), repeat=len(one)):
        if not 1 <= sum(counts) <= gpus:
            continue
        slope = (one.full_w - one.idle_w) / one.capacity
        rest, watts = 1.0, float(np.array(counts) @ one.idle_w)
        for item in np.argsort(slope).tolist():
            carried = min(rest, counts[item] * float(one.capacity[item]))
            rest, watts = rest - carried, watts + carried * float(slope[item])
        if rest <= 1e-12:
            fitting = [w for c, w in options if c + sum(counts) <= gpus]
            least = min(least, watts + min(fitting, default=np.inf))
    return least


@pytest.mark.parametrize("gpus", [3, 4, 5, 6, 7])
def test_it_costs_what_counting_through_all_choices_finds(gpus: int) -> None:
    one = lane("fills", [0.3, 0.45, 0.6])
    other = pool("splits", [0, 1, 2, 3, 4], [0.0, 900.0, 640.0, 480.0, 470.0], [0.0, 1.0, 1.0, 1.0, 1.0])
    plan = solve_lanes(LaneProblem(KINDS, (one,), (supply_of("H100", [gpus]),), pools=(other,)))
    assert plan.cost_w == pytest.approx(cheapest_by_hand(one, other, gpus), rel=1e-9)
    assert plan.status is SolveStatus.OPTIMAL


def test_a_gpu_goes_where_it_saves_more_whichever_way_that_splits() -> None:
    one = lane("fills", [0.5, 1.0])
    for saved, options in ((300.0, (2,)), (10.0, (1,))):
        other = pool("splits", [0, 1, 2], [0.0, 500.0, 500.0 - saved], [0.0, 1.0, 1.0])
        plan = solve_lanes(LaneProblem(KINDS, (one,), (supply_of("H100", [3]),), pools=(other,)))
        assert (plan.options, sum(g.instances for g in plan.groups[0])) == (options, 3 - options[0])


@solver
@given(seed=seeds, blocks=st.integers(1, 12))
@pytest.mark.parametrize("build", [equal, concave])
def test_pools_alone_cost_what_their_own_door_says(build: object, seed: int, blocks: int) -> None:
    assert callable(build)
    problem = build(drawn(Case(blocks, 2, 12), seed))
    alone = LaneProblem(problem.kinds, (), problem.supplies, pools=problem.pools)
    plan, solution = solve_lanes(alone), solve(problem)
    assert (plan.cost_w, plan.bound_w, plan.shed) == (solution.cost_w, solution.bound_w, solution.shed)
    assert (plan.options, plan.status, plan.shortage) == (
        solution.choice.option, solution.status, solution.shortage,
    )  # fmt: skip
    assert check_lanes(alone, plan) == ()


READABLE = ("milp", "milp-aggregated")


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_takes_pools_alone_and_beside_lanes(engine: str) -> None:
    problem = mixed(3)
    for part in (problem, replace(problem, lanes=()), replace(problem, pools=())):
        plan = solve_lanes(part, engine=engine)
        if part.lanes and part.pools and engine in READABLE:
            assert "knows lanes alone" in plan.why
            continue
        assert plan.is_plan, plan.why
        assert check_lanes(part, plan) == ()
        assert len(plan.options) == len(part.pools)


@solver
@given(seed=seeds)
def test_a_pool_that_needs_nothing_changes_nothing(seed: int) -> None:
    problem = replace(mixed(seed), pools=())
    idle = pool("idle", [0], [0.0], [1.0])
    alone, beside = solve_lanes(problem), solve_lanes(replace(problem, pools=(idle,)))
    assert beside.cost_w == pytest.approx(alone.cost_w, rel=1e-5)
    assert beside.options == (0,)


@pytest.mark.parametrize("blocks", [20, 60, 100, 300])
def test_dozens_and_hundreds_are_near_their_bound(blocks: int) -> None:
    for seed in (1, 2):
        problem = mixed(seed, blocks, 12, room=1.0)
        plan = solve_lanes(problem, time_limit_s=30.0)
        assert check_lanes(problem, plan) == ()
        shed_or_near = sum(plan.shed) > 0.0 or plan.status is SolveStatus.OPTIMAL
        assert shed_or_near
        assert plan.cost_w <= plan.bound_w * (1 + 1e-3)


def test_prices_of_a_plan_shorten_the_next_and_change_no_quality() -> None:
    problem = mixed(5, 60, 12, room=1.0)
    cold = solve_lanes(problem)
    warm = solve_lanes(problem, prices=cold.prices)
    assert warm.status is cold.status is SolveStatus.OPTIMAL
    assert warm.cost_w == pytest.approx(cold.cost_w, rel=3e-4)


@pytest.mark.parametrize(
    "problem", [mixed(1, 9, 12), mixed(2, 40, 12, room=1.0), short(7, 6), running(mixed(4), 4, 3)]
)
def test_neither_order_nor_repetition_changes_a_plan(problem: LaneProblem) -> None:
    first = told(problem, solve_lanes(problem))
    assert told(problem, solve_lanes(problem)) == first
    turned = other_order(problem, 5)
    assert told(turned, solve_lanes(turned)) == first


def plans(seed: int | None = None) -> list[str]:
    """Of some problems, in an order of their own where a seed is given."""
    problems = [mixed(1, 9, 12), mixed(2, 40, 12, room=1.0), short(7, 6)]
    asked = problems if seed is None else [other_order(problem, seed) for problem in problems]
    return [told(problem, solve_lanes(problem, time_limit_s=60.0)) for problem in asked]


def test_another_process_finds_the_same_plans_in_another_order() -> None:
    folder = __file__.rpartition("/")[0]
    code = f"import sys; sys.path.append({folder!r}); import test_mixed_splits as t; print(t.plans(5))"
    assert printed(code) == str(plans())


@solver
@given(seed=seeds)
def test_options_given_twice_change_nothing(seed: int) -> None:
    problem = mixed(seed, 6)
    twice = doubled(problem)
    assert told(twice, solve_lanes(twice)) == told(problem, solve_lanes(problem))

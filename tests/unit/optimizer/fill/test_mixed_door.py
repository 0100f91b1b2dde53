"""What the door for lanes and pools together refuses, and what its checker sees."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan
from joulery.optimizer.fill.solve import ENGINES, solve_lanes
from joulery.optimizer.problem import GpuQuota, PoolBlock
from joulery.optimizer.solution import SolveStatus
from mixed_lanes import mixed, running, short

PROBLEM = mixed(1)


def with_pool(**changes: object) -> LaneProblem:
    """The problem with one of its pools changed."""
    first, *others = PROBLEM.pools
    return replace(PROBLEM, pools=(replace(first, **changes), *others))


def _spoilt(name: str, value: float) -> np.ndarray:
    array: np.ndarray = getattr(PROBLEM.pools[0], name).copy()
    array[2] = value
    return array


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (with_pool(watts=_spoilt("watts", math.nan)), "pool pool-0001: watts must lie in"),
        (with_pool(served=_spoilt("served", 1.5)), "pool pool-0001: served must lie in"),
        (with_pool(count=_spoilt("count", -1)), "pool pool-0001: count must lie in"),
        (with_pool(kind=_spoilt("kind", 99)), "pool pool-0001: an option names a kind outside"),
        (with_pool(weight=math.nan), "pool pool-0001: weight nan"),
        (with_pool(count=PROBLEM.pools[0].count + 1), "pool pool-0001: no option with count 0"),
        (with_pool(switch_w=np.zeros(1)), "pool pool-0001: option arrays differ in length"),
        (with_pool(key="pool-0003"), "pool pool-0003: given more than once"),
        (with_pool(key="pool-0000"), "pool pool-0000: a lane has the same name"),
        (with_pool(starts=PROBLEM.pools[0].count + 1), "an option with count 0 starts instances"),
        (replace(PROBLEM, quotas=(GpuQuota("team", -1),)), "quota team: -1 GPUs"),
        (replace(PROBLEM, max_starts=-1), "limit of starts: -1"),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_bad_input_is_named_and_refused(engine: str, problem: LaneProblem, expected: str) -> None:
    plan = solve_lanes(problem, engine=engine)
    assert plan.status is SolveStatus.REFUSED
    assert expected in plan.why
    assert math.isnan(plan.cost_w)


def test_neither_lanes_nor_pools_are_a_plan_of_nothing() -> None:
    plan = solve_lanes(replace(PROBLEM, lanes=(), pools=()))
    assert (plan.groups, plan.options, plan.cost_w, plan.status) == ((), (), 0.0, SolveStatus.OPTIMAL)


PLAN = solve_lanes(PROBLEM)


def other_option(pool: PoolBlock, chosen: int) -> int:
    return next(o for o in range(len(pool)) if pool.watts[o] != pool.watts[chosen])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"options": PLAN.options[:1]}, "1 options chosen for 2 pools"),
        ({"options": (-1, *PLAN.options[1:])}, "option -1 is none of its"),
        ({"options": (10_000, *PLAN.options[1:])}, "option 10000 is none of its"),
        ({"shed": PLAN.shed[:-1]}, "shed given for 3 of 4 lanes and pools"),
        ({"shed": (*PLAN.shed[:-1], 0.5)}, "sheds 0.0, not 0.5"),
        ({"shed": (*PLAN.shed[:-1], math.nan)}, "sheds 0.0, not nan"),
        ({"options": (other_option(PROBLEM.pools[0], PLAN.options[0]), *PLAN.options[1:])}, "cost is"),
        ({"cost_w": PLAN.cost_w * 1.001}, "cost is"),
        ({"bound_w": PLAN.cost_w * 1.001}, "above the cost"),
    ],
)
def test_the_checker_sees_what_is_wrong_with_pools(change: dict[str, object], expected: str) -> None:
    assert check_lanes(PROBLEM, PLAN) == ()
    assert any(expected in fault for fault in check_lanes(PROBLEM, replace(PLAN, **change)))


def _gpus(problem: LaneProblem, plan: LanePlan, accelerator: str) -> int:
    of_lanes = sum(
        g.instances * problem.kinds[int(lane.kind[g.item])].gpus
        for lane, groups in zip(problem.lanes, plan.groups, strict=True)
        for g in groups
        if problem.kinds[int(lane.kind[g.item])].accelerator == accelerator
    )
    return of_lanes + sum(
        int(pool.count[o]) * problem.kinds[int(pool.kind[o])].gpus
        for pool, o in zip(problem.pools, plan.options, strict=True)
        if problem.kinds[int(pool.kind[o])].accelerator == accelerator
    )


def test_the_checker_adds_up_what_lanes_and_pools_take() -> None:
    name = next(s.accelerator for s in PROBLEM.supplies if _gpus(PROBLEM, PLAN, s.accelerator))
    used = _gpus(PROBLEM, PLAN, name)
    fewer = tuple(
        replace(s, slots=tuple((g, min(n, (used - 1) // g)) for g, n in s.slots))
        if s.accelerator == name
        else s
        for s in PROBLEM.supplies
    )
    assert any(f"{name}: " in fault for fault in check_lanes(replace(PROBLEM, supplies=fewer), PLAN))
    kinds = tuple(replace(k, quota="team" if k.accelerator == name else "") for k in PROBLEM.kinds)
    for gpus, is_kept in ((used, True), (used - 1, False)):
        within = replace(PROBLEM, kinds=kinds, quotas=(GpuQuota("team", gpus),))
        assert (check_lanes(within, PLAN) == ()) is is_kept


def test_the_checker_adds_up_what_lanes_and_pools_start() -> None:
    pools = tuple(replace(pool, starts=pool.count) for pool in PROBLEM.pools)
    problem = replace(PROBLEM, pools=pools, max_starts=1_000)
    plan = solve_lanes(problem)
    assert check_lanes(problem, plan) == ()
    (wrong,) = check_lanes(replace(problem, max_starts=0), plan)
    of_pools = sum(int(p.count[o]) for p, o in zip(pools, plan.options, strict=True))
    of_lanes = sum(group.instances for groups in plan.groups for group in groups)
    assert int(wrong.split()[0]) == of_pools + of_lanes
    told = replace(plan, starts_over_limit=int(wrong.split()[0]))
    assert check_lanes(replace(problem, max_starts=0), told) == ()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    seed=st.integers(0, 10_000), blocks=st.integers(1, 10), is_short=st.booleans(),
    most=st.none() | st.integers(0, 12), engine=st.sampled_from(["columns", "fallback"]),
)  # fmt: skip
def test_whatever_the_problem_a_checked_plan_with_a_bound_below_its_cost_comes_out(
    seed: int, blocks: int, is_short: bool, most: int | None, engine: str
) -> None:
    problem = short(seed, blocks) if is_short else mixed(seed, blocks)
    problem = problem if most is None else running(problem, seed, most)
    plan = solve_lanes(problem, engine=engine)
    assert plan.is_plan, plan.why
    assert check_lanes(problem, plan) == ()
    assert plan.bound_w <= plan.cost_w
    assert len(plan.shed) == blocks

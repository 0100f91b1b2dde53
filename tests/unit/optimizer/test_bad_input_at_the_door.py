"""Whatever comes in, a typed outcome comes out of every engine: no exception, and no zero that says nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.optimizer.checker import check
from joulery.optimizer.problem import GpuQuota, Kind, PoolBlock, Problem, Supply, supply_of
from joulery.optimizer.solution import Solution, SolveStatus
from joulery.optimizer.solve import COLUMNS, ENGINES, FALLBACK, MILP, solve
from problems import A100, H100, KINDS, Row, block, small_problem

NONE: Row = (0, 0, 0, 0.0, 0.0, 0.0)
ROOM = (supply_of(H100, [8, 8]), supply_of(A100, [8]))
GOOD = block("good", [NONE, (0, 1, 1200, 700.0, 1.0, 0.0), (1, 1, 900, 500.0, 1.0, 0.0)])
every_engine = pytest.mark.parametrize("engine", ENGINES)


def lost(problem: Problem, solution: Solution) -> dict[str, float]:
    """Shed by pool, of a plan that is checked."""
    assert solution.is_plan
    assert check(problem, solution) == ()
    return dict(zip([p.key for p in problem.pools], solution.shed, strict=True))


@every_engine
def test_no_pools_are_a_plan_that_says_so(engine: str) -> None:
    solution = solve(Problem(KINDS, (), ROOM), engine=engine)
    assert (solution.status, solution.cost_w, solution.why) == (SolveStatus.OPTIMAL, 0.0, "no pools")


@every_engine
@pytest.mark.parametrize("supplies", [ROOM, ()])
def test_a_pool_without_load_takes_nothing_and_sheds_nothing(
    engine: str, supplies: tuple[Supply, ...]
) -> None:
    idle = block("idle", [(0, 0, 0, 0.0, 1.0, 0.0), (0, 1, 1200, 200.0, 1.0, 0.0)])
    problem = Problem(KINDS, (idle, GOOD), supplies)
    solution = solve(problem, engine=engine)
    assert lost(problem, solution) == {"idle": 0.0, "good": 0.0 if supplies else 1.0}
    assert solution.choice.option[0] == 0


@every_engine
@pytest.mark.parametrize(
    "nodes", [None, [], [0, 0], [-3]], ids=["no supply", "no nodes", "none free", "negative"]
)
def test_without_gpus_everything_is_shed_and_what_is_missing_is_named(
    engine: str, nodes: list[int] | None
) -> None:
    supplies = () if nodes is None else (supply_of(H100, nodes), supply_of(A100, nodes))
    problem = Problem(KINDS, (GOOD,), supplies)
    solution = solve(problem, engine=engine)
    assert lost(problem, solution) == {"good": 1.0}
    assert [(s.accelerator, s.gpus_missing) for s in solution.shortage] == [(H100, 2)]


@every_engine
def test_a_pool_that_nothing_serves_is_told_by_its_shed_and_the_others_are_planned(engine: str) -> None:
    problem = Problem(KINDS, (block("hopeless", [NONE]), GOOD), ROOM)
    solution = solve(problem, engine=engine)
    assert lost(problem, solution) == {"hopeless": 1.0, "good": 0.0}
    assert solution.shortage == ()


@every_engine
@pytest.mark.parametrize("field", ["watts", "served", "switch_w", "weight"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_by_pool_and_field_and_cost_the_others_nothing(
    engine: str, field: str, value: float
) -> None:
    bad = block("bad", [NONE, (0, 1, 1200, 700.0, 1.0, 0.0)])
    spoilt = value if field == "weight" else np.array([0.0, value])
    problem = Problem(KINDS, (GOOD, replace(bad, **{field: spoilt})), ROOM)
    solution = solve(problem, engine=engine)
    assert solution.status is SolveStatus.REFUSED
    assert f"pool bad: {field}" in solution.why
    assert "pool good" not in solution.why
    assert math.isnan(solution.cost_w)
    rest = Problem(KINDS, (GOOD,), ROOM)
    assert lost(rest, solve(rest, engine=engine)) == {"good": 0.0}


@every_engine
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"max_starts": -1}, "limit of starts: -1"),
        ({"quotas": (GpuQuota("team", -1),)}, "quota team: -1 GPUs"),
        ({"quotas": (GpuQuota("team", 8), GpuQuota("team", 16))}, "quota team: given more than once"),
        ({"supplies": (Supply(H100, ((8, 3), (1, 8))),)}, "contradict each other"),
        ({"kinds": (Kind(H100, 3), Kind(H100, 2))}, "do not divide each other"),
    ],
)
def test_bounds_that_contradict_themselves_are_refused_by_name(
    engine: str, change: dict[str, object], expected: str
) -> None:
    solution = solve(replace(Problem(KINDS, (GOOD,), ROOM), **change), engine=engine)  # type: ignore[arg-type]
    assert solution.status is SolveStatus.REFUSED
    assert expected in solution.why


@every_engine
def test_a_limit_on_starts_against_load_gives_way_and_is_told(engine: str) -> None:
    pool = replace(GOOD, starts=np.array([0, 1, 1], dtype=np.int64))
    problem = Problem(KINDS, (pool,), ROOM, max_starts=0)
    solution = solve(problem, engine=engine)
    assert lost(problem, solution) == {"good": 0.0}
    assert solution.starts_over_limit == 1


@every_engine
def test_a_quota_against_load_holds_and_is_named(engine: str) -> None:
    kinds = tuple(replace(kind, quota="team") for kind in KINDS)
    problem = Problem(kinds, (GOOD,), ROOM, (GpuQuota("team", 1),))
    solution = solve(problem, engine=engine)
    assert lost(problem, solution) == {"good": 1.0}
    assert [(s.accelerator, s.gpus_missing) for s in solution.shortage] == [("quota team", 1)]


VALUES = [math.nan, math.inf, -1.0, 0.0, 1e300, 5e-324]


def spoilt(problem: Problem, dice: np.random.Generator) -> Problem:
    """One thing changed that a caller could get wrong."""
    place = int(dice.integers(len(problem.pools)))
    pool = problem.pools[place]
    name = str(
        dice.choice(["watts", "served", "switch_w", "count", "kind", "weight", "key", "room", "empty"])
    )
    if name == "room":
        return replace(problem, supplies=problem.supplies[: int(dice.integers(2))])
    pools = list(problem.pools)
    pools[place] = _spoilt_pool(pool, name, dice)
    return replace(problem, pools=tuple(pools))


def _spoilt_pool(pool: PoolBlock, name: str, dice: np.random.Generator) -> PoolBlock:
    if name == "weight":
        return replace(pool, weight=float(dice.choice(VALUES)))
    if name == "key":
        return replace(pool, key="pool-0")
    if name == "empty":
        fields = ("kind", "count", "clock_mhz", "watts", "served", "switch_w")
        return replace(pool, **{field: getattr(pool, field)[:0] for field in fields})
    values = getattr(pool, name).copy()
    is_float = values.dtype == np.float64
    values[int(dice.integers(len(values)))] = dice.choice(VALUES) if is_float else dice.integers(-2, 9)
    return replace(pool, **{name: values})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(seed=st.integers(0, 100_000))
def test_nothing_is_thrown_and_every_plan_is_checked_whatever_comes_in(seed: int) -> None:
    dice = np.random.default_rng(seed)
    problem = spoilt(small_problem(seed, pools=4), dice)
    for engine in (COLUMNS, MILP, FALLBACK):
        solution = solve(problem, engine=engine)
        if solution.is_plan:
            assert check(problem, solution) == ()
        else:
            assert solution.why
            assert math.isnan(solution.cost_w)

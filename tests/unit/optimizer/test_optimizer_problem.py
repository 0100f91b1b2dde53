"""Unusable problems become refusals that name the place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from joulery.optimizer.faults import faults_of
from joulery.optimizer.problem import Kind, PoolBlock, Problem, Supply, supply_of
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import solve
from problems import H100, KINDS, block

ROWS = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1200, 900.0, 1.0, 5.0)]


def problem_of(*pools: PoolBlock) -> Problem:
    return Problem(KINDS, pools, (supply_of(H100, [8]),))


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


BAD_POOLS: list[tuple[Callable[[PoolBlock], PoolBlock], str]] = [
    (
        lambda p: replace(p, watts=floats(0.0, math.nan)),
        "pool a: watts must lie in [0, 1e+12], got nan at option 1",
    ),
    (lambda p: replace(p, watts=floats(0.0, math.inf)), "got inf at option 1"),
    (lambda p: replace(p, watts=floats(0.0, -5.0)), "got -5.0 at option 1"),
    (lambda p: replace(p, switch_w=floats(math.nan, 0.0)), "pool a: switch_w"),
    (lambda p: replace(p, served=floats(0.0, 1.2)), "pool a: served must lie in [0, 1], got 1.2"),
    (lambda p: replace(p, served=floats(0.0, math.nan)), "pool a: served"),
    (lambda p: replace(p, count=np.array([0, -1])), "pool a: count"),
    (lambda p: replace(p, count=np.array([1, 1])), "pool a: no option with count 0"),
    (lambda p: replace(p, kind=np.array([0, 9])), "names a kind outside 0..4"),
    (lambda p: replace(p, weight=math.nan), "pool a: weight nan"),
    (lambda p: replace(p, weight=-1.0), "pool a: weight -1.0"),
    (lambda p: replace(p, watts=floats(0.0)), "pool a: option arrays differ in length: [2, 2, 2, 1, 2, 2]"),
    (lambda p: replace(p, watts=np.array([0, 1])), "pool a: watts, served and switch_w must be float64"),
    (lambda p: replace(p, kind=floats(0.0, 0.0)), "pool a: kind, count and clock_mhz must be int64"),
    (lambda p: replace(p, served=np.zeros((2, 1))), "pool a: options must be one-dimensional arrays"),
    (lambda p: replace(p, served=[0.0, 1.0]), "pool a: options must be one-dimensional arrays"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("spoil", "expected"), BAD_POOLS)
def test_a_bad_pool_is_refused_and_named(spoil: Callable[[PoolBlock], PoolBlock], expected: str) -> None:
    solution = solve(problem_of(spoil(block("a", ROWS)), block("b", ROWS)))
    assert solution.status is SolveStatus.REFUSED
    assert expected in solution.why
    assert "pool b" not in solution.why
    assert not solution.is_plan
    assert math.isnan(solution.cost_w)


def test_a_pool_without_any_option_is_refused() -> None:
    ints = np.zeros(0, dtype=np.int64)
    empty = PoolBlock("a", 1.0, ints, ints, ints, floats(), floats(), floats())
    assert "pool a: no option" in solve(problem_of(empty)).why


def test_the_same_pool_twice_is_refused() -> None:
    assert faults_of(problem_of(block("a", ROWS), block("a", ROWS))) == ("pool a: given more than once",)


@pytest.mark.parametrize(
    ("kinds", "supplies", "expected"),
    [
        ((Kind("x", 3), Kind("x", 2)), (), "instance sizes [2, 3] do not divide each other"),
        ((Kind("x", 0),), (), "an instance of 0 GPUs"),
        ((Kind("x", 1),), (supply_of("x", [8]), supply_of("x", [8])), "supply of x: given more than once"),
        ((Kind("x", 1),), (Supply("x", ((1, -2),)),), "hold a negative number"),
        ((Kind("x", 1),), (Supply("x", ((8, 2), (1, 8))),), "contradict each other"),
        ((Kind("x", 4),), (Supply("x", ((8, 1), (1, 8))),), "no slots for instances of 4 GPUs"),
    ],
)
def test_contradictory_kinds_and_supplies_are_refused(
    kinds: tuple[Kind, ...], supplies: tuple[Supply, ...], expected: str
) -> None:
    pool = block("a", [(0, 0, 0, 0.0, 1.0, 0.0)])
    solution = solve(Problem(kinds, (pool,), supplies))
    assert solution.status is SolveStatus.REFUSED
    assert expected in solution.why


def test_an_unknown_engine_is_refused() -> None:
    assert (
        "unknown engine 'simplex'; one of auto, milp, columns, fallback"
        in solve(problem_of(), engine="simplex").why
    )


def test_no_pools_are_an_empty_plan() -> None:
    solution = solve(problem_of())
    assert (solution.status, solution.cost_w, solution.choice.option) == (SolveStatus.OPTIMAL, 0.0, ())

"""The checker finds every kind of violation planted in a good solution."""

from __future__ import annotations

from dataclasses import replace

import pytest

from joulery.optimizer.checker import check
from joulery.optimizer.problem import Problem, supply_of
from joulery.optimizer.solution import Choice, Solution
from joulery.optimizer.solve import solve
from problems import A100, H100, KINDS, block, small_problem, solution_of


@pytest.fixture
def problem() -> Problem:
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 3, 1200, 900.0, 0.8, 5.0), (2, 1, 1200, 1500.0, 1.0, 0.0)]
    return Problem(KINDS, (block("a", rows), block("b", rows)), (supply_of(H100, [8, 4]),))


@pytest.fixture
def good(problem: Problem) -> Solution:
    return solution_of(problem, (2, 0), bound_w=1400.0)


def test_an_honest_solution_passes(problem: Problem, good: Solution) -> None:
    assert check(problem, good) == ()


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        ({"choice": Choice((2,))}, "1 options chosen for 2 pools"),
        ({"choice": Choice((2, 3))}, "pool b: option 3 is not one of its 3"),
        ({"choice": Choice((-1, 0))}, "pool a: option -1"),
        ({"cost_w": 1499.0}, "cost is 1500.0 W, not 1499.0 W"),
        ({"cost_w": float("nan")}, "cost is 1500.0 W, not nan W"),
        ({"bound_w": 1500.1}, "bound 1500.1 W above the cost"),
        ({"bound_w": float("nan")}, "bound nan W above the cost"),
        ({"shed": (0.0,)}, "shed given for 1 of 2 pools"),
        ({"shed": (0.0, 0.5)}, "pool b: sheds 1.0, not 0.5"),
        ({"shed": (0.0, float("nan"))}, "pool b: sheds 1.0, not nan"),
    ],
)
def test_a_planted_lie_is_found(problem: Problem, good: Solution, planted: dict, expected: str) -> None:
    found = check(problem, replace(good, **planted))
    assert any(expected in violation for violation in found), found


def test_more_instances_than_gpus_are_found(problem: Problem) -> None:
    found = check(problem, solution_of(problem, (2, 2)))
    assert f"{H100}: 2 groups of 8 GPUs used, 1 available" in found


def test_fragmented_gpus_are_found(problem: Problem) -> None:
    # One TP8 and three TP2 are 14 GPUs: nodes of 6 and 8 hold them, nodes of 6, 6 and 2 no TP8.
    supply = supply_of(H100, [6, 8])
    fits = solution_of(problem, (2, 1))
    assert check(Problem(problem.kinds, problem.pools, (supply,)), fits) == ()
    split = supply_of(H100, [6, 6, 2])
    assert check(Problem(problem.kinds, problem.pools, (split,)), fits) == (
        f"{H100}: 1 groups of 8 GPUs used, 0 available",
    )


def test_an_accelerator_without_supply_is_found(problem: Problem, good: Solution) -> None:
    elsewhere = Problem(problem.kinds, problem.pools, (supply_of(A100, [8, 8]),))
    assert any("0 available" in violation for violation in check(elsewhere, good))


@pytest.mark.parametrize("engine", ["milp", "fallback"])
def test_whatever_comes_out_of_the_optimizer_passes(engine: str) -> None:
    for seed in range(30):
        problem = small_problem(seed)
        assert check(problem, solve(problem, engine=engine)) == ()

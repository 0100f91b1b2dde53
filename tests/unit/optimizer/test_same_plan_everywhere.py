"""Same input, same plan, bit for bit: in another process, in another order of everything that has no order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulery.bench.forms import concave, equal
from joulery.bench.suite import Case, drawn
from joulery.optimizer.problem import PoolBlock, Problem, supply_of
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import solve
from other_process import printed

CASES = (Case(9, 2, 12), Case(9, 4, 80), Case(100, 2, 80))


def plan_of(problem: Problem) -> str:
    """Cost, bound and what each pool gets, as text without rounding."""
    solution = solve(problem, time_limit_s=60.0)
    assert solution.status is SolveStatus.OPTIMAL
    rows = [
        (p.key, p.kind[o].item(), p.count[o].item(), p.clock_mhz[o].item(), p.watts[o].item())
        for p, o in zip(problem.pools, solution.choice.option, strict=True)
    ]
    shortage = [(s.accelerator, s.gpus_missing) for s in solution.shortage]
    return repr((solution.cost_w, solution.bound_w, solution.why, shortage, sorted(rows)))


def shuffled(problem: Problem, seed: int) -> Problem:
    """Pools, supplies and each pool's options in another order."""
    dice = np.random.default_rng(seed)
    pools = [_other_order(problem.pools[p], dice) for p in dice.permutation(len(problem.pools))]
    return replace(problem, pools=tuple(pools), supplies=problem.supplies[::-1])


def _other_order(pool: PoolBlock, dice: np.random.Generator) -> PoolBlock:
    order = dice.permutation(len(pool))
    names = ("kind", "count", "clock_mhz", "watts", "served", "switch_w")
    return replace(pool, **{name: getattr(pool, name)[order] for name in names})


def problems(case: Case) -> list[Problem]:
    """GPUs that bind, nodes partly taken with redundancy, and too few GPUs."""
    fleet = drawn(case, 1)
    tight = equal(fleet)
    few = tuple(supply_of(s.accelerator, [8] * (dict(s.slots)[8] // 3)) for s in tight.supplies)
    return [tight, concave(fleet), *([replace(tight, supplies=few)] if case.pools < 100 else [])]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_another_process_finds_the_same_plan_for_pools_in_another_order(case: Case) -> None:
    here = [plan_of(problem) for problem in problems(case)]
    code = (
        "from joulery.bench.suite import Case; import test_same_plan_everywhere as t; "
        f"print([t.plan_of(t.shuffled(p, 5)) for p in t.problems({case!r})])"
    )
    assert printed(f"import sys; sys.path.append({__file__.rpartition('/')[0]!r}); {code}") == str(here)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_neither_repetition_nor_what_was_solved_before_changes_a_plan(case: Case) -> None:
    first = [plan_of(problem) for problem in problems(case)]
    assert [plan_of(problem) for problem in reversed(problems(case))] == first[::-1]

"""A limit on starts is there to save churn: what the load needs is started whatever it says.

Where a plan within the limit sheds load, the same problem is solved without it, each start at a price above what
any option costs: that plan sheds as little as can be and starts hardly more than it must.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from joulery.optimizer.fallback import SHED_TOLERANCE
from joulery.optimizer.problem import PoolBlock, Problem
from joulery.optimizer.solution import Solution

# Of a start over the dearest option of any pool, so that no pool starts an instance to save watts.
_PRICE = 4.0


def within_starts(problem: Problem, solved: Callable[[Problem], Solution]) -> Solution:
    """The solution within the limit of starts, or beyond it by what is needed to shed no more than without one.

    Args:
        solved: solves a problem whose limit of starts, where it has one, is hard.
    """
    kept = solved(problem)
    if problem.max_starts is None or not kept.is_plan or max(kept.shed, default=0.0) <= SHED_TOLERANCE:
        return kept
    price_w = _PRICE * max(float((pool.watts + pool.switch_w).max()) for pool in problem.pools)
    priced = tuple(_with_price(pool, price_w) for pool in problem.pools)
    needed = solved(replace(problem, pools=priced, max_starts=None))
    return _as_asked(problem, needed, price_w) if _sheds_less(problem, needed, kept) else kept


def _with_price(pool: PoolBlock, price_w: float) -> PoolBlock:
    return pool if pool.starts is None else replace(pool, switch_w=pool.switch_w + price_w * pool.starts)


def _sheds_less(problem: Problem, one: Solution, other: Solution) -> bool:
    if not one.is_plan:
        return False
    for weight in sorted({pool.weight for pool in problem.pools}, reverse=True):
        lost = [
            math.fsum(s for pool, s in zip(problem.pools, found.shed, strict=True) if pool.weight == weight)
            for found in (one, other)
        ]
        if abs(lost[0] - lost[1]) > SHED_TOLERANCE:
            return lost[0] < lost[1]
    return False


def _as_asked(problem: Problem, needed: Solution, price_w: float) -> Solution:
    """The plan at its true cost; its bound holds for plans with as many starts or fewer."""
    chosen = list(zip(problem.pools, needed.choice.option, strict=True))
    starts = sum(int(pool.starts[option]) for pool, option in chosen if pool.starts is not None)
    cost_w = needed.node_w + math.fsum(
        float(pool.watts[option] + pool.switch_w[option]) for pool, option in chosen
    )
    over = max(0, starts - (problem.max_starts or 0))
    why = f"{needed.why}; the load needs {over} starts more than the limit of {problem.max_starts}"
    return replace(
        needed,
        cost_w=cost_w,
        bound_w=float(np.minimum(needed.bound_w - price_w * starts, cost_w)),
        why=why if over else needed.why,
        starts_over_limit=over,
    )

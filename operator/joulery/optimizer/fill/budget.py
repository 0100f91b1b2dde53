"""A power budget over lanes that fill: with power as what is least, it is slack, or somebody has to shed for it.

Weights are shed from the lowest on; of the one at which the budget is kept, all by an equal share, found by halving.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan, all_switching_w
from joulery.optimizer.fill.shares import planned_at
from joulery.optimizer.problem import PoolBlock
from joulery.optimizer.solution import SolveStatus

# Halvings of the share, so that it is found to a hundredth.
STEPS = 7


@dataclass(frozen=True, slots=True, eq=False)
class _Budgeted:
    """A problem without its budget, and how it is planned."""

    problem: LaneProblem
    planned: Callable[[LaneProblem], LanePlan]
    budget_w: float

    def at(self, weight: float, share: float) -> LanePlan:
        """Lower weights shed wholly, this one by a share."""
        served = np.array([_share(lane.weight, weight, share) for lane in self.problem.lanes])
        pools = tuple(_clipped(pool, _share(pool.weight, weight, share)) for pool in self.problem.pools)
        return planned_at(self.problem, served, pools, self.planned)

    def keeps(self, plan: LanePlan) -> bool:
        """Whether a plan draws no more than the budget."""
        return plan.is_plan and drawn_w(self.problem, plan) <= self.budget_w


def _share(own: float, weight: float, share: float) -> float:
    return 1.0 if own > weight else share if own == weight else 0.0


def _clipped(pool: PoolBlock, share: float) -> PoolBlock:
    return replace(pool, served=np.minimum(pool.served, share))


def drawn_w(problem: LaneProblem, plan: LanePlan) -> float:
    """Watts of all instances: the cost without that of starts, stops and nodes."""
    return plan.cost_w - plan.node_w - all_switching_w(problem, plan)


def within_budget(
    problem: LaneProblem, planned: Callable[[LaneProblem], LanePlan], deadline: Deadline
) -> LanePlan:
    """The plan within the problem's power budget, where it has one.

    Args:
        planned: plans a problem without one.
    """
    if problem.power_budget_w is None:
        return planned(problem)
    free = _Budgeted(replace(problem, power_budget_w=None), planned, problem.power_budget_w)
    plan = planned(free.problem)
    if not plan.is_plan or free.keeps(plan):
        return plan
    missing_w = drawn_w(free.problem, plan) - free.budget_w
    kept = _most_kept(free, deadline)
    why = f"power budget too small by {missing_w:.0f} W; {kept.why}"
    status = SolveStatus.FALLBACK if kept.status is SolveStatus.FALLBACK else SolveStatus.FEASIBLE
    return replace(kept, why=why, status=status, power_missing_w=missing_w) if kept.is_plan else kept


def _most_kept(free: _Budgeted, deadline: Deadline) -> LanePlan:
    """The plan that serves weights from the highest on, as many as the budget allows, and of the next a share."""
    weights = {lane.weight for lane in free.problem.lanes} | {pool.weight for pool in free.problem.pools}
    kept = free.at(math.inf, 0.0)
    for weight in sorted(weights, reverse=True):
        # With the lowest of them all would be served.
        served = None if weight == min(weights) else free.at(weight, 1.0)
        if served is None or not free.keeps(served):
            return _halved(free, weight, kept, deadline)
        kept = served
    return kept


def _halved(free: _Budgeted, weight: float, kept: LanePlan, deadline: Deadline) -> LanePlan:
    """The plan of the largest share of a weight within the budget; `kept` is that of none of it."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        if not deadline.allows():
            break
        share = (low + high) / 2.0
        found = free.at(weight, share)
        low, high, kept = (share, high, found) if free.keeps(found) else (low, share, kept)
    return kept

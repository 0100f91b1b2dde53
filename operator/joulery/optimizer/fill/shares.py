"""A problem of which each lane is served by a share: its plan, told of the whole load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import Group, LanePlan, refused, shed_by, switching_w
from joulery.optimizer.problem import Floats, PoolBlock
from joulery.optimizer.solution import SolveStatus


def planned_at(
    problem: LaneProblem,
    served: Floats,
    pools: tuple[PoolBlock, ...],
    planned: Callable[[LaneProblem], LanePlan],
) -> LanePlan:
    """The plan of these shares; lanes without any are left out.

    Args:
        served: share of each lane, in the problem's order.
        pools: the problem's, of which nobody asks more service than they say.
        planned: plans what is left of the problem.
    """
    kept = np.flatnonzero(served > 0.0).tolist()
    lanes = tuple(
        replace(problem.lanes[p], capacity=problem.lanes[p].capacity / served[p]) if served[p] < 1.0
        else problem.lanes[p]
        for p in kept
    )  # fmt: skip
    part = replace(problem, lanes=lanes, pools=pools)
    nothing = LanePlan((), 0.0, 0.0, SolveStatus.OPTIMAL, "nothing can be served", "columns")
    plan = planned(part) if kept or pools else nothing
    if not plan.is_plan:
        return refused(plan.why, plan.engine)
    groups: list[tuple[Group, ...]] = [()] * len(problem.lanes)
    shed = np.ones(len(problem.lanes))
    for place, chosen, lost in zip(kept, plan.groups, plan.shed, strict=False):
        share = float(served[place])
        groups[place] = tuple(replace(group, share=group.share * share) for group in chosen)
        shed[place] = 1.0 - share * (1.0 - lost)
    left_out_w = sum(
        switching_w(problem, lane, ())
        for lane, share in zip(problem.lanes, served.tolist(), strict=True)
        if not share
    )
    return replace(
        plan,
        groups=tuple(groups),
        cost_w=plan.cost_w + left_out_w,
        bound_w=plan.bound_w + left_out_w,
        shed=(*shed.tolist(), *shed_by(problem, plan.options)),
    )

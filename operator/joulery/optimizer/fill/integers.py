"""The exact finish where choices are coarse: an integer programme over all that a better plan could use.

Options of a pool, and configurations of lanes of one or two instances, are few and far apart, so the least cost may be
percents above the bound, too far for a search through all choices. A solver that cuts needs only what `nearby` lists:
a plan within `slack` of the bound uses configurations of reduced cost up to `slack` alone.
"""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.blocks import joined
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.finish import OF_GAP, ROUNDING, Finished
from joulery.optimizer.fill.kernel_shape import MOST_SETS
from joulery.optimizer.fill.nearby import nearby_of
from joulery.optimizer.fill.table import Configured, LaneTable
from joulery.optimizer.fill.whole import Chosen
from joulery.optimizer.lp import Columns, choose
from joulery.optimizer.problem import Floats

# Configurations beyond which a proof costs more than it is worth.
MOST_EXACT = 20_000
# Of a slack within which configurations are too many; a narrower one may still find a better plan.
NARROWER, MOST_LOOKS = 0.4, 3


def by_integers(
    table: LaneTable,
    prices: Floats,
    value: Floats,
    bound: float,
    known: Finished,
    gap: float,
    deadline: Deadline,
) -> Finished:
    """The best plan of the nearest configurations and the plan at hand, and the bound that this proves.

    Args:
        value: priced cost of each block's cheapest configuration, of which `bound` is made.
        known: a plan, and the bound that is proven for it.
        gap: relative gap that is good enough.
    """
    chosen = known.chosen
    assert chosen is not None
    near, slack = listed(table, prices, value, bound, (chosen.cost - bound) * (1.0 + ROUNDING), gap, deadline)
    if near is None or not deadline.allows():
        return known
    every = joined([near, chosen.configured])
    columns = Columns(every.lane, every.cost, every.use)
    slots, left_s = table.rows.slots, deadline.left_s
    point, _ = choose(columns, table.blocks, slots, gap=gap / 2.0, time_limit_s=left_s, nodes=table.nodes)
    if point is None:
        return known
    picked = every.taken(point.columns)
    found = Chosen(picked, table.plan_cost(picked))
    # A plan with what is not listed costs as much as the slack.
    proven = min(point.bound - beneath(every, table.blocks), bound + slack)
    return Finished(found if found.cost < chosen.cost else chosen, max(known.bound, proven))


def listed(
    table: LaneTable,
    prices: Floats,
    value: Floats,
    bound: float,
    slack: float,
    gap: float,
    deadline: Deadline,
) -> tuple[Configured | None, float]:
    """All configurations that a plan within the slack of the bound could use; within a narrower one where they are
    too many, which comes with them. None where they still are, or the deadline comes first.

    Args:
        value: as of `by_integers`; of lanes at minus infinity none are listed.
    """
    tolerance = OF_GAP * gap * abs(bound) / table.blocks
    for _ in range(MOST_LOOKS):
        near = nearby_of(table, prices, value, slack, tolerance, MOST_SETS, deadline)
        if near is not None and len(near) <= MOST_EXACT:
            return near, slack
        slack *= NARROWER
    return None, slack


def beneath(every: Configured, blocks: int) -> float:
    """By how much a choice may cost less than it is listed with, as clocks of lanes are near the best only."""
    most = np.zeros(blocks)
    np.maximum.at(most, every.lane, every.cost - every.lower)
    return float(most.sum())

"""The exact finish for few lanes: all configurations that a better plan could use, and the best choice of them.

A plan's cost is the bound plus its configurations' reduced costs plus what unused supply is worth. So a plan
within `slack` of the bound uses configurations of reduced cost up to `slack` only; with all of those at hand the
best choice is known to be optimal once slack reaches its own distance to the bound, and until then every plan
with another configuration costs at least bound + slack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from joulery.optimizer.fill.blocks import joined
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.engine import UNHURRIED
from joulery.optimizer.fill.kernel_search import OUT_OF_STEPS, cheapest_choice
from joulery.optimizer.fill.nearby import nearby_of
from joulery.optimizer.fill.table import Configured, LaneTable
from joulery.optimizer.fill.whole import Chosen
from joulery.optimizer.problem import Floats

# Relative to the bound: slack of the first round, and the most that is worth looking through.
FIRST_SLACK, MOST_SLACK = 3e-3, 0.2
WIDER = 2.0
MOST_ROUNDS = 7
MOST_STEPS = 300_000
# Share of the gap asked for that a lane's clocks may be from the best ones.
OF_GAP = 0.2
# Of the limit, so that rounding does not drop a configuration of the plan at hand.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The best choice known and the bound that the search has proven."""

    chosen: Chosen | None
    bound: float


def finish(
    table: LaneTable,
    prices: Floats,
    value: Floats,
    bound: float,
    chosen: Chosen | None,
    gap: float,
    deadline: Deadline = UNHURRIED,
) -> Finished:
    """Search rounds of growing slack until the gap is reached or the budget or the time spent.

    Args:
        value: priced cost of each lane's cheapest configuration, of which `bound` is made.
        gap: relative gap that is good enough.
    """
    tolerance = OF_GAP * gap * bound / table.blocks
    first, most = FIRST_SLACK * bound, MOST_SLACK * bound
    slack, done, proven = first, 0.0, bound
    for _ in range(MOST_ROUNDS):
        if chosen is not None:
            if chosen.cost - proven <= gap * chosen.cost:
                break
            # A bound of `gap` below the cost is enough; a first look costs little and finds better plans.
            enough = (chosen.cost - bound) - 0.9 * gap * chosen.cost
            slack = min(slack, max(enough, first), (chosen.cost - bound) * (1.0 + ROUNDING))
        near = nearby_of(table, prices, value, slack, tolerance, deadline) if slack <= most else None
        if near is None and not deadline.allows():
            break
        if near is None:  # too many: a smaller step may find a better plan, which then needs less
            slack = (done + slack) / 2.0
            continue
        chosen, lowest = _best(table, prices, near, value, bound, slack, chosen)
        if lowest is None:
            break
        done = slack
        proven = max(proven, min(lowest, bound + slack))
        if chosen is not None and slack >= chosen.cost - bound:
            break
        slack = min(most, slack * WIDER)
    return Finished(chosen, proven)


def _best(
    table: LaneTable,
    prices: Floats,
    near: Configured,
    value: Floats,
    bound: float,
    slack: float,
    chosen: Chosen | None,
) -> tuple[Chosen | None, float | None]:
    """The best of the configurations at hand and those of the plan at hand.

    And the least that a choice among them can cost; None where there are too many choices.
    """
    every = near if chosen is None else joined([near, chosen.configured])
    reduced = np.maximum(0.0, every.lower + every.use @ prices - value[every.lane])
    order = np.lexsort((every.cost, reduced, every.lane))
    every, reduced = every.taken(order), reduced[order]
    # Lanes with the fewest configurations first: the tree is narrow where it is cut most.
    counts = np.bincount(every.lane, minlength=table.blocks)
    if not counts.all():
        return chosen, math.inf
    rank = np.argsort(counts, kind="stable")
    by_lane = np.argsort(np.argsort(rank, kind="stable")[every.lane], kind="stable")
    every, reduced = every.taken(by_lane), reduced[by_lane]
    start = np.concatenate([[0], np.cumsum(counts[rank])])
    places = np.full(table.blocks, -1)
    slots = table.rows.slots.astype(np.float64)
    steps, lowest = cheapest_choice(
        start, reduced, every.cost, every.lower, every.use, slots, bound, slack, MOST_STEPS, places
    )
    known = None if steps == OUT_OF_STEPS else float(lowest)
    if places[0] < 0:
        return chosen, known
    places = places[np.argsort(every.lane[places], kind="stable")]
    found = Chosen(every.taken(places), float(every.cost[places].sum()))
    return (found if chosen is None or found.cost < chosen.cost else chosen), known

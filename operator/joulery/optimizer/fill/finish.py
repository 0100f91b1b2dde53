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
from joulery.optimizer.fill.kernel_shape import FEW_SETS
from joulery.optimizer.fill.nearby import PART_UNITS, closer, nearby_of
from joulery.optimizer.fill.table import Configured, LaneTable
from joulery.optimizer.fill.whole import Chosen
from joulery.optimizer.problem import Floats, Ints

# Relative to the bound: slack of the first round, and the most that is worth looking through.
FIRST_SLACK, MOST_SLACK = 3e-3, 0.2
WIDER = 2.0
MOST_ROUNDS = 7
MOST_STEPS = 300_000
# Choices of one round whose clocks are looked for more closely.
MOST_LOOKS = 12
# Share of the gap asked for that a lane's clocks may be from the best ones.
OF_GAP = 0.2
# Of the limit, so that rounding does not drop a configuration of the plan at hand.
ROUNDING = 1e-9
NO_PLACES: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The best choice known and the bound that the search has proven."""

    chosen: Chosen | None
    bound: float


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """What a round looks through: configurations of priced cost up to `value + slack`, clocks within `tolerance`."""

    table: LaneTable
    prices: Floats
    value: Floats
    bound: float
    slack: float
    tolerance: float
    deadline: Deadline


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """Places of the cheapest choice and of the one that can cost least, and what that is; None where not known.

    No places where there is no choice.
    """

    cheapest: Ints
    lowest_at: Ints
    lowest: float | None


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
        near = (
            nearby_of(table, prices, value, slack, tolerance, FEW_SETS, deadline) if slack <= most else None
        )
        if near is None and not deadline.allows(PART_UNITS):
            break
        if near is None:  # too many: a smaller step may find a better plan, which then needs less
            slack = (done + slack) / 2.0
            continue
        round_ = Near(table, prices, value, bound, slack, tolerance, deadline)
        chosen, lowest = _best(round_, near, chosen, gap)
        if lowest is None:
            break
        done = slack
        proven = max(proven, min(lowest, bound + slack))
        if chosen is not None and slack >= chosen.cost - bound:
            break
        slack = min(most, slack * WIDER)
    return Finished(chosen, proven)


def _best(
    near: Near, found: Configured, chosen: Chosen | None, gap: float
) -> tuple[Chosen | None, float | None]:
    """The best of the configurations at hand and those of the plan at hand.

    And the least that a choice among them can cost; None where there are too many choices. Most clocks are looked
    for in passing only; those that decide what a choice can cost at least are looked for more closely.
    """
    every = found if chosen is None else joined([found, chosen.configured])
    done = NO_PLACES
    for look in range(MOST_LOOKS):
        looked = _look(near, every)
        if not len(looked.cheapest):
            return chosen, looked.lowest
        best = _chosen(every, looked.cheapest)
        chosen = best if chosen is None or best.cost < chosen.cost else chosen
        lowest = looked.lowest
        if lowest is None or look == MOST_LOOKS - 1 or not near.deadline.allows():
            break
        is_near = chosen.cost - min(lowest, near.bound + near.slack) <= OF_GAP * gap * chosen.cost
        if is_near:
            break
        deciding = np.concatenate([looked.cheapest, looked.lowest_at])
        places = np.setdiff1d(deciding[every.cost[deciding] - every.lower[deciding] > near.tolerance], done)
        if not len(places):
            break
        every = closer(near.table, near.prices, near.value + near.slack, near.tolerance, every, places)
        done = np.concatenate([done, places])
    return chosen, lowest


def _chosen(every: Configured, places: Ints) -> Chosen:
    places = places[np.argsort(every.lane[places], kind="stable")]
    return Chosen(every.taken(places), float(every.cost[places].sum()))


def _look(near: Near, every: Configured) -> _Looked:
    """The search through all choices within the slack."""
    blocks = near.table.blocks
    reduced = np.maximum(0.0, every.lower + every.use @ near.prices - near.value[every.lane])
    # Lanes with the fewest configurations first: the tree is narrow where it is cut most.
    counts = np.bincount(every.lane, minlength=blocks)
    if not counts.all():
        return _Looked(NO_PLACES, NO_PLACES, math.inf)
    rank = np.argsort(counts, kind="stable")
    order = np.lexsort((every.cost, reduced, np.argsort(rank, kind="stable")[every.lane]))
    sorted_ = every.taken(order)
    start = np.concatenate([[0], np.cumsum(counts[rank])])
    cheapest, lowest_at = np.full(blocks, -1), np.full(blocks, -1)
    steps, lowest = cheapest_choice(
        start, reduced[order], sorted_.cost, sorted_.lower, sorted_.use, near.table.rows.slots.astype(np.float64),
        near.bound, near.slack, MOST_STEPS, cheapest, lowest_at,
    )  # fmt: skip
    known = None if steps == OUT_OF_STEPS else float(lowest)
    if cheapest[0] < 0:
        return _Looked(NO_PLACES, NO_PLACES, known)
    return _Looked(order[cheapest], order[lowest_at], known)

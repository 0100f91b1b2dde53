"""Where a plan leaves a gap to what is proven: closer looks, one after the other, until it is closed.

Large lanes are counted first, as choices among whole configurations of theirs miss the supply by far. Then an integer
programme looks through all that a better plan could use; and where lanes are few, all of them are counted, which finds
plans that are far from what prices tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.fill.blocks import joined
from joulery.optimizer.fill.convexified import convexified
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.engine import PriceResult
from joulery.optimizer.fill.finish import Finished
from joulery.optimizer.fill.integers import beneath, by_integers, listed
from joulery.optimizer.fill.table import Configured, LaneTable, counts_of
from joulery.optimizer.fill.whole import Chosen, nearest
from joulery.optimizer.problem import Floats

# Looks that take a second are for gaps wider than this, unless prices alone are known to be coarse.
WIDE_GAP = 1e-3
# A lane of more instances than this is large; so many of the largest are counted.
LARGE, MOST_LARGE = 8, 30
# Up to this many lanes all are counted, and with rules up to so many.
FEW, FEW_WITH_RULES = 30, 50
# Up to this many lanes and pools, the configurations that a better plan could use are few enough.
MOST_LISTED = 200
# Configurations per packing row that lanes which are not counted choose from.
OTHERS_PER_ROW = 150
# Seconds for one count, which is better in a tenth of them or not at all, and its share of what is left: HiGHS may end
# late. Where lanes have rules it may find the only good plan, and gets all of its share.
COUNT_S, COUNT_SHARE = 2.0, 0.4
# In units of the deadline: what a look needs where it may find the only good plan, and elsewhere, where one that ends
# late costs more than it is worth.
LOOK_UNITS, SPARE_UNITS = 2.0, 400.0


@dataclass(frozen=True, slots=True, eq=False)
class AtBest:
    """What is known at the best prices.

    Attributes:
        value: priced cost of each lane's and pool's cheapest configuration.
        near: configurations near them, the cheapest of each lane and pool first, in order.
        gap: relative, that is good enough.
    """

    table: LaneTable
    result: PriceResult
    value: Floats
    near: Configured
    gap: float


def closed(best: AtBest, found: Finished, deadline: Deadline) -> Finished:
    """The best plan after all looks that the gap is worth, and what is proven then."""
    table, large = best.table, _large(best)
    is_coarse, has_large = table.pools is not None or table.has_nodes, bool(large.any())
    # Of a large lane there are too many configurations to list.
    is_listed = table.blocks <= MOST_LISTED and (is_coarse or not has_large)
    is_few = table.lanes <= (FEW_WITH_RULES if table.has_rules else FEW)
    wide, units = max(best.gap, WIDE_GAP), LOOK_UNITS if is_coarse or table.has_rules else SPARE_UNITS

    def is_worth(gap: float) -> bool:
        return is_open(found, gap) and deadline.allows(units)

    if has_large and is_worth(best.gap):
        found = _counted(best, large, found, deadline)
    if is_listed and is_worth(best.gap if is_coarse else wide):
        found = _listed(best, found, deadline)
    before = found.chosen
    if is_few and is_worth(best.gap if table.has_rules else wide):
        found = _counted(best, np.ones(table.lanes, dtype=bool), found, deadline)
    if is_listed and found.chosen is not before and is_worth(wide):
        found = _listed(best, found, deadline)
    return found


def is_open(found: Finished, gap: float) -> bool:
    """Whether there is a plan, further above what is proven than this."""
    chosen = found.chosen
    return chosen is not None and chosen.cost - found.bound > gap * chosen.cost


def _large(best: AtBest) -> NDArray[np.bool_]:
    """Lanes of many instances, the largest of them where they are many; none where lanes have rules."""
    table = best.table
    instances = counts_of(table, best.near.recipe[: table.lanes]).sum(axis=1)
    is_large: NDArray[np.bool_] = instances > LARGE
    if is_large.sum() > MOST_LARGE:
        is_large &= instances > np.partition(instances, -MOST_LARGE - 1)[-MOST_LARGE - 1]
    return is_large & (not table.has_rules)


def _counted(best: AtBest, is_counted: NDArray[np.bool_], known: Finished, deadline: Deadline) -> Finished:
    """With some lanes counted; of the others all configurations that matter, or those near the best prices."""
    table = best.table
    assert known.chosen is not None
    others, least = _others(best, is_counted, known.chosen, deadline)
    share_s = COUNT_SHARE * deadline.left_s
    limit_s = share_s if table.has_rules else min(COUNT_S, share_s)
    found = convexified(table, is_counted, others, limit_s)
    proven = min(found.bound - beneath(others, table.blocks), least)
    return Finished(_cheaper(known.chosen, found.chosen), max(known.bound, proven))


def _others(
    best: AtBest, is_counted: NDArray[np.bool_], known: Chosen, deadline: Deadline
) -> tuple[Configured, float]:
    """Configurations of lanes that are not counted, and what a plan with any other costs at least."""
    table, result = best.table, best.result
    is_other = np.append(~is_counted, np.ones(table.blocks - table.lanes, dtype=bool))
    if not is_other.any():
        return best.near.taken(np.zeros(0, dtype=np.int64)), np.inf
    at_hand = nearest(table, result, best.near, OTHERS_PER_ROW * len(table.rows.slots))
    parts, least = [at_hand, known.configured], -np.inf
    if table.blocks <= MOST_LISTED:
        bound = table.lower_bound(best.value, result.prices)
        value = np.where(is_other, best.value, -np.inf)
        near, slack = listed(table, result.prices, value, bound, known.cost - bound, best.gap, deadline)
        if near is not None:
            parts, least = [near, known.configured], bound + slack
    every = joined(parts)
    return every.taken(np.flatnonzero(is_other[every.lane])), least


def _listed(best: AtBest, known: Finished, deadline: Deadline) -> Finished:
    bound = best.table.lower_bound(best.value, best.result.prices)
    return by_integers(best.table, best.result.prices, best.value, bound, known, best.gap, deadline)


def _cheaper(one: Chosen, other: Chosen | None) -> Chosen:
    """Of two choices, the first where they cost alike."""
    return other if other is not None and other.cost < one.cost else one

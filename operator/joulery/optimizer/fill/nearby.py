"""All configurations of all lanes and pools that a plan near the bound could use."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from joulery.optimizer.fill.blocks import joined, options_within
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.engine import UNHURRIED
from joulery.optimizer.fill.kernel_all_nearby import (
    NO_SPACE,
    Listed,
    list_nearby,
    look_closer,
    take_closer,
    undominated,
)
from joulery.optimizer.fill.kernel_compiled import RECIPE
from joulery.optimizer.fill.kernel_nearby import Lanes
from joulery.optimizer.fill.kernel_room import MOST_FOUND, TOO_MANY, new_room
from joulery.optimizer.fill.pricing import ROUNDING
from joulery.optimizer.fill.table import Configured, LaneTable, configured
from joulery.optimizer.problem import Floats, Ints

# Of one lane, to look at.
MOST_SHAPES = 100_000
# Space per lane in the first call, and how much more the next has; one lane never has more than MOST_FOUND.
SPACE_PER_LANE, MORE_SPACE = 128, 8
# Parts in which lanes are looked through under a deadline, which is asked before each.
PARTS = 12
# In units of the deadline: what a part takes where a lane is large, as measured.
PART_UNITS = 1.0


def nearby_of(
    table: LaneTable,
    prices: Floats,
    value: Floats,
    slack: float,
    tolerance: float,
    most_sets: int,
    deadline: Deadline = UNHURRIED,
) -> Configured | None:
    """All configurations of priced cost up to `value + slack` that no other of their lane or pool dominates.

    None where they are too many, or the deadline comes first.

    Args:
        tolerance: cost of a configuration above the least of its use that is good enough.
        most_sets: of clocks to look at per shape.
    """
    found: list[Configured] = []
    # No lane waits for another, so under a deadline a few are looked through at a time.
    step = table.lanes if deadline.stopwatch is None else -(-table.lanes // PARTS)
    for first in range(0, table.lanes, step):
        if not deadline.allows(PART_UNITS):
            return None
        part = slice(first, min(table.lanes, first + step))
        near = _of_lanes(table, prices, value + slack, tolerance, most_sets, part)
        if near is None:
            return None
        found.append(near)
    return joined([*found, *options_within(table, prices, value + slack)])


def _of_lanes(
    table: LaneTable, prices: Floats, most: Floats, tolerance: float, most_sets: int, part: slice
) -> Configured | None:
    """Of some lanes; None where they are too many."""
    price, groups_of, per_start = _numbered(table, prices)
    lanes, most = _between(table.searched_at(prices), part), most[part]
    room, space = new_room(len(price)), SPACE_PER_LANE
    while True:
        listed = _space_for(space * len(most))
        number = list_nearby(
            lanes, price, groups_of, per_start, most, tolerance, MOST_SHAPES, most_sets, room, listed
        )
        if number != NO_SPACE or space >= MOST_FOUND:
            break
        space *= MORE_SPACE
    if number in {TOO_MANY, NO_SPACE}:
        return None
    found = configured(table, listed.lane[:number] + part.start, listed.recipe[:number])
    found = replace(found, lower=found.cost - (listed.cost[:number] - listed.lower[:number]))
    return found.taken(undominated(found.lane, found.use, found.cost, found.lower))


def _between(lanes: Lanes, part: slice) -> Lanes:
    """Some of the lanes, as views."""
    items, hulls, rules = lanes.items, lanes.hulls, lanes.rules
    return Lanes(
        items._replace(start=items.start[part.start : part.stop + 1], piece_at=items.piece_at[part]),
        hulls._replace(
            at=hulls.at[part.start : part.stop + 1],
            idle=hulls.idle[part],
            idle_item=hulls.idle_item[part],
            most=hulls.most[part],
        ),
        rules._replace(
            fewest=rules.fewest[part],
            lost=rules.lost[part],
            start=rules.start[part],
            running=rules.running[part],
            awaited_at=rules.awaited_at[part],
        ),
        lanes.cost,
    )


def closer(
    table: LaneTable, prices: Floats, most: Floats, tolerance: float, every: Configured, places: Ints
) -> Configured:
    """The same configurations; for those at `places`, and their like, clocks are looked for more closely.

    Args:
        most: priced cost of each lane or pool beyond which no configuration is at hand.
    """
    price, groups_of, per_start = _numbered(table, prices)
    groups = np.rint(every.use).astype(np.int64) @ row_keys(len(table.rows.slots))
    lane, wanted, listed = every.lane[places], groups[places], _space_for(len(places))
    rent = every.use @ prices
    # Nothing dearer than what is known can be the cheapest of its use, and most of what is near the bound is dearer.
    known = (every.cost[places] + rent[places]) * (1.0 + ROUNDING)
    look_closer(
        table.searched_at(prices), price, groups_of, per_start, np.minimum(most[lane], known), tolerance, MOST_SHAPES,
        new_room(len(price)), lane, wanted, listed,
    )  # fmt: skip
    found = configured(table, lane, listed.recipe)
    cost = np.where(np.isfinite(listed.cost), found.cost, np.inf)
    recipe, least, lower = every.recipe.copy(), every.cost.copy(), every.lower.copy()
    take_closer(
        every.lane, groups, rent, Listed(lane, cost, listed.lower, found.recipe), wanted, recipe, least, lower
    )
    return replace(every, recipe=recipe, cost=least, lower=np.minimum(lower, least))


def _numbered(table: LaneTable, prices: Floats) -> tuple[Floats, Ints, int]:
    """Price, and numbers whose sums tell apart which groups are in use: per kind, and of a start."""
    price = (table.rows.per_instance @ prices).astype(np.float64)
    keys = row_keys(len(table.rows.slots))
    groups_of: Ints = (table.rows.per_instance * keys).sum(axis=1)
    return price, groups_of, int(keys[-1]) if table.has_limited_starts else 0


@cache
def row_keys(rows: int) -> Ints:
    """Numbers without relation to each other, the same ones every time, so that sums of them tell rows apart."""
    keys: Ints = np.random.default_rng(rows).integers(1, 2**62, size=rows)
    keys.flags.writeable = False
    return keys


def _space_for(number: int) -> Listed:
    return Listed(
        np.zeros(number, dtype=np.int64),
        np.zeros(number),
        np.zeros(number),
        np.zeros((number, RECIPE), dtype=np.int64),
    )

"""All configurations of all lanes and pools that a plan near the bound could use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from joulery.optimizer.fill.blocks import joined, options_within
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.engine import UNHURRIED
from joulery.optimizer.fill.kernel_all_nearby import NO_SPACE, Listed, list_nearby, undominated
from joulery.optimizer.fill.kernel_compiled import RECIPE
from joulery.optimizer.fill.kernel_nearby import Lanes
from joulery.optimizer.fill.kernel_room import MOST_FOUND, TOO_MANY, new_room
from joulery.optimizer.fill.kernel_rules import Rules
from joulery.optimizer.fill.table import Configured, LaneTable, configured
from joulery.optimizer.problem import Floats, Ints

# Of one lane, to look at.
MOST_SHAPES = 100_000
# Space per lane in the first call, and how much more the next has; one lane never has more than MOST_FOUND.
SPACE_PER_LANE, MORE_SPACE = 32, 8
# Under a deadline, so many times it is asked for the time.
MOST_LOOKS = 12


def nearby_of(
    table: LaneTable,
    prices: Floats,
    value: Floats,
    slack: float,
    tolerance: float,
    deadline: Deadline = UNHURRIED,
) -> Configured | None:
    """All configurations of priced cost up to `value + slack` that no other of their lane or pool dominates.

    None where they are too many, or the deadline comes first.

    Args:
        tolerance: cost of a configuration above the least of its use that is good enough.
    """
    found: list[Configured] = []
    # No lane waits for another, so under a deadline a few are looked through at a time.
    step = table.lanes if deadline.stopwatch is None else -(-table.lanes // MOST_LOOKS)
    for first in range(0, table.lanes, step):
        if not deadline.allows():
            return None
        near = _of_lanes(table, prices, value + slack, tolerance, first, min(table.lanes, first + step))
        if near is None:
            return None
        found.append(near)
    return joined([*found, *options_within(table, prices, value + slack)])


def _of_lanes(
    table: LaneTable, prices: Floats, most: Floats, tolerance: float, first: int, last: int
) -> Configured | None:
    """Of lanes first..last-1; None where they are too many."""
    price = (table.rows.per_instance @ prices).astype(np.float64)
    keys = row_keys(len(table.rows.slots))
    groups_of = (table.rows.per_instance * keys).sum(axis=1)
    per_start = int(keys[-1]) if table.has_limited_starts else 0
    lanes, most = _between(table.searched_at(prices), first, last), most[first:last]
    room, space = new_room(len(price)), SPACE_PER_LANE
    while True:
        listed = _space_for(space * len(most))
        number = list_nearby(lanes, price, groups_of, per_start, most, tolerance, MOST_SHAPES, room, listed)
        if number != NO_SPACE or space >= MOST_FOUND:
            break
        space *= MORE_SPACE
    if number in {TOO_MANY, NO_SPACE}:
        return None
    found = configured(table, listed.lane[:number] + first, listed.recipe[:number])
    found = replace(found, lower=found.cost - (listed.cost[:number] - listed.lower[:number]))
    return found.taken(undominated(found.lane, found.use, found.cost, found.lower))


def _between(lanes: Lanes, first: int, last: int) -> Lanes:
    """Some of the lanes, as views."""
    items, hulls, rules = lanes.items, lanes.hulls, lanes.rules
    part = slice(first, last)
    return Lanes(
        items._replace(start=items.start[first : last + 1], piece_at=items.piece_at[part]),
        hulls._replace(
            at=hulls.at[first : last + 1],
            idle=hulls.idle[part],
            idle_item=hulls.idle_item[part],
            most=hulls.most[part],
        ),
        Rules(rules.fewest[part], rules.lost[part], rules.start[part], rules.stop[part], rules.running[part]),
        lanes.cost,
    )


def row_keys(rows: int) -> Ints:
    """Numbers without relation to each other, the same ones every time, so that sums of them tell rows apart."""
    keys: Ints = np.random.default_rng(rows).integers(1, 2**62, size=rows)
    return keys


def _space_for(number: int) -> Listed:
    return Listed(
        np.zeros(number, dtype=np.int64),
        np.zeros(number),
        np.zeros(number),
        np.zeros((number, RECIPE), dtype=np.int64),
    )

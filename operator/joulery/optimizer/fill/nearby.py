"""All configurations of all lanes that a plan near the bound could use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from joulery.optimizer.fill.kernel_all_nearby import NO_SPACE, Listed, list_nearby, undominated
from joulery.optimizer.fill.kernel_compiled import RECIPE
from joulery.optimizer.fill.kernel_room import MOST_FOUND, TOO_MANY, new_room
from joulery.optimizer.fill.table import Configured, LaneTable, configured
from joulery.optimizer.problem import Floats, Ints

# Of one lane, to look at.
MOST_SHAPES = 100_000
# Space per lane in the first call, and how much more the next has; one lane never has more than MOST_FOUND.
SPACE_PER_LANE, MORE_SPACE = 32, 8


def nearby_of(
    table: LaneTable, prices: Floats, value: Floats, slack: float, tolerance: float
) -> Configured | None:
    """All configurations of priced cost up to `value + slack` that no other of their lane dominates.

    None where they are too many.

    Args:
        tolerance: cost of a configuration above the least of its use that is good enough.
    """
    price = (table.rows.per_instance @ prices).astype(np.float64)
    keys = row_keys(len(table.rows.slots))
    groups_of = (table.rows.per_instance * keys).sum(axis=1)
    per_start = int(keys[-1]) if table.has_limited_starts else 0
    lanes, most = table.searched_at(prices), value + slack
    room, space = new_room(len(price)), SPACE_PER_LANE
    while True:
        listed = _space_for(space * table.lanes)
        number = list_nearby(lanes, price, groups_of, per_start, most, tolerance, MOST_SHAPES, room, listed)
        if number != NO_SPACE or space >= MOST_FOUND:
            break
        space *= MORE_SPACE
    if number in {TOO_MANY, NO_SPACE}:
        return None
    found = configured(table, listed.lane[:number], listed.recipe[:number])
    found = replace(found, lower=found.cost - (listed.cost[:number] - listed.lower[:number]))
    return found.taken(undominated(found.lane, found.use, found.cost, found.lower))


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

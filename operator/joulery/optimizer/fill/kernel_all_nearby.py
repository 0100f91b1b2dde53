"""The configurations of all lanes that are near their cheapest, in one call, compiled. Loading this loads numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import compiled
from joulery.optimizer.fill.kernel_nearby import Lanes, Search, nearby
from joulery.optimizer.fill.kernel_room import TOO_MANY, Room
from joulery.optimizer.fill.kernel_shape import MOST_SETS
from joulery.optimizer.problem import Floats, Ints

NO_SPACE = -2


class Listed(NamedTuple):
    """Configurations by lane: priced cost, a lower bound of it, and how each comes about."""

    lane: Ints
    cost: Floats
    lower: Floats
    recipe: Ints


@compiled
def list_nearby(
    lanes: Lanes, price: Floats, groups_of: Ints, per_start: int, most: Floats, tolerance: float,
    most_shapes: int, most_sets: int, room: Room, listed: Listed,
) -> int:  # fmt: skip
    """List every lane's configurations of priced cost up to its `most`; how many, TOO_MANY or NO_SPACE."""
    number = 0
    for lane in range(len(most)):
        search = Search(lane, price, groups_of, per_start, tolerance, False, most_sets, 0)
        found = nearby(lanes, search, most[lane], most_shapes, room)
        if found == TOO_MANY:
            return TOO_MANY
        if number + found > len(listed.cost):
            return NO_SPACE
        for entry in range(found):
            if not np.isfinite(room.cost[entry]):
                return TOO_MANY
            listed.lane[number], listed.recipe[number] = lane, room.recipe[entry]
            listed.cost[number], listed.lower[number] = room.cost[entry], room.lower[entry]
            number += 1
    return number


@compiled
def look_closer(
    lanes: Lanes, price: Floats, groups_of: Ints, per_start: int, most: Floats, tolerance: float,
    most_shapes: int, room: Room, lane: Ints, groups: Ints, listed: Listed,
) -> None:  # fmt: skip
    """List the cheapest configuration of each lane that uses these groups, more clocks looked at.

    Args:
        most: priced cost of each above which nothing is wanted; where nothing else is found it is the lower
            bound, and the cost is infinite.
    """
    for place in range(len(lane)):
        one = lane[place]
        search = Search(one, price, groups_of, per_start, tolerance, False, MOST_SETS, groups[place])
        found = nearby(lanes, search, most[place], most_shapes, room)
        listed.lane[place], listed.cost[place], listed.lower[place] = one, np.inf, most[place]
        if found > 0:
            listed.cost[place], listed.recipe[place] = room.cost[0], room.recipe[0]
            listed.lower[place] = min(room.lower[0], most[place])
        if found == TOO_MANY:
            listed.lower[place] = 0.0


@compiled
def take_closer(
    lane: Ints, groups: Ints, rent: Floats, looked: Listed, wanted: Ints, recipe: Ints, cost: Floats, lower: Floats
) -> None:  # fmt: skip
    """Give all configurations of the lanes and groups that were looked at what was found of them.

    Args:
        rent: what each configuration's groups cost.
        looked: `cost` without that, infinite where nothing was found; `lower` with it.
        wanted: groups of each that was looked at.
    """
    for place in range(len(wanted)):
        for one in range(len(lane)):
            if lane[one] != looked.lane[place] or groups[one] != wanted[place]:
                continue
            lower[one] = max(lower[one], looked.lower[place] - rent[one])
            if looked.cost[place] < cost[one]:
                recipe[one], cost[one] = looked.recipe[place], looked.cost[place]


@compiled
def _is_beaten(one: int, other: int, use: Floats, cost: Floats, lower: Floats) -> bool:
    """Whether a configuration costs and uses no less than another; the first of equals stays."""
    for row in range(use.shape[1]):
        if use[other, row] > use[one, row]:
            return False
    if cost[other] > lower[one]:
        return False
    is_equal = other > one and cost[one] <= lower[other]
    for row in range(use.shape[1]):
        is_equal = is_equal and use[one, row] == use[other, row]
    return not is_equal


@compiled
def undominated(lane: Ints, use: Floats, cost: Floats, lower: Floats) -> Ints:
    """Places of configurations that no other of their lane beats; lanes in order."""
    kept = np.zeros(len(lane), dtype=np.int64)
    number, first = 0, 0
    for one in range(len(lane)):
        if lane[one] != lane[first]:
            first = one
        is_kept, other = True, first
        while is_kept and other < len(lane) and lane[other] == lane[one]:
            is_kept = other == one or not _is_beaten(one, other, use, cost, lower)
            other += 1
        if is_kept:
            kept[number] = one
            number += 1
    return kept[:number]

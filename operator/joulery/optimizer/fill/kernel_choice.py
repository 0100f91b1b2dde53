"""The cheapest choice of one configuration per lane by what is used so far, compiled. Loading this loads numba.

Every lane begins at its cheapest configuration at the prices, and the supply that is then left (or overdrawn) has
to be met by a few lanes that change. Cost of a choice = bound + reduced costs + what unused supply is worth, so
changes that sum up to more than `room` lead nowhere. Of all sets of changes that use as much in total the one of
least reduced cost is kept: those are few, since groups of GPUs are whole and room is a small part of a lane's cost.

    u   groups of GPUs that the changes use beyond the cheapest, per packing row        r   their reduced costs
    most, least   of what the lanes to come may still add to u

A set is dropped where u + least exceeds what is left, or r + prices (left - u - most) exceeds the room.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import compiled
from joulery.optimizer.fill.kernel_room import Hashed, entry_of
from joulery.optimizer.problem import Floats, Ints

TOO_MANY_SETS = -1
# Slots of the hash table per set that may be alive.
SLOTS_PER_SET = 4


class Changes(NamedTuple):
    """Configurations other than their lane's cheapest, grouped by lane.

    Attributes:
        start: first of each lane that has any, and one past the last.
        use: `[change, row]`, groups beyond those of the cheapest.
        reduced: cost beyond the cheapest's, both priced.
        key: a number whose sums tell apart what is used.
    """

    start: Ints
    use: Ints
    reduced: Floats
    key: Ints


class Sets(NamedTuple):
    """Sets of changes as a tree: the set without its last change, that change, and what all of it uses and costs."""

    before: Ints
    change: Ints
    use: Ints
    reduced: Floats
    key: Ints


@compiled
def _to_come(changes: Changes, left: Ints) -> tuple[Ints, Ints]:
    """Least and most that each lane and those after it may add, `[lane, row]`, and a last line of nothing."""
    lanes, rows = len(changes.start) - 1, len(left)
    least, most = np.zeros((lanes + 1, rows), dtype=np.int64), np.zeros((lanes + 1, rows), dtype=np.int64)
    for lane in range(lanes - 1, -1, -1):
        part = changes.use[changes.start[lane] : changes.start[lane + 1]]
        for row in range(rows):
            least[lane, row] = least[lane + 1, row] + min(0, part[:, row].min())
            most[lane, row] = most[lane + 1, row] + max(0, part[:, row].max())
    return least, most


@compiled
def _leads_on(
    use: Ints, reduced: float, left: Ints, prices: Floats, least: Ints, most: Ints, room: float
) -> bool:
    """Whether the lanes to come may turn a set into a choice within the room."""
    total = reduced
    for row in range(len(left)):
        if use[row] + least[row] > left[row]:
            return False
        total += prices[row] * max(0, left[row] - use[row] - most[row])
    return total <= room


@compiled
def _extended(
    changes: Changes, sets: Sets, lane: int, alive: Ints, number: int, made: int, left: Ints, prices: Floats,
    least: Ints, most: Ints, room: float, table: Hashed,
) -> tuple[int, int]:  # fmt: skip
    """Drop sets that lead nowhere, add a change of the lane to each; how many are alive and made by now."""
    kept = 0
    for at in range(number):
        one = alive[at]
        if _leads_on(sets.use[one], sets.reduced[one], left, prices, least[lane], most[lane], room):
            entry_of(table, sets.key[one], lane, kept)
            alive[kept] = one
            kept += 1
    number, old = kept, alive[:kept].copy()
    for one in old:
        for change in range(changes.start[lane], changes.start[lane + 1]):
            reduced = sets.reduced[one] + changes.reduced[change]
            if reduced > room:
                break
            if made == len(sets.before) or number == len(alive):
                return number, TOO_MANY_SETS
            for row in range(len(left)):
                sets.use[made, row] = sets.use[one, row] + changes.use[change, row]
            if not _leads_on(sets.use[made], reduced, left, prices, least[lane + 1], most[lane + 1], room):
                continue
            key = sets.key[one] + changes.key[change]
            entry = entry_of(table, key, lane, number)
            if entry < number and sets.reduced[alive[entry]] <= reduced:
                continue
            sets.before[made], sets.change[made] = one, change
            sets.reduced[made], sets.key[made] = reduced, key
            alive[entry] = made
            number, made = max(number, entry + 1), made + 1
    return number, made


@compiled
def least_changes(
    changes: Changes, left: Ints, prices: Floats, room: float, most_alive: int, most_made: int
) -> tuple[float, Ints]:
    """Reduced cost and value of unused supply of the best set of changes, and the changes.

    Args:
        changes: of each lane by rising reduced cost.
        left: groups that are left of each row where no lane changes; may be negative.

    Returns:
        Infinite and none where no set is within the room; NaN and none where there are too many sets.
    """
    rows, lanes = len(left), len(changes.start) - 1
    least, most = _to_come(changes, left)
    sets = Sets(
        np.full(most_made, -1),
        np.full(most_made, -1),
        np.zeros((most_made, rows), dtype=np.int64),
        np.zeros(most_made),
        np.zeros(most_made, dtype=np.int64),
    )
    slots = 1
    while slots < SLOTS_PER_SET * most_alive:
        slots *= 2
    table = Hashed(np.zeros(slots, dtype=np.int64), np.full(slots, -1), np.zeros(slots, dtype=np.int64))
    alive = np.zeros(most_alive, dtype=np.int64)
    number, made = 1, 1
    for lane in range(lanes):
        number, made = _extended(
            changes, sets, lane, alive, number, made, left, prices, least, most, room, table
        )
        if made == TOO_MANY_SETS:
            return np.nan, np.zeros(0, dtype=np.int64)
    best, chosen = np.inf, -1
    for one in alive[:number]:
        total, fits = sets.reduced[one], True
        for row in range(rows):
            fits = fits and sets.use[one, row] <= left[row]
            total += prices[row] * (left[row] - sets.use[one, row])
        if fits and total < best and total <= room:
            best, chosen = total, one
    taken = np.zeros(lanes, dtype=np.int64)
    depth = 0
    while chosen > 0:
        taken[depth] = sets.change[chosen]
        chosen = sets.before[chosen]
        depth += 1
    return best, taken[:depth]

"""Every shape of a lane whose priced cost is within some slack of its cheapest, compiled.

A shape is how many instances of each kind there are. It decides the groups of GPUs in use; its cost follows from
the clocks (see `kernel_shape`). What a joint choice can tell apart is cost and groups, so of all shapes that use
the same groups the cheapest is kept. Loading this loads numba.

    r     least priced cost of load over all full instances; the leader is the kind that has it
    e_k   what an instance of kind k costs at least beyond r times its load; none is below 0, the leader's is 0

A shape costs at least r and the e_k of all its instances, which leaves few beside the leader. How many of the
leader go with them follows from the bound of the shape, which is convex in their number.
"""

from __future__ import annotations

import math

import numpy as np

from joulery.optimizer.fill.kernel_compiled import NOTHING, Items, compiled, full_cost, leader_of
from joulery.optimizer.fill.kernel_hull import Hulls
from joulery.optimizer.fill.kernel_room import MOST_FOUND, TOO_MANY, Room, entry_of
from joulery.optimizer.fill.kernel_shape import base_of, settle
from joulery.optimizer.problem import Floats, Ints


@compiled
def _excesses(items: Items, hulls: Hulls, price: Floats, lane: int, ratio: float) -> Floats:
    """e_k by kind; infinite where the lane has no item of it."""
    excess = hulls.idle[lane] + price
    for o in range(items.start[lane], items.start[lane + 1]):
        kind = items.kind[o]
        excess[kind] = min(excess[kind], full_cost(items, price, o) - ratio * items.capacity[o])
    rounded: Floats = np.maximum(0.0, excess)
    return rounded


@compiled
def _most_of(items: Items, lane: int, kinds: int) -> Ints:
    """Instances of each kind of which all but one are full."""
    most = np.zeros(kinds, dtype=np.int64)
    for o in range(items.start[lane], items.start[lane + 1]):
        kind = items.kind[o]
        most[kind] = max(most[kind], int(1.0 / items.capacity[o]) + 1)
    return most


@compiled
def _keep(
    items: Items, hulls: Hulls, price: Floats, lane: int, groups_of: Ints, most: float, tolerance: float,
    room: Room, found: int,
) -> tuple[float, int]:  # fmt: skip
    """Keep the shape at hand if it may be the cheapest of its groups; its bound, and how many are found by now."""
    base = base_of(hulls, lane, room.counts)
    rent, groups = 0.0, 0
    for kind in range(len(price)):
        rent += room.counts[kind] * price[kind]
        groups += room.counts[kind] * groups_of[kind]
    lower = base.lower + rent
    if not lower <= most:
        return lower, found
    if found == MOST_FOUND:
        return lower, TOO_MANY
    entry = entry_of(room.by_groups, groups, lane, found)
    if entry == found:
        room.cost[entry] = room.lower[entry] = np.inf
        found += 1
    if lower < room.cost[entry]:
        cost, proven = settle(items, hulls, lane, room.counts, base, tolerance, room.draft)
        room.lower[entry] = min(room.lower[entry], proven + rent)
        if cost + rent < room.cost[entry]:
            room.cost[entry] = cost + rent
            room.recipe[entry] = room.draft.recipe
    return lower, found


@compiled
def _with_leaders(
    items: Items, hulls: Hulls, price: Floats, lane: int, leader: int, groups_of: Ints, most: float,
    tolerance: float, room: Room, found: int,
) -> tuple[int, int]:  # fmt: skip
    """Keep shapes with the counts at hand and any number of leaders; how many are found by now, and looked at."""
    room.counts[leader] = 0
    rest = 1.0
    for kind in range(len(price)):
        rest -= room.counts[kind] * hulls.most[lane, kind]
    fewest = max(0, math.ceil(rest / hulls.most[lane, leader] - NOTHING))
    room.counts[leader] = fewest
    before = np.inf
    while True:
        lower, found = _keep(items, hulls, price, lane, groups_of, most, tolerance, room, found)
        if found == TOO_MANY or (lower > most and before <= lower < np.inf):
            break
        before = lower
        room.counts[leader] += 1
    return found, room.counts[leader] - fewest + 1


@compiled
def _next(order: Ints, excess: Floats, most_of: Ints, spare: float, counts: Ints) -> bool:
    """Count on, kind by kind, to the next counts whose excess is within `spare`; false after the last."""
    for kind in order:
        counts[kind] += 1
        if counts[kind] > most_of[kind]:
            counts[kind] = 0
            continue
        total = 0.0
        for other in order:
            total += counts[other] * excess[other]
        if total <= spare:
            return True
        counts[kind] = 0
    return False


@compiled
def nearby(
    items: Items, hulls: Hulls, price: Floats, lane: int, groups_of: Ints, most: float, tolerance: float,
    most_shapes: int, room: Room,
) -> int:  # fmt: skip
    """Find the shapes of a lane with priced cost up to `most`, written into the room; how many or TOO_MANY.

    Args:
        groups_of: per kind, a number whose sums tell apart which groups of GPUs are in use.
        tolerance: cost of a shape above its bound that is good enough.
        most_shapes: to look at.
    """
    leading, ratio = leader_of(items, price, lane)
    leader = items.kind[leading]
    excess = _excesses(items, hulls, price, lane, ratio)
    order = np.flatnonzero(np.isfinite(excess))
    order = order[order != leader]
    most_of = _most_of(items, lane, len(price))
    room.counts[:] = 0
    found, looked = 0, 0
    while True:
        found, more = _with_leaders(
            items, hulls, price, lane, leader, groups_of, most, tolerance, room, found
        )
        looked += more
        if found == TOO_MANY or looked > most_shapes:
            return TOO_MANY
        if not _next(order, excess, most_of, most - ratio, room.counts):
            return found


@compiled
def least_values(
    items: Items, hulls: Hulls, price: Floats, known: Floats, tolerance: float, most_shapes: int, room: Room,
    proven: Floats,
) -> None:  # fmt: skip
    """Write a lower bound of each lane's least priced cost, exact to `tolerance` unless that takes too long.

    Args:
        known: priced cost that a configuration of each lane has.
    """
    alike = np.zeros(len(price), dtype=np.int64)
    for lane in range(len(proven)):
        most = known[lane]
        found = nearby(items, hulls, price, lane, alike, most, tolerance, most_shapes, room)
        proven[lane] = leader_of(items, price, lane)[1] if found == TOO_MANY else most
        if found > 0:
            proven[lane] = min(most, room.lower[0])

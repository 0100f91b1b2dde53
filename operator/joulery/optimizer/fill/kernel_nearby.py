"""Every shape of a lane whose priced cost is within some slack of its cheapest, compiled.

A shape is how many instances of each kind there are. It decides the groups of GPUs in use, what has to be started,
and whether the lane's rules hold; its cost follows from the clocks (see `kernel_shape`). What a joint choice can
tell apart is cost and groups, so of all shapes that use the same groups the cheapest is kept.

    r     least priced cost of load over all full instances; the leader is the kind that has it
    e_k   what an instance of kind k costs at least beyond r times its load; none is below 0, the leader's is 0

A shape costs at least r and the e_k of all its instances, which leaves few beside the leader. How many of the
leader go with them follows from the bound of the shape, which is convex in their number. Under rules, r and e_k
are taken with the rules' credit (see `kernel_rules`). Loading this loads numba.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import NOTHING, Items, compiled
from joulery.optimizer.fill.kernel_hull import Hulls
from joulery.optimizer.fill.kernel_room import MOST_FOUND, TOO_MANY, Room, entry_of
from joulery.optimizer.fill.kernel_rules import (
    Rules,
    credit_of,
    is_allowed,
    most_awaited,
    starts_of,
    switching,
)
from joulery.optimizer.fill.kernel_shape import MOST_SETS, base_of, settle_within
from joulery.optimizer.problem import Floats, Ints

# Beyond the fewest that carry the load.
MOST_LEADERS = 10_000


class Lanes(NamedTuple):
    """All lanes as a search sees them.

    Attributes:
        cost: of each item when full, without price.
    """

    items: Items
    hulls: Hulls
    rules: Rules
    cost: Floats


class Search(NamedTuple):
    """What is searched for in one lane.

    Attributes:
        price: per kind.
        groups_of: per kind, a number whose sums tell apart which groups of GPUs are in use.
        per_start: such a number for every start; 0 where starts are not limited.
        tolerance: cost of a shape above its bound that is good enough.
        is_narrowing: whether only what is cheaper than all found is wanted.
        most_sets: of clocks to look at per shape.
        only: groups in use that are wanted, as their number; 0 for any.
    """

    lane: int
    price: Floats
    groups_of: Ints
    per_start: int
    tolerance: float
    is_narrowing: bool
    most_sets: int
    only: int


class Branch(NamedTuple):
    """Shapes that keep one row of the rules: the leader, the others with most of each, and their excesses."""

    row: int
    leader: int
    order: Ints
    most_of: Ints
    excess: Floats
    least: float


@compiled
def _branch(lanes: Lanes, search: Search, row: int) -> Branch:
    """The branch of a row: r with the rules' constant as `least`, and e_k as `excess`."""
    items, hulls, rules, lane = lanes.items, lanes.hulls, lanes.rules, search.lane
    first, last = items.start[lane], items.start[lane + 1]
    price = search.price + np.where(rules.running[lane] == 0, rules.start[lane], 0.0)
    credit = credit_of(hulls, rules, lane, price, lanes.cost, items.capacity, row)
    price = price - credit.of_kind
    ratio, leader = np.inf, 0
    for o in range(first, last):
        here = (lanes.cost[o] + price[items.kind[o]]) / items.capacity[o]
        if here < ratio:
            ratio, leader = here, items.kind[o]
    excess = hulls.idle[lane] + price
    most_of = np.zeros(len(price), dtype=np.int64)
    kept = 1.0 + rules.lost[lane] * hulls.most[lane, row]
    for o in range(first, last):
        kind, size = items.kind[o], items.capacity[o]
        excess[kind] = min(excess[kind], lanes.cost[o] + price[kind] - ratio * size)
        needed = int(kept / min(hulls.most[lane, kind], hulls.most[lane, row]))
        most_of[kind] = max(most_of[kind], int(1.0 / size) + 1, needed + 1, rules.fewest[lane])
    for kind in range(len(price)):
        most_of[kind] = max(most_of[kind], most_awaited(rules, lane, kind))
    order = np.argsort(excess, kind="mergesort")
    order = order[np.isfinite(excess[order]) & (order != leader)]
    return Branch(row, leader, order, most_of, np.maximum(0.0, excess), ratio + credit.constant)


@compiled
def _keep(lanes: Lanes, search: Search, row: int, most: float, room: Room, found: int) -> tuple[float, int]:
    """Keep the shape at hand if it may be the cheapest of its groups; its bound, and how many are found by now."""
    base = base_of(lanes.hulls, search.lane, room.counts)
    rent = switching(lanes.rules, search.lane, room.counts)
    groups = search.per_start * starts_of(lanes.rules, search.lane, room.counts)
    for kind in range(len(search.price)):
        rent += room.counts[kind] * search.price[kind]
        groups += room.counts[kind] * search.groups_of[kind]
    lower = base.lower + rent
    if search.only not in (0, groups):
        return lower, found
    if not (lower <= most and is_allowed(lanes.hulls, lanes.rules, search.lane, room.counts, row)):
        return lower, found
    if found == MOST_FOUND:
        return lower, TOO_MANY
    entry = entry_of(room.by_groups, groups, search.lane, found)
    if entry == found:
        room.cost[entry] = room.lower[entry] = np.inf
        found += 1
    if lower < room.cost[entry]:
        cost, proven = settle_within(
            lanes.items, lanes.hulls, search.lane, room.counts, base, search.tolerance, room.draft, search.most_sets
        )  # fmt: skip
        room.lower[entry] = min(room.lower[entry], proven + rent)
        if cost + rent < room.cost[entry]:
            room.cost[entry] = cost + rent
            room.recipe[entry] = room.draft.recipe
    return lower, found


@compiled
def _narrowed(search: Search, most: float, room: Room, found: int) -> float:
    """Priced cost above which nothing is wanted any more."""
    narrowed: float = min(most, room.cost[0]) if search.is_narrowing and found > 0 else most
    return narrowed


@compiled
def _with_leaders(
    lanes: Lanes, search: Search, row: int, leader: int, most: float, room: Room, found: int
) -> tuple[int, int]:
    """Keep shapes with the counts at hand and any number of leaders; how many are found by now, and looked at."""
    hulls = lanes.hulls
    room.counts[leader] = 0
    rest = 1.0
    for kind in range(len(search.price)):
        rest -= room.counts[kind] * hulls.most[search.lane, kind]
    fewest = max(0, math.ceil(rest / hulls.most[search.lane, leader] - NOTHING))
    room.counts[leader] = fewest
    before = np.inf
    while True:
        limit = _narrowed(search, most, room, found)
        lower, found = _keep(lanes, search, row, limit, room, found)
        is_rising = lower > limit and before <= lower < np.inf
        if found == TOO_MANY or is_rising or room.counts[leader] == fewest + MOST_LEADERS:
            break
        before = lower
        room.counts[leader] += 1
    return found, room.counts[leader] - fewest + 1


@compiled
def _next(branch: Branch, spare: float, counts: Ints) -> bool:
    """Count on, kind by kind, to the next counts whose excess is within `spare`; false after the last."""
    for kind in branch.order:
        counts[kind] += 1
        if counts[kind] > branch.most_of[kind]:
            counts[kind] = 0
            continue
        total = 0.0
        for other in branch.order:
            total += counts[other] * branch.excess[other]
        if total <= spare:
            return True
        counts[kind] = 0
    return False


@compiled
def _of_one_kind(lanes: Lanes, search: Search, most: float, room: Room) -> int:
    """Keep shapes of one kind each, so that a narrowing search begins near the cheapest; how many are found."""
    found = 0
    for row in range(len(search.price)):
        for kind in range(len(search.price)):
            if lanes.hulls.most[search.lane, row] > 0.0 and lanes.hulls.most[search.lane, kind] > 0.0:
                room.counts[:] = 0
                found, _ = _with_leaders(lanes, search, row, kind, most, room, found)
                if found == TOO_MANY:
                    return TOO_MANY
    return found


@compiled
def nearby(lanes: Lanes, search: Search, most: float, most_shapes: int, room: Room) -> int:
    """Find a lane's shapes with priced cost up to `most`, written into the room; how many, or TOO_MANY.

    Args:
        most_shapes: to look at.
    """
    lane, found, looked = search.lane, 0, 0
    has_rules = lanes.rules.lost[lane] > 0 or lanes.rules.fewest[lane] > 1
    if search.is_narrowing and has_rules:
        found = _of_one_kind(lanes, search, most, room)
    has_row = False
    for row in range(len(search.price)):
        if lanes.hulls.most[lane, row] == 0.0 or (has_row and lanes.rules.lost[lane] == 0):
            continue
        has_row = True
        branch = _branch(lanes, search, row)
        room.counts[:] = 0
        while True:
            found, more = _with_leaders(lanes, search, row, branch.leader, most, room, found)
            looked += more
            if found == TOO_MANY or looked > most_shapes:
                return TOO_MANY
            if not _next(branch, _narrowed(search, most, room, found) - branch.least, room.counts):
                break
    return found


@compiled
def _least_bound(lanes: Lanes, search: Search) -> float:
    """What a lane costs at least, without a search."""
    least = np.inf
    for row in range(len(search.price)):
        if lanes.hulls.most[search.lane, row] > 0.0:
            least = min(least, _branch(lanes, search, row).least)
    return least


@compiled
def least_values(
    lanes: Lanes, price: Floats, known: Floats, tolerance: float, most_shapes: int, room: Room, recipes: Ints,
    value: Floats, proven: Floats,
) -> None:  # fmt: skip
    """Write each lane's cheapest configuration and its priced cost, and a lower bound of any.

    The bound is exact to `tolerance` unless that takes too long. Where none is found the value is infinite and
    the recipe none.

    Args:
        known: priced cost above which nothing is wanted; may be infinite.
    """
    alike = np.zeros(len(price), dtype=np.int64)
    for lane in range(len(proven)):
        search = Search(lane, price, alike, 0, tolerance, True, MOST_SETS, 0)
        room.cost[0] = np.inf
        found = nearby(lanes, search, known[lane], most_shapes, room)
        value[lane], recipes[lane] = room.cost[0], room.recipe[0]
        proven[lane] = room.lower[0] if found > 0 else known[lane]
        if found == TOO_MANY or proven[lane] == np.inf:
            proven[lane] = min(known[lane], _least_bound(lanes, search))

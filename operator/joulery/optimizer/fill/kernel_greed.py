"""Lanes that take their turn, each with equal instances of one item, compiled. Loading this loads numba.

Instances of a lane then run at one clock and share its load alike. Of each kind there is one number of instances that
serves the lane, known before anybody took anything; a turn only looks which of them still fit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import NOTHING, compiled
from joulery.optimizer.fill.kernel_rules import LEAST_SERVED, ROUNDING, Rules, switching
from joulery.optimizer.problem import Floats, Ints


class Flat(NamedTuple):
    """All items, grouped by lane: first of each lane and one past the last of all, and what they are, in watts."""

    start: Ints
    kind: Ints
    capacity: Floats
    idle: Floats
    full: Floats


class Alone(NamedTuple):
    """What each lane would take of each kind, `[lane, kind]`.

    Attributes:
        most: load that an instance carries at its highest clock; 0 where the lane has no item of the kind.
        fastest: item that does.
        number: instances that serve the lane.
        item: cheapest one with which so many do.
        cost: of those, getting there included.
        per_load: `[lane]`, least cost of all its load in full instances; no plan costs less.
    """

    most: Floats
    fastest: Ints
    number: Ints
    item: Ints
    cost: Floats
    per_load: Floats


class Taken(NamedTuple):
    """By lane: kind, -1 for none, instances, item of all of them, and the share of its load that they serve."""

    kind: Ints
    number: Ints
    item: Ints
    served: Floats


@compiled
def new_alone(lanes: int, kinds: int) -> Alone:
    """Of lanes without items."""
    whole, shape = np.int64, (lanes, kinds)
    return Alone(
        np.zeros(shape), np.full(shape, -1), np.zeros(shape, whole), np.full(shape, -1),
        np.full(shape, np.inf), np.full(lanes, np.inf),
    )  # fmt: skip


@compiled
def new_taken(lanes: int) -> Taken:
    """Nothing."""
    whole = np.int64
    return Taken(np.full(lanes, -1), np.zeros(lanes, whole), np.full(lanes, -1), np.zeros(lanes))


@compiled
def _at_fastest(flat: Flat, rules: Rules, lane: int, found: Alone) -> None:
    """Write what instances of each kind carry at most, and how many serve the lane."""
    for o in range(flat.start[lane], flat.start[lane + 1]):
        kind = flat.kind[o]
        found.per_load[lane] = min(found.per_load[lane], flat.full[o] / flat.capacity[o])
        if flat.capacity[o] > found.most[lane, kind]:
            found.most[lane, kind], found.fastest[lane, kind] = flat.capacity[o], o
    for kind in range(found.most.shape[1]):
        if found.most[lane, kind] > 0.0:
            needed = math.ceil(1.0 / found.most[lane, kind] - NOTHING) + rules.lost[lane]
            found.number[lane, kind] = max(needed, rules.fewest[lane], 1)


@compiled
def _at_cheapest(flat: Flat, lane: int, found: Alone) -> None:
    """Write the item of each kind at which so many instances carry the lane for least."""
    for o in range(flat.start[lane], flat.start[lane + 1]):
        kind = flat.kind[o]
        number = found.number[lane, kind]
        if number * flat.capacity[o] >= 1.0 - NOTHING:
            cost = number * flat.idle[o] + (flat.full[o] - flat.idle[o]) / flat.capacity[o]
            if cost < found.cost[lane, kind]:
                found.cost[lane, kind], found.item[lane, kind] = cost, o


@compiled
def alone(flat: Flat, rules: Rules, found: Alone) -> None:
    """Find what each lane would take of each kind if it were alone."""
    counts = np.zeros(found.most.shape[1], dtype=np.int64)
    for lane in range(len(flat.start) - 1):
        _at_fastest(flat, rules, lane, found)
        _at_cheapest(flat, lane, found)
        for kind in range(len(counts)):
            counts[kind] = found.number[lane, kind]
            found.cost[lane, kind] += switching(rules, lane, counts)
            counts[kind] = 0


@compiled
def _fitting(per_instance: Ints, left: Ints) -> int:
    """Instances that the groups left over could hold."""
    most = 1 << 40
    for row in range(len(left)):
        if per_instance[row] > 0:
            most = min(most, left[row] // per_instance[row])
    return max(0, most)


@compiled
def _served_in_part(most: float, number: int, fewest: int, lost: int) -> float:
    """The share that too few instances serve under a lane's rules."""
    share = max(0, number - lost) * most
    return share * (1.0 - ROUNDING) if number >= max(1, fewest) and share >= LEAST_SERVED else 0.0


@compiled
def take_turns(
    lanes: Alone, rules: Rules, order: Ints, price: Floats, per_instance: Ints, slots: Ints, most_starts: int,
    taken: Taken,
) -> None:  # fmt: skip
    """Each lane takes the cheapest kind that serves it and fits, else the one that serves it most.

    Args:
        order: in which lanes take their turn.
        price: of an instance, by kind, beyond its cost; it tells which kinds are liked.
        most_starts: of instances that do not run; -1 where there is no limit.
    """
    left, left_starts = slots.copy(), most_starts
    for lane in order:
        best, chosen, number, served = np.inf, -1, 0, 0.0
        for kind in range(len(price)):
            if lanes.most[lane, kind] == 0.0:
                continue
            fits = _fitting(per_instance[kind], left)
            if most_starts >= 0:
                fits = min(fits, rules.running[lane, kind] + left_starts)
            needed = lanes.number[lane, kind]
            cost, share = lanes.cost[lane, kind] + needed * price[kind], 1.0
            if fits < needed:
                cost = np.inf
                share = _served_in_part(lanes.most[lane, kind], fits, rules.fewest[lane], rules.lost[lane])
            if share > served or (share == served and cost < best):
                best, chosen, number, served = cost, kind, min(needed, fits), share
        if chosen < 0:
            continue
        taken.kind[lane], taken.number[lane], taken.served[lane] = chosen, number, served
        is_whole = number == lanes.number[lane, chosen]
        taken.item[lane] = lanes.item[lane, chosen] if is_whole else lanes.fastest[lane, chosen]
        left = left - number * per_instance[chosen]
        left_starts -= max(0, number - rules.running[lane, chosen])

"""From instances of each kind to configurations, and counts found by greed, compiled. Loading this loads numba."""

from __future__ import annotations

import math

import numpy as np

from joulery.optimizer.fill.kernel_compiled import NOTHING, compiled
from joulery.optimizer.fill.kernel_nearby import Lanes
from joulery.optimizer.fill.kernel_room import Room
from joulery.optimizer.fill.kernel_rules import switching
from joulery.optimizer.fill.kernel_shape import base_of, settle
from joulery.optimizer.problem import Ints


@compiled
def settle_counts(lanes: Lanes, counts: Ints, tolerance: float, room: Room, recipes: Ints) -> bool:
    """Write each lane's cheapest recipe for its counts; false where some do not carry the load."""
    for lane in range(len(counts)):
        base = base_of(lanes.hulls, lane, counts[lane])
        if base.lower == np.inf:
            return False
        cost, _ = settle(lanes.items, lanes.hulls, lane, counts[lane], base, tolerance, room.draft)
        if cost == np.inf:
            return False
        recipes[lane] = room.draft.recipe
    return True


@compiled
def _room_for(per_instance: Ints, left: Ints) -> int:
    """Instances that the groups left over could hold."""
    most = 1 << 40
    for row in range(len(left)):
        if per_instance[row] > 0:
            most = min(most, left[row] // per_instance[row])
    return max(0, most)


@compiled
def greedy_counts(
    lanes: Lanes, order: Ints, per_instance: Ints, slots: Ints, most_starts: int, counts: Ints
) -> None:
    """Write instances of one kind per lane: of those that fit the cheapest, else the kind that serves most.

    Args:
        order: in which lanes take their turn.
        most_starts: of instances that do not run; -1 where there is no limit.
    """
    hulls, rules = lanes.hulls, lanes.rules
    left, left_starts = slots.copy(), most_starts
    kinds = counts.shape[1]
    for lane in order:
        best_cost, best_served, chosen, number = np.inf, 0.0, -1, 0
        for kind in range(kinds):
            size = hulls.most[lane, kind]
            if size == 0.0:
                continue
            fits = _room_for(per_instance[kind], left)
            if most_starts >= 0:
                fits = min(fits, rules.running[lane, kind] + left_starts)
            needed = max(math.ceil(1.0 / size - NOTHING) + rules.lost[lane], rules.fewest[lane], 1)
            taken = min(needed, fits)
            served = min(1.0, max(0, taken - rules.lost[lane]) * size) if taken >= rules.fewest[lane] else 0.0
            counts[lane] = 0
            counts[lane, kind] = taken
            cost = np.inf
            if taken == needed:
                cost = base_of(hulls, lane, counts[lane]).lower + switching(rules, lane, counts[lane])
            if cost < best_cost or (best_cost == np.inf and served > best_served):
                best_cost, best_served, chosen, number = cost, served, kind, taken
        counts[lane] = 0
        if chosen >= 0:
            counts[lane, chosen] = number
            left = left - number * per_instance[chosen]
            left_starts -= max(0, number - rules.running[lane, chosen])

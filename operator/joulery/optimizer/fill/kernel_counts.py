"""From instances of each kind to configurations, compiled. Loading this loads numba."""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.kernel_compiled import compiled
from joulery.optimizer.fill.kernel_nearby import Lanes
from joulery.optimizer.fill.kernel_room import Room
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

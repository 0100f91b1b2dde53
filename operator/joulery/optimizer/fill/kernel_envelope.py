"""The cheapest partial instance of a kind by load: the lower envelope of its clocks. Loading this loads numba.

An item costs idle + slope x load up to its capacity. The envelope does not depend on prices (one per kind), so
it is made once per problem. Items of a kind come by rising capacity.
"""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.kernel_compiled import NOTHING, Numbers, compiled
from joulery.optimizer.problem import Floats, Ints


@compiled
def _cheapest_above(first: int, last: int, rest: float, capacity: Floats, idle: Floats, slope: Floats) -> int:
    """The item that carries a little more than `rest` for least, -1 where none does."""
    best, chosen = np.inf, -1
    for o in range(first, last):
        if capacity[o] > rest + NOTHING:
            cost = idle[o] + slope[o] * rest
            if cost < best or (cost == best and slope[o] < slope[chosen]):
                best, chosen = cost, o
    return chosen


@compiled
def _crossing(
    first: int, last: int, rest: float, current: int, capacity: Floats, idle: Floats, slope: Floats
) -> tuple[float, int]:
    """Where the current item stops being cheapest, and what follows; -1 where its capacity ends it."""
    end, following = capacity[current], -1
    for o in range(first, last):
        if slope[o] < slope[current] and capacity[o] > rest + NOTHING:
            crossing = max(rest, (idle[o] - idle[current]) / (slope[current] - slope[o]))
            if crossing < end or (crossing == end and following >= 0 and slope[o] < slope[following]):
                end, following = crossing, o
    return end, following


@compiled
def _calm_from(first: int, last: int, idle: Floats, slope: Floats) -> int:
    """From here on a larger item costs more at any load, so that the smallest one that carries it is best."""
    calm = last - 1
    while calm > first and slope[calm - 1] <= slope[calm] and idle[calm - 1] <= idle[calm]:
        calm -= 1
    return calm


@compiled
def _envelope(
    first: int,
    last: int,
    capacity: Floats,
    idle: Floats,
    slope: Floats,
    upper: Floats,
    item: Numbers,
    at: int,
) -> int:
    """Write the pieces of items first..last-1 from `at` on; returns one past the last piece."""
    calm = _calm_from(first, last, idle, slope)
    rest = 0.0
    current = _cheapest_above(first, last, rest, capacity, idle, slope)
    while current >= 0:
        # Items before the calm ones may have higher idle cost and less slope, as long as they carry the rest.
        is_calm = current >= calm and (calm == first or rest >= capacity[calm - 1])
        if is_calm:
            end, following = capacity[current], current + 1 if current + 1 < last else -1
        else:
            end, following = _crossing(first, last, rest, current, capacity, idle, slope)
        if end > rest:
            upper[at], item[at] = end, current
            at += 1
        rest = max(rest, end)
        if following < 0 and not is_calm:
            following = _cheapest_above(first, last, rest, capacity, idle, slope)
        current = following
    return at


@compiled
def envelopes(
    kind_at: Ints, capacity: Floats, idle: Floats, slope: Floats, upper: Floats, item: Numbers, piece_at: Ints
) -> None:
    """Fill `upper`, `item` and `piece_at` of all lanes; twice as many pieces as items are enough."""
    at = 0
    lanes, kinds = piece_at.shape[0], piece_at.shape[1] - 1
    for lane in range(lanes):
        for kind in range(kinds):
            piece_at[lane, kind] = at
            first, last = kind_at[lane, kind], kind_at[lane, kind + 1]
            if last > first:
                at = _envelope(first, last, capacity, idle, slope, upper, item, at)
        piece_at[lane, kinds] = at

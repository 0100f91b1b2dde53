"""The cheapest choice of one configuration per lane among a few, by depth first, compiled. Loading this loads numba.

Cost of a choice = lower bound + its reduced costs + what the supply it leaves is worth at the prices. So a
branch ends when its reduced costs reach the best choice's distance to the bound, or when the least that the
lanes to come use does not fit. Configurations of a lane come by rising reduced cost.
"""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.kernel_compiled import compiled
from joulery.optimizer.problem import Floats, Ints

OUT_OF_STEPS = -1


@compiled
def _least_use(start: Ints, use: Floats, lanes: int, rows: int) -> Floats:
    """The least that each lane and those after it use of each row, `[lane, row]`, and a last line of nothing."""
    least = np.zeros((lanes + 1, rows))
    for lane in range(lanes - 1, -1, -1):
        for row in range(rows):
            least[lane, row] = least[lane + 1, row] + use[start[lane] : start[lane + 1], row].min()
    return least


@compiled
def _take(left: Floats, lane: int, taken: Floats, least: Floats) -> bool:
    """Write what a lane leaves of each row; whether the lanes to come may find that enough."""
    fits = True
    for row in range(len(taken)):
        left[lane + 1, row] = left[lane, row] - taken[row]
        fits = fits and left[lane + 1, row] >= least[lane + 1, row]
    return fits


@compiled
def cheapest_choice(
    start: Ints,
    reduced: Floats,
    cost: Floats,
    lower: Floats,
    use: Floats,
    slots: Floats,
    bound: float,
    room: float,
    most_steps: int,
    chosen: Ints,
    lowest_at: Ints,
) -> tuple[int, float]:
    """Write the cheapest choice, leaving `chosen` where none fits.

    Args:
        start: first configuration of each lane, and one past the last.
        reduced: of `lower`, which bounds the cost of what uses as much.
        bound: cost that no choice can undercut, from which reduced costs count.
        room: reduced costs that a choice may sum up to.
        chosen: any places on entry.
        lowest_at: likewise, for the choice that can cost least.

    Returns:
        Steps or OUT_OF_STEPS, and the least that any choice within `room` can cost, at most the cheapest's cost.
    """
    lanes, rows = len(start) - 1, len(slots)
    least = _least_use(start, use, lanes, rows)
    best = np.inf
    left = np.zeros((lanes + 1, rows))
    left[0] = slots
    spent, costs, lowers = np.zeros(lanes + 1), np.zeros(lanes + 1), np.zeros(lanes + 1)
    lowest = np.inf
    at = start[:-1].copy()
    lane, steps = 0, 0
    while lane >= 0:
        if at[lane] == start[lane + 1] or spent[lane] + reduced[at[lane]] > room:
            at[lane] = start[lane]
            lane -= 1
            if lane >= 0:
                at[lane] += 1
            continue
        steps += 1
        if steps > most_steps:
            return OUT_OF_STEPS, bound
        place = at[lane]
        fits = _take(left, lane, use[place], least)
        spent[lane + 1], costs[lane + 1] = spent[lane] + reduced[place], costs[lane] + cost[place]
        lowers[lane + 1] = lowers[lane] + lower[place]
        if fits and lane + 1 < lanes:
            lane += 1
            continue
        if fits and lowers[lanes] < lowest:
            lowest = lowers[lanes]
            lowest_at[:] = at
        if fits and costs[lanes] < best:
            best = costs[lanes]
            room = min(room, best - bound)
            chosen[:] = at
        at[lane] += 1
    return steps, min(lowest, best)

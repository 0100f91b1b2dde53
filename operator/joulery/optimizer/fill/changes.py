"""The whole choice for dozens of lanes: what few of them change so that all fit the supply.

A plan's cost is the bound plus its configurations' reduced costs plus what unused supply is worth. With all
configurations of reduced cost up to `slack` at hand, a plan with any other costs at least bound + slack; so the best
choice among them proves a bound of its own, as long as it is no higher than that.
"""

from __future__ import annotations

import math

import numpy as np

from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.finish import OF_GAP, Finished
from joulery.optimizer.fill.kernel_choice import Changes, least_changes
from joulery.optimizer.fill.kernel_shape import MOST_SETS
from joulery.optimizer.fill.nearby import nearby_of, row_keys
from joulery.optimizer.fill.table import Configured, LaneTable
from joulery.optimizer.fill.whole import Chosen
from joulery.optimizer.problem import Floats, Ints

# Of a lane's mean cost. The first is enough for most fleets of the suite; beyond the last a look takes too long.
SLACKS = (0.01, 0.03, 0.06)
# Of a look, what the next may take: two to three times as long, and where that is of one lane it cannot be stopped.
WIDER_UNITS = 4.0
# Sets of changes alive and made, in a first look and in a last one.
SIZES = ((1 << 12, 1 << 15), (1 << 15, 1 << 19))


def least_changed(
    table: LaneTable, prices: Floats, value: Floats, bound: float, gap: float, deadline: Deadline
) -> tuple[Finished, tuple[Configured, ...]]:
    """The best plan whose distance to the bound is worth looking through, and the bound that it proves.

    And the configurations that were looked through last, among which another search may find more.

    Args:
        value: priced cost of each lane's cheapest configuration, of which `bound` is made.
        gap: relative gap that is good enough.
    """
    best = Finished(None, bound)
    looked_through: tuple[Configured, ...] = ()
    for share in SLACKS:
        began_s = deadline.now_s
        slack = share * abs(bound) / table.blocks
        tolerance = OF_GAP * gap * abs(bound) / table.blocks
        near = nearby_of(table, prices, value, slack, tolerance, MOST_SETS, deadline)
        if near is None:
            break
        looked_through = (near,)
        room = slack + gap * abs(bound) if best.chosen is None else best.chosen.cost - bound
        best = _better(best, best_among(table.rows.slots, prices, value, bound, near, room), bound + slack)
        if best.chosen is not None and best.chosen.cost - best.bound <= gap * best.chosen.cost:
            break
        if not deadline.measured(began_s).allows(WIDER_UNITS):
            break
    return best, looked_through


def _better(best: Finished, found: Finished, most: float) -> Finished:
    """The cheaper plan of both; a bound found holds up to what any other configuration costs at least."""
    chosen, other = best.chosen, found.chosen
    if chosen is None or (other is not None and other.cost < chosen.cost):
        chosen = other
    return Finished(chosen, max(best.bound, min(found.bound, most)))


def best_among(
    slots: Ints, prices: Floats, value: Floats, bound: float, near: Configured, room: float
) -> Finished:
    """The best choice among these within the room; the bound is of any choice among them."""
    reduced = np.maximum(0.0, near.lower + near.use @ prices - value[near.lane])
    order = np.lexsort((near.cost, reduced, near.lane))
    near, reduced = near.taken(order), reduced[order]
    start = np.searchsorted(near.lane, np.arange(len(value) + 1))
    first = start[:-1]
    if (np.diff(start) == 0).any():
        return Finished(None, bound)
    use = np.rint(near.use).astype(np.int64)
    left = slots - use[first].sum(axis=0)
    others, changes = _changes(near, use, reduced, first)
    spent = float(reduced[first].sum())
    for most_alive, most_made in SIZES:
        total, taken = least_changes(changes, left, prices, room - spent, most_alive, most_made)
        if not math.isnan(total):
            break
    if math.isnan(total):
        return Finished(None, bound)
    if math.isinf(total):
        return Finished(None, bound + room)
    places = first.copy()
    places[near.lane[others[taken]]] = others[taken]
    lower = float(near.lower[places].sum())
    return Finished(Chosen(near.taken(places), float(near.cost[places].sum())), lower)


def _changes(near: Configured, use: Ints, reduced: Floats, first: Ints) -> tuple[Ints, Changes]:
    """Places of all configurations but the first of each lane, lanes with most of them first, and what they change."""
    is_other = np.ones(len(near), dtype=bool)
    is_other[first] = False
    number = np.bincount(near.lane[is_other], minlength=len(first))
    # Sets stay few where the lanes that change most come first.
    rank = np.argsort(np.argsort(-number, kind="stable"), kind="stable")
    others = np.flatnonzero(is_other)
    others = others[np.argsort(rank[near.lane[others]], kind="stable")]
    lane = near.lane[others]
    start = np.concatenate([[0], np.cumsum(np.sort(number[number > 0])[::-1])])
    more = use[others] - use[first[lane]]
    beyond = np.maximum(0.0, reduced[others] - reduced[first[lane]])
    return others, Changes(start, more, beyond, (more * row_keys(use.shape[1])).sum(axis=1))

"""From prices to one whole configuration per lane and pool: a small integer programme round the master's own choice.

The master leaves all but a few of them (at most as many as it has packing rows) with a whole configuration.
Those stay as they are unless one of their other configurations is among the cheapest alternatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.engine import PriceResult
from joulery.optimizer.fill.table import Configured, LaneTable
from joulery.optimizer.lp import Columns, choose
from joulery.optimizer.problem import Floats, Ints

# Alternatives per packing row in the first integer programme, and how much wider the next is.
ALTERNATIVES_PER_ROW = 150
WIDER = 4
ROUNDS = 3
# Shares of a configuration in the master that are one, or none.
WHOLE, NONE = 1.0 - 1e-6, 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """One configuration per block, in order of blocks, and its cost."""

    configured: Configured
    cost: float


def choose_whole(
    table: LaneTable, result: PriceResult, extra: Configured, gap: float, deadline: Deadline
) -> Chosen | None:
    """The best whole choice round the master's; None where no round finds one.

    Args:
        extra: configurations beside those that the master has seen.
        gap: relative to the whole cost.
    """
    every, share = _distinct(result, extra)
    reduced = _reduced(table, every, result.prices)
    number = ALTERNATIVES_PER_ROW * len(table.rows.slots)
    for _ in range(ROUNDS):
        if not deadline.allows():
            break
        chosen = _round(table, every, share, reduced, number, gap, deadline.left_s)
        if chosen is not None or number >= len(every):
            return chosen
        number *= WIDER
    return None


def nearest(table: LaneTable, result: PriceResult, extra: Configured, number: int) -> Configured:
    """About so many of least reduced cost, and those that the master has a share of."""
    every, share = _distinct(result, extra)
    near = _near(table, every, share, _reduced(table, every, result.prices), number)
    return every.taken(np.flatnonzero(near))


def _near(
    table: LaneTable, every: Configured, share: Floats, reduced: Floats, number: int
) -> NDArray[np.bool_]:
    near = np.zeros(len(every), dtype=bool)
    near[np.argsort(reduced, kind="stable")[: number + table.blocks]] = True
    return near | (share > NONE)


def _distinct(result: PriceResult, extra: Configured) -> tuple[Configured, Floats]:
    """Every configuration once, by lane and cost, with its share in the master."""
    seen = result.seen
    lane, cost = np.concatenate([seen.lane, extra.lane]), np.concatenate([seen.cost, extra.cost])
    use = np.concatenate([seen.use, extra.use])
    share = np.concatenate([result.point[: len(seen)], np.zeros(len(extra))])
    keys = np.column_stack([lane, use, cost])
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    total: Floats = np.bincount(group.ravel(), weights=share).astype(np.float64)
    recipe = np.concatenate([seen.recipe, extra.recipe])
    return Configured(lane[first], recipe[first], cost[first], use[first], cost[first]), total


def _reduced(table: LaneTable, every: Configured, prices: Floats) -> Floats:
    """Priced cost over that of the lane's cheapest."""
    value = every.cost + every.use @ prices
    least = np.full(table.blocks, np.inf)
    np.minimum.at(least, every.lane, value)
    reduced: Floats = value - least[every.lane]
    return reduced


def _round(
    table: LaneTable,
    every: Configured,
    share: Floats,
    reduced: Floats,
    number: int,
    gap: float,
    time_limit_s: float,
) -> Chosen | None:
    near = _near(table, every, share, reduced, number)
    whole = np.flatnonzero(share >= WHOLE)
    options = np.bincount(every.lane[near], minlength=table.blocks)
    fixed = whole[options[every.lane[whole]] == 1]
    near[np.isin(every.lane, every.lane[fixed])] = False
    free = np.flatnonzero(near)
    taken = every.use[fixed].sum(axis=0)
    left = (table.rows.slots - taken).astype(np.int64)
    if (left < 0).any():
        return None
    picked = _picked(table, every, free, left, float(every.cost[fixed].sum()), gap, time_limit_s)
    if picked is None:
        return None
    places = np.concatenate([fixed, picked])
    places = places[np.argsort(every.lane[places], kind="stable")]
    whole_choice = every.taken(places)
    return Chosen(whole_choice, table.plan_cost(whole_choice))


def _picked(
    table: LaneTable,
    every: Configured,
    free: Ints,
    left: Ints,
    offset: float,
    gap: float,
    time_limit_s: float,
) -> Ints | None:
    if not len(free):
        return free
    lanes, owner = np.unique(every.lane[free], return_inverse=True)
    columns = Columns(owner, every.cost[free], every.use[free])
    point, _ = choose(
        columns, len(lanes), left, gap=gap, time_limit_s=time_limit_s, offset=offset, nodes=table.nodes
    )
    return None if point is None else free[point.columns]

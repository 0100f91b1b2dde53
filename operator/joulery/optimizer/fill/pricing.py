"""What is cheapest for each lane and pool at prices per packing row: near it for the price loop, and proven."""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.blocks import joined, with_best_options
from joulery.optimizer.fill.kernel import cheapest
from joulery.optimizer.fill.kernel_compiled import RECIPE
from joulery.optimizer.fill.kernel_nearby import least_values
from joulery.optimizer.fill.kernel_room import new_room
from joulery.optimizer.fill.table import Configured, LaneTable, configured
from joulery.optimizer.problem import Floats

# Shapes of one lane to look at.
MOST_SHAPES = 10_000
# Of a known value, so that rounding does not drop the configuration that has it.
ROUNDING = 1e-9
# Share of a lane's cost that its clocks may be from the best ones while prices are looked for.
COARSE = 1e-3


def priced(table: LaneTable, prices: Floats, cells_per_instance: float) -> tuple[Configured, Floats]:
    """Each lane's near-cheapest configuration and each pool's cheapest, and its priced cost."""
    return with_best_options(table, *_lanes_priced(table, prices, cells_per_instance), prices)


def _lanes_priced(table: LaneTable, prices: Floats, cells_per_instance: float) -> tuple[Configured, Floats]:
    if table.has_rules:
        at_best, value, _ = _searched(table, prices, np.full(table.lanes, np.inf), COARSE)
        return at_best, value
    price = table.rows.per_instance @ prices
    recipes = np.zeros((table.lanes, RECIPE), dtype=np.int64)
    value = np.zeros(table.lanes)
    cheapest(table.items, price.astype(np.float64), cells_per_instance, recipes, value)
    return configured(table, np.arange(table.lanes), recipes), value


def proven(
    table: LaneTable, prices: Floats, known: Configured, value: Floats, tolerance: float
) -> tuple[Configured, Floats]:
    """Each block's cheapest configuration, and a lower bound of any one's priced cost, equal to `tolerance`.

    Args:
        known: what `priced` found at these prices, of priced cost `value`.
    """
    pools = np.arange(table.lanes, table.blocks)
    of_lanes = value[: table.lanes]
    found, cost, lower = _searched(table, prices, of_lanes * (1.0 + ROUNDING), tolerance)
    is_better = cost < of_lanes
    recipe = np.where(is_better[:, None], found.recipe, known.recipe[: table.lanes])
    at_best = configured(table, found.lane, recipe)
    lowest = np.append(np.minimum(lower, of_lanes), value[pools])
    return joined([at_best, known.taken(pools)]), lowest


def _searched(
    table: LaneTable, prices: Floats, known: Floats, tolerance: float
) -> tuple[Configured, Floats, Floats]:
    price = (table.rows.per_instance @ prices).astype(np.float64)
    recipes = np.zeros((table.lanes, RECIPE), dtype=np.int64)
    value, lower = np.zeros(table.lanes), np.zeros(table.lanes)
    room = new_room(len(price))
    least_values(table.searched_at(prices), price, known, tolerance, MOST_SHAPES, room, recipes, value, lower)
    return configured(table, np.arange(table.lanes), recipes), value, lower

"""Each lane's cheapest configuration at prices per packing row: near it for the price loop, and what is proven."""

from __future__ import annotations

import numpy as np

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
    """Each lane's near-cheapest configuration, and its priced cost."""
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
    """Each lane's cheapest configuration, and a lower bound of any one's priced cost, equal to `tolerance`.

    Args:
        known: a near-cheapest one of each, of priced cost `value`.
    """
    found, cost, lower = _searched(table, prices, value * (1.0 + ROUNDING), tolerance)
    is_better = cost < value
    recipe = np.where(is_better[:, None], found.recipe, known.recipe)
    return configured(table, known.lane, recipe), np.minimum(lower, value)


def _searched(
    table: LaneTable, prices: Floats, known: Floats, tolerance: float
) -> tuple[Configured, Floats, Floats]:
    price = (table.rows.per_instance @ prices).astype(np.float64)
    recipes = np.zeros((table.lanes, RECIPE), dtype=np.int64)
    value, lower = np.zeros(table.lanes), np.zeros(table.lanes)
    room = new_room(len(price))
    least_values(table.searched_at(prices), price, known, tolerance, MOST_SHAPES, room, recipes, value, lower)
    return configured(table, np.arange(table.lanes), recipes), value, lower

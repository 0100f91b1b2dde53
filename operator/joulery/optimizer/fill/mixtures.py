"""Configurations that prices alone do not find: part of a lane on one accelerator, the rest on another.

At given prices a large lane is wholly on the accelerator that is cheaper for it, however little that is; of a
few large lanes all-or-nothing choices then miss the supply by far. So each lane is offered m full instances of
its best item of one accelerator, for up to MOST_PARTS values of m, and the rest on its best item of another.
"""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.kernel_compiled import FIRST_COUNT, FIRST_ITEM, NOTHING, PARTIAL, RECIPE
from joulery.optimizer.fill.table import Configured, LaneTable, configured
from joulery.optimizer.problem import Floats, Ints

MOST_PARTS = 24


def mixtures(table: LaneTable, prices: Floats) -> Configured:
    """Mixtures of all lanes at prices per packing row."""
    names = [kind.accelerator for kind in table.problem.kinds]
    rank = {name: place for place, name in enumerate(sorted(set(names)))}
    accelerator = np.array([rank[name] for name in names])[table.items.kind]
    price = (table.rows.per_instance @ prices)[table.items.kind]
    lanes, recipes = [], []
    for lane in range(table.lanes):
        part = np.arange(table.items.start[lane], table.items.start[lane + 1])
        best = _best_of_each(table, part, accelerator, price)
        for few in best:
            for many in best:
                if few != many:
                    on = part[accelerator[part] == accelerator[many]]
                    found = _of_pair(table, few, many, on, price)
                    recipes.append(found)
                    lanes.append(np.full(len(found), lane))
    if not recipes:
        return configured(table, np.zeros(0, dtype=np.int64), np.zeros((0, RECIPE), dtype=np.int64))
    return configured(table, np.concatenate(lanes), np.concatenate(recipes))


def _best_of_each(table: LaneTable, part: Ints, accelerator: Ints, price: Floats) -> list[int]:
    """The item of each accelerator that carries load for least when full."""
    items = table.items
    ratio = (items.idle[part] + price[part]) / items.capacity[part] + items.slope[part]
    best = []
    for number in np.unique(accelerator[part]).tolist():
        of_it = np.flatnonzero(accelerator[part] == number)
        best.append(int(part[of_it[ratio[of_it].argmin()]]))
    return best


def _of_pair(table: LaneTable, few: int, many: int, on: Ints, price: Floats) -> Ints:
    """Recipes of m instances of `few`, the rest of `many` and one partial instance among `on`."""
    items = table.items
    most = int((1.0 - NOTHING) / items.capacity[few])
    parts = np.unique(np.linspace(1, most, min(most, MOST_PARTS)).astype(np.int64))
    rest = 1.0 - parts * items.capacity[few]
    full = np.ceil(rest / items.capacity[many] - NOTHING).astype(np.int64) - 1
    left = rest - full * items.capacity[many]
    cost = items.idle[on] + price[on] + items.slope[on] * left[:, None]
    partial = on[np.where(items.capacity[on] >= left[:, None], cost, np.inf).argmin(axis=1)]
    keep = (full >= 0) & (items.capacity[partial] >= left)
    recipes = np.zeros((len(parts), RECIPE), dtype=np.int64)
    recipes[:, PARTIAL] = partial
    recipes[:, FIRST_ITEM], recipes[:, FIRST_COUNT] = few, parts
    recipes[:, FIRST_ITEM + 1], recipes[:, FIRST_COUNT + 1] = many, np.maximum(full, 0)
    found: Ints = recipes[keep]
    return found

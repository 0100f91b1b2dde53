"""How much of each lane can be served where lanes are few and nothing but supply binds: exact, without a solver."""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.kernel_service import ALIKE, cells_of, extended, options_of
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.problem import Floats, Ints

# Uses of the supply, and pairs of one and an option of a lane, that are looked at in a few milliseconds.
MOST_CELLS, MOST_PAIRS = 20_000, 10_000_000


def counts_serving_most(table: LaneTable) -> Ints | None:
    """Instances `[lane, kind]` that shed least in shares of load, of those that cost little.

    None where pools share the supply, where lanes ask more of their instances than to carry load or differ in
    weight, or where there is too much to look at.
    """
    slots = table.rows.slots.astype(np.int64)
    weights = {lane.weight for lane in table.problem.lanes}
    # As floats: the product of many rows may be beyond any integer.
    if (
        table.pools is not None
        or table.has_rules
        or len(weights) > 1
        or not len(slots)
        or np.prod(slots + 1.0) > MOST_CELLS
    ):
        return None
    cells, per_instance = cells_of(slots), table.rows.per_instance.astype(np.int64)
    most = table.searched.hulls.most
    options = [options_of(cells, most[p], _cost(table, p), per_instance) for p in range(table.lanes)]
    if sum(len(option.cell) for option in options) * len(cells.use) > MOST_PAIRS:
        return None
    served, cost = np.full(len(cells.use), -np.inf), np.zeros(len(cells.use))
    served[0] = 0.0
    chosen = np.zeros((table.lanes, len(cells.use)), dtype=np.int64)
    for lane, option in enumerate(options):
        served, cost = extended(cells, option, served, cost, chosen[lane])
    tied = np.flatnonzero(served >= served.max() - ALIKE)
    cell = int(tied[cost[tied].argmin()])
    counts = np.zeros((table.lanes, len(table.problem.kinds)), dtype=np.int64)
    for lane in range(table.lanes - 1, -1, -1):
        place = int(chosen[lane, cell])
        counts[lane] = options[lane].counts[place]
        cell -= int(options[lane].cell[place])
    return counts


def _cost(table: LaneTable, lane: int) -> Floats:
    """Least cost of an instance of each kind at its highest clock."""
    items, most = table.items, table.searched.hulls.most[lane]
    part = np.arange(items.start[lane], items.start[lane + 1])
    fastest = part[items.capacity[part] == most[items.kind[part]]]
    cost = np.full(len(most), np.inf)
    np.minimum.at(cost, items.kind[fastest], table.searched.cost[fastest])
    return cost

"""How much of all loads can be served, over all uses of the supply, compiled. Loading this loads numba.

A cell stands for groups of GPUs in use, one number per packing row. Per lane and cell: the most load that instances
which use just that carry at their highest clocks. Over lanes and cells: the most that is served in all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import NOTHING, compiled
from joulery.optimizer.problem import Floats, Ints

# Sums of shares closer than this are the same service.
ALIKE = 1e-9
NO_CELL = -1


class Cells(NamedTuple):
    """`[cell, row]` groups in use, and by how much one more group of a row moves on in the order of cells."""

    use: Ints
    stride: Ints


class Option(NamedTuple):
    """Per cell that a lane may well use: which, the share served, its cost, `[option, kind]` instances."""

    cell: Ints
    served: Floats
    cost: Floats
    counts: Ints


@compiled
def cells_of(slots: Ints) -> Cells:
    """All uses within the slots, from none to all."""
    rows = len(slots)
    stride = np.ones(rows, dtype=np.int64)
    for row in range(rows - 2, -1, -1):
        stride[row] = stride[row + 1] * (slots[row + 1] + 1)
    number = stride[0] * (slots[0] + 1)
    use = np.zeros((number, rows), dtype=np.int64)
    for cell in range(number):
        for row in range(rows):
            use[cell, row] = cell // stride[row] % (slots[row] + 1)
    return Cells(use, stride)


@compiled
def _before(cells: Cells, cell: int, used: Ints) -> int:
    """The cell without what is used; NO_CELL where that is more."""
    before = cell
    for row in range(len(used)):
        if used[row] > cells.use[cell, row]:
            return NO_CELL
        before -= used[row] * cells.stride[row]
    return before


@compiled
def options_of(cells: Cells, capacity: Floats, cost: Floats, per_instance: Ints) -> Option:
    """A lane's cells that carry more than any with less in use.

    Args:
        capacity, cost: of an instance of each kind at its highest clock; capacity 0 where there is none.
    """
    number, kinds = len(cells.use), len(capacity)
    load, spent = np.full(number, -np.inf), np.full(number, np.inf)
    most = np.full(number, -np.inf)
    by_kind = np.full(number, -1)
    load[0], spent[0] = 0.0, 0.0
    kept = np.zeros(number, dtype=np.int64)
    chosen = 0
    for cell in range(number):
        for kind in range(kinds):
            before = _before(cells, cell, per_instance[kind]) if capacity[kind] > 0.0 else NO_CELL
            if before in (NO_CELL, cell) or load[before] >= 1.0 or load[before] < 0.0:
                continue
            carried = load[before] + capacity[kind]
            carried = 1.0 if carried >= 1.0 - NOTHING else carried
            if carried > load[cell] or (carried == load[cell] and spent[before] + cost[kind] < spent[cell]):
                load[cell], spent[cell], by_kind[cell] = carried, spent[before] + cost[kind], kind
        below = -np.inf
        for row in range(len(cells.stride)):
            if cells.use[cell, row] > 0:
                below = max(below, most[cell - cells.stride[row]])
        most[cell] = max(below, load[cell])
        if load[cell] > below:
            kept[chosen] = cell
            chosen += 1
    counts = np.zeros((chosen, kinds), dtype=np.int64)
    for option in range(chosen):
        cell = kept[option]
        while cell > 0:
            counts[option, by_kind[cell]] += 1
            cell = _before(cells, cell, per_instance[by_kind[cell]])
    return Option(kept[:chosen], load[kept[:chosen]], spent[kept[:chosen]], counts)


@compiled
def extended(
    cells: Cells, option: Option, served: Floats, cost: Floats, chosen: Ints
) -> tuple[Floats, Floats]:
    """Per cell the most served with one lane more, and the least cost of it; writes which of its options is used."""
    number = len(served)
    most, least = np.full(number, -np.inf), np.full(number, np.inf)
    for place in range(len(option.cell)):
        share, spent, used = option.served[place], option.cost[place], cells.use[option.cell[place]]
        for cell in range(option.cell[place], number):
            before = _before(cells, cell, used)
            if before == NO_CELL or served[before] < 0.0:
                continue
            here = served[before] + share
            is_alike = here > most[cell] - ALIKE and cost[before] + spent < least[cell]
            if here > most[cell] + ALIKE or is_alike:
                most[cell], least[cell], chosen[cell] = here, cost[before] + spent, place
    return most, least

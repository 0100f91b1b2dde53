"""Pools in the model of what can be served: one column per option, one option per pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulery.optimizer.fill.model import Model
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.problem import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class OptionColumns:
    """Where a model has options of pools.

    Attributes:
        column: of the model.
        option: of the pools' table.
        owner: pool, by key.
        served: share of its planned peak.
        use: `[option, row]`, groups of GPUs, and starts where they are limited.
    """

    column: Ints
    option: Ints
    owner: Ints
    served: Floats
    use: Floats

    def used(self, row: int) -> list[tuple[int, float]]:
        """Entries of a packing row."""
        return list(zip(self.column.tolist(), self.use[:, row].tolist(), strict=True))


def add_pools(table: LaneTable, model: Model, options: Ints) -> OptionColumns:
    """Add some options of each pool, of which one is chosen."""
    if table.pools is None:
        none = np.zeros(0, dtype=np.int64)
        return OptionColumns(none, none, none, np.zeros(0), np.zeros((0, len(table.rows.slots))))
    every = table.pools.every
    owner = every.owner[options]
    cost = table.pools.cost_of(options).tolist()
    column = np.array([model.column(each, 1.0, is_whole=True) for each in cost], dtype=np.int64)
    for pool in range(len(table.pools)):
        model.row([(one, 1.0) for one in column[owner == pool].tolist()], 1.0, 1.0)
    return OptionColumns(column, options, owner, every.served[options], every.use(options).astype(np.float64))


def chosen_options(columns: OptionColumns, point: Floats) -> Ints:
    """Option of each pool at a solver's point."""
    share = point[columns.column]
    pools = np.unique(columns.owner)
    chosen = [np.flatnonzero(columns.owner == p)[share[columns.owner == p].argmax()] for p in pools.tolist()]
    options: Ints = columns.option[np.array(chosen, dtype=np.int64)]
    return options

"""Pools that split their load equally, as blocks beside the lanes: their options are few, so prices choose exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.packing import PackingRows
from joulery.optimizer.problem import Floats, Ints, PoolBlock
from joulery.optimizer.pruning import full_options
from joulery.optimizer.table import SERVED_TOLERANCE, OptionTable


@dataclass(frozen=True, slots=True, eq=False)
class PoolColumns:
    """Undominated options at full service, by pool, kind and count; costs in units of `unit_w`.

    Attributes:
        every: all options of the pools, by key.
        options: of these, one per column.
        owner: pool of each column.
        start: first column of each pool.
        use: `[column, row]`, groups of GPUs, and starts where they are limited.
    """

    every: OptionTable
    options: Ints
    owner: Ints
    start: Ints
    cost: Floats
    use: Floats
    unit_w: float

    def __len__(self) -> int:
        """How many pools."""
        return len(self.start)

    def best(self, value: Floats) -> Ints:
        """First column of least value of each pool."""
        least = np.minimum.reduceat(value, self.start)
        tied = np.flatnonzero(value == least[self.owner])
        best: Ints = tied[np.searchsorted(self.owner[tied], np.arange(len(self)))]
        return best

    def priced(self, prices: Floats) -> Floats:
        """Cost with what its GPUs cost, of every column."""
        value: Floats = self.cost + self.use @ prices
        return value

    def cost_of(self, options: Ints) -> Floats:
        """Of any options of the table."""
        cost: Floats = self.every.cost_w[options] / self.unit_w
        return cost

    def sheds(self, options: Ints) -> NDArray[np.bool_]:
        """Which pools shed more than their options must, of one option each."""
        every = self.every
        return every.served[options] < every.most_served - SERVED_TOLERANCE

    def weights(self) -> Floats:
        """Of each pool."""
        pools = self.every.problem.pools
        return np.array([pools[p].weight for p in self.every.position.tolist()])


def pool_columns(every: OptionTable, rows: PackingRows, unit_w: float) -> PoolColumns:
    """The columns of a table's pools under the rows that they share with lanes."""
    every = replace(every, rows=rows)
    options = full_options(every)
    owner = every.owner[options]
    return PoolColumns(
        every=every,
        options=options,
        owner=owner,
        start=np.searchsorted(owner, np.arange(len(every.start))),
        cost=every.cost_w[options] / unit_w,
        use=every.use(options).astype(np.float64),
        unit_w=unit_w,
    )


def clipped(columns: PoolColumns, options: Ints) -> tuple[PoolBlock, ...]:
    """The pools in the caller's order, of which nobody asks more service than these options give."""
    every = columns.every
    most = np.empty(len(options))
    most[every.position] = every.served[options]
    pools = zip(every.problem.pools, most.tolist(), strict=True)
    return tuple(replace(pool, served=np.minimum(pool.served, share)) for pool, share in pools)

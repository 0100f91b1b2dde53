"""How much of each lane and pool is served, and by what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.problem import Floats, Ints

# Shares of load of one weight, summed, that are the same: twice what a stage may lose against an earlier one.
SHED_TOLERANCE = 2e-6


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """What serves how much.

    Attributes:
        counts: instances `[lane, kind]`.
        served: the share of each lane that they carry.
        options: option of each pool, of the table.
        is_proven: whether less shed is ruled out.
    """

    counts: Ints
    served: Floats
    options: Ints
    is_proven: bool

    def shares(self, table: LaneTable) -> Floats:
        """What is served of each lane and pool."""
        if table.pools is None:
            return self.served
        return np.append(self.served, table.pools.every.served[self.options])

    def serves_all(self, table: LaneTable) -> bool:
        """Whether lanes are served wholly, and pools as well as they can be."""
        sheds = table.pools is not None and table.pools.sheds(self.options).any()
        return bool((self.served == 1.0).all()) and not sheds

    def serves_more(self, table: LaneTable, other: Service) -> bool:
        """Whether it sheds less than another by falling weight."""
        weight = weights_of(table)
        for priority in np.unique(weight)[::-1].tolist():
            more = float((self.shares(table) - other.shares(table))[weight == priority].sum())
            if abs(more) > SHED_TOLERANCE:
                return more > 0.0
        return False


def weights_of(table: LaneTable) -> Floats:
    """Of each lane, then of each pool."""
    of_lanes = np.array([table.problem.lanes[p].weight for p in table.position.tolist()])
    return of_lanes if table.pools is None else np.append(of_lanes, table.pools.weights())

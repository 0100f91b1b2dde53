"""Nodes that may be left off, as columns beside those of pools: in a master, in integer programmes, in a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulery.optimizer.packing import PackingRows
from joulery.optimizer.problem import Floats, Ints

# Of a node: sums of whole groups differ from whole numbers by far less.
WHOLE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """Columns of nodes that may be left off: each saves its cost and takes of the rows what it would give.

    Attributes:
        cost: of one that is on.
        most: how many there are.
        use: `[accelerator, packing row]`.
    """

    cost: Floats
    most: Floats
    use: Floats

    def saved(self, prices: Floats) -> float:
        """What is saved, against all of them on, by leaving off those whose groups are worth less than they cost."""
        return float(self.most @ np.minimum(0.0, self.use @ prices - self.cost))

    def needed(self, used: Floats, slots: Floats) -> float:
        """Cost of those that have to be on for so much use."""
        beyond = used - (slots - self.most @ self.use)
        most = np.where(self.use > 0.0, beyond / np.maximum(self.use, 1.0), 0.0).max(axis=1, initial=0.0)
        return float(np.ceil(most - WHOLE_TOLERANCE) @ self.cost)

    @property
    def all_on(self) -> float:
        """Cost with all of them on."""
        return float(self.most @ self.cost)

    def sparse(self, pools: int) -> tuple[Ints, Ints, Floats]:
        """Column starts, row indices and values."""
        column, row = np.nonzero(self.use)
        starts = np.searchsorted(column, np.arange(len(self.cost)))
        return starts.astype(np.int32), (pools + row).astype(np.int32), self.use[column, row]


def no_nodes(rows: int) -> Nodes:
    """Where all nodes are on."""
    return Nodes(np.zeros(0), np.zeros(0), np.zeros((0, rows)))


def nodes_of(rows: PackingRows, unit_w: float) -> Nodes:
    """The nodes of rows that may be left off, at costs in units of `unit_w`."""
    off = rows.left_off
    if off is None:
        return no_nodes(len(rows.slots))
    return Nodes(off.watts / unit_w, off.most.astype(np.float64), off.groups.astype(np.float64))

"""Prices on GPUs over configurations that the kernel finds (Dantzig-Wolfe, one block per lane or pool).

    restricted master    min cost z   over the configurations seen,  one per block,  use z <= slots
    pricing              each block's cheapest configuration at the master's prices, drawn halfway to the best
    lower bound          sum over blocks of min (cost + use prices)  -  slots prices

In the loop that minimum is near-exact only for lanes, since the kernel keeps one label per cell; the bound that is
reported takes a proven one at the final prices (see `pricing.proven`). Of a pool it is one of its few options.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulery.optimizer.fill.blocks import joined
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.pricing import priced
from joulery.optimizer.fill.table import Configured, LaneTable
from joulery.optimizer.lp import Columns, Master, MasterPoint
from joulery.optimizer.problem import Floats

MOST_CALLS = 40
# Per group of GPUs in lanes' mean costs: a GPU saves its lane a small part of that.
ELASTIC_COST = 10.0
MISSING_TOLERANCE = 1e-6
REDUCED_COST_TOLERANCE = 1e-9
# Items per lane at which proving the optimum is still cheap.
FEW_ITEMS = 150
# Prices beside the best at which whole choices find alternatives.
ASIDE = (0.85, 1.18)
# What the first prices take, and each further call, in units of the deadline.
FIRST_UNITS, CALL_UNITS = 2.0, 0.6
UNHURRIED = Deadline(60.0)


@dataclass(frozen=True, slots=True)
class Effort:
    """How closely the prices are found.

    Attributes:
        converged: master above bound, relative, at which the loop stops.
        cells: per instance in the loop.
        gap: cost above bound, relative, that is good enough.
    """

    converged: float
    cells: float
    gap: float


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """Prices, each block's near-cheapest configuration at them, its priced cost, and about the bound they prove."""

    prices: Floats
    configured: Configured
    value: Floats
    bound: float


@dataclass(frozen=True, slots=True, eq=False)
class PriceResult:
    """Configurations seen with their share in the master, and the best prices."""

    seen: Configured
    point: Floats
    best: Priced
    missing: float

    @property
    def prices(self) -> Floats:
        """The best."""
        return self.best.prices

    @property
    def bound(self) -> float:
        """What they prove, about."""
        return self.best.bound


def effort_for(table: LaneTable) -> Effort:
    """Finer for few blocks, whose integer gap is wide anyway; coarser for many."""
    blocks = table.blocks
    if blocks <= 30:
        return Effort(1e-4, 48.0, 1e-5 if len(table.items.kind) <= FEW_ITEMS * table.lanes else 1e-3)
    if blocks <= 150:
        return Effort(1e-5, 24.0, 3e-4)
    return Effort(1e-4, 24.0, 5e-4) if blocks <= 2000 else Effort(1e-4, 16.0, 5e-4)


def find_prices(
    table: LaneTable,
    effort: Effort,
    start: Floats | None,
    at_hand: Configured | None = None,
    deadline: Deadline = UNHURRIED,
) -> PriceResult | None:
    """The price loop; None where HiGHS has no optimum of a master, or the deadline comes before the prices.

    Args:
        at_hand: a configuration of each block to begin with, beside those that are found.
    """
    if not deadline.allows(FIRST_UNITS):
        return None
    master = Master(table.blocks, table.rows.slots, ELASTIC_COST, table.nodes)
    first = _first(table, effort, start)
    place = max(range(len(first)), key=lambda place: first[place].bound)
    best = first[place]
    new = joined([each.configured for each in first] + ([] if at_hand is None else [at_hand]))
    seen: list[Configured] = []
    at: MasterPoint | None = None
    for call in range(MOST_CALLS):
        if not deadline.allows(CALL_UNITS):
            return None
        master.add(Columns(new.lane, new.cost, new.use))
        seen.append(new)
        if call == 0:
            master.begin_at(np.arange(table.blocks) + table.blocks * place)
        at = master.solve(60.0)
        if at is None:
            return None
        if at.objective - best.bound <= effort.converged * abs(at.objective):
            break
        new, best = _improving(table, effort, at, best)
        if at.objective - best.bound <= effort.converged * abs(at.objective) or not len(new):
            break
    assert at is not None
    return PriceResult(joined(seen), at.point, best, at.missing)


def _improving(table: LaneTable, effort: Effort, at: MasterPoint, best: Priced) -> tuple[Configured, Priced]:
    """Columns of negative reduced cost, found halfway to the best prices, else at the master's own."""
    found: list[Configured] = []
    for prices in ((best.prices + at.prices) / 2.0, at.prices):
        here = _priced_at(table, prices, effort)
        best = here if here.bound > best.bound else best
        columns = here.configured
        reduced = columns.cost + columns.use @ at.prices - at.worth[columns.lane]
        better = np.flatnonzero(reduced < -REDUCED_COST_TOLERANCE)
        found.append(columns.taken(better))
        if len(better):
            break
    return joined(found), best


def _priced_at(table: LaneTable, prices: Floats, effort: Effort) -> Priced:
    configured, value = priced(table, prices, effort.cells)
    return Priced(prices, configured, value, table.lower_bound(value, prices))


def _first(table: LaneTable, effort: Effort, start: Floats | None) -> list[Priced]:
    """Prices to begin with: those known before, or what a GPU is worth, and others beside."""
    if start is None:
        free, _ = priced(table, np.zeros(len(table.rows.slots)), effort.cells)
        per_gpu = float(free.cost.sum() / max(1.0, (free.use * table.rows.size).sum()))
        base = per_gpu * table.rows.size.astype(np.float64)
        tried = [base * factor for factor in (0.3, 1.0, 4.0)]
    else:
        tried = [start, start * ASIDE[0], start * ASIDE[1]]
    return [_priced_at(table, prices, effort) for prices in tried]

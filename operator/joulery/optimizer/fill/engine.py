"""Prices on GPUs over configurations that the kernel finds (Dantzig-Wolfe, one block per lane).

    restricted master    min cost z   over the configurations seen,  one per lane,  use z <= slots
    pricing              each lane's cheapest configuration at the master's prices, drawn halfway to the best
    lower bound          sum over lanes of min (cost + use prices)  -  slots prices

In the loop that minimum is near-exact only, since the kernel keeps one label per cell; the bound that is reported
takes a proven one at the final prices (see `pricing.proven`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
class PriceResult:
    """Configurations seen with their share in the master, the best prices, and about the bound they prove."""

    seen: Configured
    point: Floats
    prices: Floats
    bound: float
    missing: float


def effort_for(lanes: int, items: int) -> Effort:
    """Finer for few lanes, whose integer gap is wide anyway; coarser for many."""
    if lanes <= 30:
        return Effort(1e-4, 48.0, 1e-5 if items <= FEW_ITEMS * lanes else 1e-3)
    if lanes <= 150:
        return Effort(1e-5, 48.0, 3e-4)
    return Effort(1e-4, 32.0, 5e-4) if lanes <= 2000 else Effort(1e-4, 16.0, 5e-4)


def find_prices(
    table: LaneTable, effort: Effort, start: Floats | None, at_hand: Configured | None = None
) -> PriceResult | None:
    """The price loop; None where HiGHS has no optimum of a master.

    Args:
        at_hand: a configuration of each lane to begin with, beside those that are found.
    """
    master = Master(table.lanes, table.rows.slots, ELASTIC_COST)
    seen: list[Configured] = []
    best_prices, bound = np.zeros(len(table.rows.slots)), -np.inf
    new, lower = _first(table, effort, start)
    new = new if at_hand is None else joined([new, at_hand])
    at: MasterPoint | None = None
    for prices, value in lower:
        if value > bound:
            best_prices, bound = prices, value
    for _ in range(MOST_CALLS):
        master.add(Columns(new.lane, new.cost, new.use))
        seen.append(new)
        at = master.solve(60.0)
        if at is None:
            return None
        if at.objective - bound <= effort.converged * abs(at.objective):
            break
        found, bound, best_prices = _improving(table, effort, at, best_prices, bound)
        if at.objective - bound <= effort.converged * abs(at.objective) or not len(found):
            break
        new = found
    assert at is not None
    return PriceResult(joined(seen), at.point, best_prices, bound, at.missing)


def _improving(
    table: LaneTable, effort: Effort, at: MasterPoint, best_prices: Floats, bound: float
) -> tuple[Configured, float, Floats]:
    """Columns of negative reduced cost, found halfway to the best prices, else at the master's own."""
    found: list[Configured] = []
    for prices in ((best_prices + at.prices) / 2.0, at.prices):
        configured, value = priced(table, prices, effort.cells)
        lower = float(value.sum() - table.rows.slots @ prices)
        if lower > bound:
            bound, best_prices = lower, prices
        reduced = configured.cost + configured.use @ at.prices - at.worth[configured.lane]
        better = np.flatnonzero(reduced < -REDUCED_COST_TOLERANCE)
        found.append(configured.taken(better))
        if len(better):
            break
    return joined(found), bound, best_prices


def _first(
    table: LaneTable, effort: Effort, start: Floats | None
) -> tuple[Configured, list[tuple[Floats, float]]]:
    """Columns to begin with, at prices known before or around what a GPU is worth, and their bounds."""
    if start is None:
        free, _ = priced(table, np.zeros(len(table.rows.slots)), effort.cells)
        per_gpu = float(free.cost.sum() / max(1.0, (free.use * table.rows.size).sum()))
        base = per_gpu * table.rows.size.astype(np.float64)
        tried = [base * factor for factor in (0.3, 1.0, 4.0)]
    else:
        tried = [start, start * ASIDE[0], start * ASIDE[1]]
    found, lower = [], []
    for prices in tried:
        configured, value = priced(table, prices, effort.cells)
        found.append(configured)
        lower.append((prices, float(value.sum() - table.rows.slots @ prices)))
    return joined(found), lower


def joined(parts: list[Configured]) -> Configured:
    """All of them, in order."""
    return Configured(
        np.concatenate([part.lane for part in parts]),
        np.concatenate([part.recipe for part in parts]),
        np.concatenate([part.cost for part in parts]),
        np.concatenate([part.use for part in parts]),
        np.concatenate([part.lower for part in parts]),
    )

"""The greedy engine: always an answer, in a few milliseconds, without a solver.

Pools take their turn by weight, then key. Each keeps what it has if that still serves it fully
and fits; else it takes its cheapest full option that fits; else the one that serves it best. When someone has
to shed, a second pass prefers small options, and the better of the two passes stands.
"""

from __future__ import annotations

from operator import gt

import numpy as np

from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.table import SERVED_TOLERANCE, OptionTable, cheapest_full

# Twice what a stage of the MILP may lose against an earlier one.
SHED_TOLERANCE = 2e-6
COST_TOLERANCE = 1e-9


def greedy(table: OptionTable, previous: Ints | None = None) -> Ints:
    """One option per pool, within supply whatever the problem (count 0 always fits)."""
    wanted = cheapest_full(table)
    if previous is not None:
        wanted = np.where(table.full[previous], previous, wanted)
    if table.rows.fit(table.total_use(wanted)):
        return wanted
    frugal = _pass(table, wanted, np.where(table.full, table.cost_w, np.inf))
    if not sheds(table, frugal):
        return frugal
    ranked = _size_then_cost(table)
    compact = _pass(table, _first_of_least(table, ranked), ranked)
    return compact if is_better(table, compact, frugal) else frugal


def smallest_full(table: OptionTable) -> Ints:
    """The full option of each pool with the fewest GPUs, then the least cost, then its first."""
    return _first_of_least(table, _size_then_cost(table))


def _first_of_least(table: OptionTable, ranked: Floats) -> Ints:
    tied = np.flatnonzero(ranked == np.minimum.reduceat(ranked, table.start)[table.owner])
    first: Ints = tied[np.searchsorted(table.owner[tied], np.arange(len(table.start)))]
    return first


def _size_then_cost(table: OptionTable) -> Floats:
    """Ranks of full options; the others have none."""
    ranked: Floats = np.where(table.full, table.gpus * (1.0 + table.cost_w.max()) + table.cost_w, np.inf)
    return ranked


def sheds(table: OptionTable, options: Ints) -> bool:
    """Whether some pool gets less than its options could give."""
    return bool((table.served[options] < table.most_served - SERVED_TOLERANCE).any())


def is_better(table: OptionTable, one: Ints, other: Ints) -> bool:
    """Whether a plan sheds less by falling priority or, shedding alike, costs less; rounding aside."""
    for a, b in zip(table.lost_by_priority(one), table.lost_by_priority(other), strict=True):
        if abs(a - b) > SHED_TOLERANCE:
            return a < b
    return table.plan_w(one) < table.plan_w(other) * (1.0 - COST_TOLERANCE)


def safe_bound_w(table: OptionTable, options: Ints) -> float:
    """Watts below which no plan can serve every pool at least as well as this one does."""
    as_good = table.served >= table.served[options][table.owner] - SERVED_TOLERANCE
    cost = np.where(as_good, table.cost_w, np.inf)
    return float(np.minimum.reduceat(cost, table.start).sum())


def liked(table: OptionTable, watts_per_gpu: float) -> tuple[Ints, Floats]:
    """What each pool wants where a GPU costs so much, and ranks of all options; those that are not full have none."""
    ranked: Floats = np.where(table.full, table.cost_w + watts_per_gpu * table.gpus, np.inf)
    return _first_of_least(table, ranked), ranked


def _pass(table: OptionTable, wanted: Ints, ranked: Floats) -> Ints:
    """One turn per pool, by priority."""
    chosen = wanted.copy()
    take_turns(table, np.argsort(table.priority, kind="stable"), ranked, chosen, table.rows.slots.copy())
    return chosen


def take_turns(table: OptionTable, order: Ints, ranked: Floats, chosen: Ints, left: Ints) -> None:
    """One turn per pool: what is chosen if it fits, else the option of least rank that fits.

    Args:
        chosen: option of each pool, overwritten by what it gets.
        left: of each row, lowered by what is taken.
    """
    use = table.use(chosen)
    divisor = np.maximum(table.rows.per_instance, 1)
    unused = np.where(table.rows.per_instance > 0, 0.0, np.inf)
    extra = np.flatnonzero(table.rows.size == 0)
    for pool in order.tolist():
        taken = use[pool]
        if any(map(gt, taken.tolist(), left.tolist())):  # of few rows: faster than arrays
            most = (left / divisor + unused).min(axis=1)
            chosen[pool] = _best_that_fits(table, pool, most, left[extra], ranked)
            taken = table.use(chosen[pool : pool + 1])[0]
        left -= taken


def _best_that_fits(table: OptionTable, pool: int, most: Floats, extra_left: Ints, ranked: Floats) -> int:
    """The option of a pool that it likes best of those that fit, else of those that serve it most.

    Args:
        most: instances of each kind that the groups left over could hold.
        extra_left: what is left of the rows that options say their use of.
    """
    part = slice(int(table.start[pool]), int(table.end[pool]))
    fits = table.count[part] <= most[table.kind[part]]
    if len(extra_left):
        fits &= (table.extra[part] <= extra_left).all(axis=1)
    ranks = np.where(fits, ranked[part], np.inf)
    best = int(ranks.argmin())
    if ranks[best] == np.inf:
        served = np.where(fits, table.served[part], -1.0)
        best = int(np.where(served >= served.max() - SERVED_TOLERANCE, table.cost_w[part], np.inf).argmin())
    return part.start + best

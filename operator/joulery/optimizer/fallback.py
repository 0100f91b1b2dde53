"""The greedy engine: always an answer, in a few milliseconds, without a solver.

Pools take their turn by weight, then key. Each keeps what it has if that still serves it fully
and fits; else it takes its cheapest full option that fits; else the one that serves it best. When someone has
to shed, a second pass prefers small options, and the better of the two passes stands.
"""

from __future__ import annotations

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
    frugal = _pass(table, wanted, table.cost_w)
    if not sheds(table, frugal):
        return frugal
    compact = _pass(table, smallest_full(table), _size_then_cost(table))
    return compact if is_better(table, compact, frugal) else frugal


def smallest_full(table: OptionTable) -> Ints:
    """The full option of each pool with the fewest GPUs, then the least cost, then its first."""
    liking = np.where(table.full, _size_then_cost(table), np.inf)
    tied = np.flatnonzero(liking == np.minimum.reduceat(liking, table.start)[table.owner])
    first: Ints = tied[np.searchsorted(table.owner[tied], np.arange(len(table.start)))]
    return first


def _size_then_cost(table: OptionTable) -> Floats:
    liking: Floats = table.gpus * (1.0 + table.cost_w.max()) + table.cost_w
    return liking


def sheds(table: OptionTable, options: Ints) -> bool:
    """Whether some pool gets less than its options could give."""
    return bool((table.served[options] < table.most_served - SERVED_TOLERANCE).any())


def is_better(table: OptionTable, one: Ints, other: Ints) -> bool:
    """Whether a plan sheds less by falling priority or, shedding alike, costs less; rounding aside."""
    for a, b in zip(table.lost_by_priority(one), table.lost_by_priority(other), strict=True):
        if abs(a - b) > SHED_TOLERANCE:
            return a < b
    cost_w = float(table.cost_w[other].sum())
    return float(table.cost_w[one].sum()) < cost_w * (1.0 - COST_TOLERANCE)


def safe_bound_w(table: OptionTable, options: Ints) -> float:
    """Watts below which no plan can serve every pool at least as well as this one does."""
    as_good = table.served >= table.served[options][table.owner] - SERVED_TOLERANCE
    cost = np.where(as_good, table.cost_w, np.inf)
    return float(np.minimum.reduceat(cost, table.start).sum())


def _pass(table: OptionTable, wanted: Ints, liking: Floats) -> Ints:
    """One turn per pool: what it wants if it fits, else the full option of smallest `liking` that fits."""
    left = table.rows.slots.copy()
    chosen = wanted.copy()
    use = table.use(wanted)
    ranked = np.where(table.full, liking, np.inf)
    for pool in np.argsort(table.priority, kind="stable").tolist():
        taken = use[pool]
        if not (taken <= left).all():
            chosen[pool] = option = _best_that_fits(table, pool, left, ranked)
            taken = table.use(np.array([option]))[0]
        left -= taken
    return chosen


def _best_that_fits(table: OptionTable, pool: int, left: Ints, ranked: Floats) -> int:
    part = slice(int(table.start[pool]), int(table.end[pool]))
    fits = table.count[part] <= _most_instances(table, left)[table.kind[part]]
    if table.starts is not None:
        fits &= table.starts[part] <= left[-1]
    ranks = np.where(fits, ranked[part], np.inf)
    best = int(ranks.argmin())
    if not np.isfinite(ranks[best]):
        served = np.where(fits, table.served[part], -1.0)
        best = int(np.where(served >= served.max() - SERVED_TOLERANCE, table.cost_w[part], np.inf).argmin())
    return part.start + best


def _most_instances(table: OptionTable, left: Ints) -> Ints:
    """Instances of each kind that the groups left over could hold."""
    per_instance = table.rows.per_instance
    room = np.where(per_instance > 0, left // np.maximum(per_instance, 1), np.iinfo(np.int64).max)
    most: Ints = room.min(axis=1)
    return most

"""The greedy engine: always an answer, in a few milliseconds, without a solver.

Pools take their turn by weight, then key. Each keeps what it has if that still serves it fully
and fits; else it takes its cheapest full option that fits; else the one that serves it best. When someone has
to shed, a second pass prefers small options, and the better of the two passes stands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.table import SERVED_TOLERANCE, OptionTable, cheapest_full


def greedy(table: OptionTable, previous: Ints | None = None) -> Ints:
    """One option per pool, within supply whatever the problem (count 0 always fits)."""
    wanted = cheapest_full(table)
    if previous is not None:
        wanted = np.where(table.is_full()[previous], previous, wanted)
    if table.rows.fit(table.total_use(wanted)):
        return wanted
    frugal = _pass(table, wanted, table.cost_w)
    if not sheds(table, frugal):
        return frugal
    compact = _pass(table, None, table.gpus.astype(np.float64))
    return min(frugal, compact, key=lambda options: worth(table, options))


def sheds(table: OptionTable, options: Ints) -> bool:
    """Whether some pool gets less than its options could give."""
    return bool((table.served[options] < table.most_served - SERVED_TOLERANCE).any())


def worth(table: OptionTable, options: Ints) -> tuple[tuple[float, ...], float]:
    """What plans are compared by, smaller is better: shed by falling priority, then cost in watts."""
    lost = tuple(round(share, 6) for share in table.lost_by_priority(options))
    return lost, float(table.cost_w[options].sum())


def safe_bound_w(table: OptionTable, options: Ints) -> float:
    """Watts below which no plan can serve every pool at least as well as this one does."""
    as_good = table.served >= table.served[options][table.owner] - SERVED_TOLERANCE
    cost = np.where(as_good, table.cost_w, np.inf)
    return float(np.minimum.reduceat(cost, table.start).sum())


def _pass(table: OptionTable, wanted: Ints | None, liking: Floats) -> Ints:
    """One turn per pool; `liking` ranks full options, smaller first."""
    left = table.rows.slots.copy()
    chosen = np.zeros(len(table.start), dtype=np.int64)
    full = table.is_full()
    for pool in np.argsort(table.priority, kind="stable").tolist():
        option = None if wanted is None else int(wanted[pool])
        if option is None or not (_use(table, option) <= left).all():
            option = _best_that_fits(table, pool, left, full, liking)
        chosen[pool] = option
        left -= _use(table, option)
    return chosen


def _use(table: OptionTable, option: int) -> Ints:
    used: Ints = table.rows.per_instance[table.kind[option]] * table.count[option]
    return used


def _best_that_fits(
    table: OptionTable, pool: int, left: Ints, full: NDArray[np.bool_], liking: Floats
) -> int:
    start, end = int(table.start[pool]), int(table.end[pool])
    part = slice(start, end)
    fits = table.count[part] <= _most_instances(table, left)[table.kind[part]]
    candidates = np.flatnonzero(fits & full[part])
    if not len(candidates):
        fitting = np.flatnonzero(fits)
        served = table.served[part][fitting]
        candidates = fitting[served >= served.max() - SERVED_TOLERANCE]
    first = start + candidates
    keys = (table.clock_mhz, table.count, table.kind_rank, table.gpus, table.cost_w, liking)
    return int(first[np.lexsort([key[first] for key in keys])[0]])


def _most_instances(table: OptionTable, left: Ints) -> Ints:
    """Instances of each kind that the groups left over could hold."""
    per_instance = table.rows.per_instance
    room = np.where(per_instance > 0, left // np.maximum(per_instance, 1), np.iinfo(np.int64).max)
    most: Ints = room.min(axis=1)
    return most

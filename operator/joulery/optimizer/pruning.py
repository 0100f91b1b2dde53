"""Exact dominance, so that solvers see tens of options per pool and not hundreds.

An option goes when another of the same pool takes no more of any packing row and is no worse in what the
stage at hand asks. Clocks of one (kind, count) take the same GPUs, so most of them go in one sort; not so under a
power budget, which counts each clock apart.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.table import OptionTable

# The second pass compares pairs: past this many options per pool it costs more than it saves the solver.
PAIRWISE_LIMIT = 300
# Share of a peak; far above what the gap and the slack of the stages leave open.
NEAR_BEST = 1e-3


def has_budget(table: OptionTable) -> bool:
    """Whether clocks of one (kind, count) differ in what they take of a row."""
    return table.problem.power_budget_w is not None


def full_options(table: OptionTable) -> Ints:
    """Enough to find the least cost at full service."""
    options = np.flatnonzero(table.full)
    kept = options if has_budget(table) else _best_per_shape(table, options, table.cost_w)
    use = table.use(kept)
    if (np.count_nonzero(use, axis=1) == 1).all():
        of_row = table.owner[kept] * use.shape[1] + use.argmax(axis=1)
        return kept[improving_of_one_row(of_row, use.max(axis=1), table.cost_w[kept])]
    return _undominated(table, kept, (table.cost_w,))


def smallest_options(table: OptionTable) -> Ints:
    """Enough to find the least GPUs at full service."""
    options = np.flatnonzero(table.full)
    return _undominated(table, _best_per_shape(table, options, table.cost_w), ())


def serving_options(table: OptionTable, among: Ints) -> Ints:
    """Enough to find the least shed."""
    kept = among if has_budget(table) else _best_per_shape(table, among, -table.served)
    return _undominated(table, kept, (-table.served,))


def trading_options(table: OptionTable, among: Ints) -> Ints:
    """Enough to find the least cost at the least shed.

    At the least shed no pool can take less service than its GPUs give: changing its clock alone would lower
    the shed. So of one shape only clocks near the best service matter, whatever they cost.
    """
    if has_budget(table):
        return _undominated(table, among, (table.cost_w, -table.served))
    near = among[table.served[among] >= _most_served_per_shape(table, among) - NEAR_BEST]
    kept = _pareto_per_shape(table, near)
    return _undominated(table, kept, (table.cost_w, -table.served))


def _shape(table: OptionTable, options: Ints) -> Ints:
    """A number per (pool, accelerator, size and quota, count, starts), rising in that order: what an option takes."""
    counts = int(table.count.max()) + 1
    ranks = int(table.rank_of_kind.max()) + 1
    shape: Ints = (
        table.owner[options] * ranks + table.rank_of_kind[table.kind[options]]
    ) * counts + table.count[options]
    for own in table.extra.T:
        shape = shape * (int(own.max()) + 1) + own[options]
    return shape


def _most_served_per_shape(table: OptionTable, options: Ints) -> Floats:
    """The best service that the GPUs of each of these options give."""
    _, shape = np.unique(_shape(table, options), return_inverse=True)
    most = np.zeros(int(shape.max()) + 1)
    np.maximum.at(most, shape, table.served[options])
    served: Floats = most[shape]
    return served


def _best_per_shape(table: OptionTable, options: Ints, criterion: Floats) -> Ints:
    """Per shape the option of least criterion, then of least cost, then of the lowest clock."""
    if not len(options):
        return options
    shape, values = _shape(table, options), criterion[options]
    # Callers name clocks of one shape beside each other, so that few are left to be sorted.
    tied = _least_of_runs(shape, values)
    tied = tied[np.argsort(shape[tied], kind="stable")]
    # Only those in first place are sorted by the other rules: nearly always one of each shape.
    tied = tied[_least_of_runs(shape[tied], values[tied])]
    ranks = (table.clock_mhz[options[tied]], table.cost_w[options[tied]], shape[tied])
    tied = tied[np.lexsort(ranks)]
    best: Ints = options[tied[_rises(shape[tied])]]
    return best


def _least_of_runs(group: Ints, values: Floats) -> Ints:
    """Places of the least values of each run of equal groups."""
    first = np.flatnonzero(_rises(group))
    least = np.minimum.reduceat(values, first)
    return np.flatnonzero(values == np.repeat(least, np.diff(first, append=len(group))))


def _rises(ordered: Ints) -> NDArray[np.bool_]:
    """The first of each run of equal numbers."""
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first


def _pareto_per_shape(table: OptionTable, options: Ints) -> Ints:
    """Per shape, by falling service, the options that cost less than everything before them."""
    shape, cost_w = _shape(table, options), table.cost_w[options]
    order = np.lexsort((table.clock_mhz[options], cost_w, -table.served[options], shape))
    cost_rank = np.unique(cost_w, return_inverse=True)[1][order]
    # Rising shapes lower the numbers, so one running minimum restarts at each of them; ranks keep it exact.
    group = np.cumsum(np.diff(shape[order], prepend=shape[order[0]]) > 0)
    value = cost_rank - group * (len(options) + 1)
    improves = np.ones(len(order), dtype=bool)
    improves[1:] = value[1:] < np.minimum.accumulate(value)[:-1]
    kept: Ints = options[order[improves]]
    return kept


def improving_of_one_row(group: Ints, use: Ints, cost: Floats) -> Ints:
    """Places of what costs less than anything of its group that uses no more; the first of equals.

    As `_undominated` where options take groups of one packing row each: only those of one row can match each other.
    """
    order = np.lexsort((cost, use, group))
    ordered, least = group[order], cost[order].copy()
    step, longest = 1, int(np.diff(np.flatnonzero(_rises(ordered)), append=len(ordered)).max(initial=0))
    # Running minima within groups, over twice as many with every step.
    while step < longest:
        is_same = ordered[step:] == ordered[:-step]
        least[step:] = np.where(is_same, np.minimum(least[step:], least[:-step]), least[step:])
        step *= 2
    kept = _rises(ordered)
    kept[1:] |= least[1:] < least[:-1]
    return np.sort(order[kept])


def _undominated(table: OptionTable, options: Ints, criteria: tuple[Floats, ...]) -> Ints:
    """Drop what another option of the pool matches in every row and criterion; keep the first of equals."""
    columns = np.column_stack([table.use(options), *(criterion[options] for criterion in criteria)])
    bounds = np.searchsorted(table.owner[options], np.arange(len(table.start) + 1))
    keep = [_first_undominated(columns[a:b]) for a, b in pairwise(bounds.tolist())]
    kept: Ints = options[np.concatenate(keep)]
    return kept


def _first_undominated(columns: Floats) -> NDArray[np.bool_]:
    if len(columns) > PAIRWISE_LIMIT:
        return np.ones(len(columns), dtype=bool)
    matches = np.ones((len(columns), len(columns)), dtype=bool)
    for column in columns.T:
        matches &= column[:, None] <= column[None, :]
    beats = matches & (~matches.T | np.tri(len(columns), k=-1, dtype=bool).T)
    undominated: NDArray[np.bool_] = ~beats.any(axis=0)
    return undominated

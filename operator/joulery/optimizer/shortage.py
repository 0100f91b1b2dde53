"""Which accelerator is short, and by how many GPUs."""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fallback import smallest_full
from joulery.optimizer.highs import Limits, NoAnswer, chosen_places, doubt, minimise, out_of_time, selection
from joulery.optimizer.problem import Ints
from joulery.optimizer.pruning import smallest_options
from joulery.optimizer.solution import Shortage
from joulery.optimizer.table import SERVED_TOLERANCE, OptionTable


def least_shortage(table: OptionTable, limits: Limits) -> tuple[Shortage, ...] | NoAnswer:
    """The fewest GPUs that let every pool be served as well as its options can, all pools planned anew.

    One more variable per accelerator, e >= 0 GPUs on nodes of their own. Since those hold floor(e/s) groups
    of s and u x is whole, packing row s becomes  s (u x) - e <= s N.
    """
    import cvxpy as cp

    if late := out_of_time(limits):
        return late
    options = smallest_options(table)
    rows = table.rows
    names = sorted(set(rows.accelerator))
    of_row = np.array([[name == owner for name in names] for owner in rows.accelerator], dtype=np.float64)
    x = cp.Variable(len(options), boolean=True)
    extra = cp.Variable(len(names), nonneg=True)
    gpus = (table.use(options) * rows.size).T.astype(np.float64)
    constraints = [selection(table, options) @ x == 1, gpus @ x - of_row @ extra <= rows.size * rows.slots]
    outcome = minimise(cp.Problem(cp.Minimize(np.ones(len(names)) @ extra), constraints), limits)
    places = chosen_places(table, options, x.value)
    short = () if places is None else shortage_of(table, options[places])
    no_answer = doubt(outcome, float(sum(s.gpus_missing for s in short)))
    if no_answer or places is None:
        return no_answer or NoAnswer("HiGHS chose no option for a pool")
    return short


def greedy_shortage(table: OptionTable, chosen: Ints) -> tuple[Shortage, ...]:
    """At most what is missing: pools that shed take their smallest full option, the others stay as chosen."""
    short = table.served[chosen] < table.most_served - SERVED_TOLERANCE
    return shortage_of(table, np.where(short, smallest_full(table), chosen))


def power_missing_w(table: OptionTable) -> float:
    """By how much each pool's most frugal full option exceeds the power budget, all of them together."""
    budget_w = table.problem.power_budget_w
    if budget_w is None:
        return 0.0
    watts = np.concatenate([table.problem.pools[p].watts for p in table.position.tolist()])
    least_w = np.minimum.reduceat(np.where(table.full, watts, np.inf), table.start)
    return max(0.0, float(least_w.sum()) - budget_w)


def shortage_of(table: OptionTable, options: Ints) -> tuple[Shortage, ...]:
    """GPUs to add per accelerator before these options fit."""
    missing = table.rows.gpus_missing(table.total_use(options))
    return tuple(Shortage(name, gpus) for name, gpus in sorted(missing.items()))

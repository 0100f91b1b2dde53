"""Which accelerator is short, and by how many GPUs, where lanes or pools shed."""

from __future__ import annotations

import highspy
import numpy as np

from joulery.optimizer.fallback import smallest_full
from joulery.optimizer.fill.aggregate import counts_at, minimised, modelled
from joulery.optimizer.fill.aggregate_pools import chosen_options
from joulery.optimizer.fill.greed import queued, shortage_of, with_alone
from joulery.optimizer.fill.model import Model
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.problem import Ints
from joulery.optimizer.pruning import smallest_options
from joulery.optimizer.solution import Shortage

# Relative to the GPUs that are missing.
GAP = 1e-3


def gpus_missing(table: LaneTable, service: Service, time_limit_s: float) -> tuple[Shortage, ...]:
    """The fewest GPUs, on nodes of their own, that let lanes and pools be served as well as they can be, planned anew.

    Since new GPUs hold floor(e / s) groups of s and use is whole, packing row s becomes  s (use) - e <= s slots.
    """
    model = Model()
    options = np.zeros(0, dtype=np.int64) if table.pools is None else smallest_options(table.pools.every)
    columns = modelled(table, model, options, has_supply=False)
    for share in columns.served.tolist():
        model.row([(share, 1.0)], 1.0)
    missing = {name: model.column(1.0, highspy.kHighsInf) for name in sorted(set(table.rows.accelerator))}
    rows = zip(table.rows.accelerator, table.rows.size.tolist(), table.rows.slots.tolist(), strict=True)
    for row, (name, size, slots) in enumerate(rows):
        used = [(column, each * size) for column, each in columns.used(table, row) if size]
        model.row([*used, (missing[name], -1.0)], -highspy.kHighsInf, float(size * slots))
    highs = model.passed()
    highs.setOptionValue("mip_rel_gap", GAP)
    cost = np.zeros(len(model.cost))
    cost[list(missing.values())] = 1.0
    point = minimised(highs, cost, time_limit_s, 1)
    if point is None:
        return most_missing(table, service)
    return _told(table, counts_at(table, columns, point), chosen_options(columns.options, point))


def most_missing(table: LaneTable, service: Service) -> tuple[Shortage, ...]:
    """At most what is missing: those that shed take what they would alone, the others stay as they are."""
    counts = with_alone(queued(table.problem), service.counts, service.served)
    if table.pools is None:
        return _told(table, counts, service.options)
    small = smallest_full(table.pools.every)
    return _told(table, counts, np.where(table.pools.sheds(service.options), small, service.options))


def _told(table: LaneTable, counts: Ints, options: Ints) -> tuple[Shortage, ...]:
    used = counts.sum(axis=0) @ table.rows.per_instance
    if table.pools is not None:
        used = used + table.pools.every.total_use(options)
    return shortage_of(table.rows, used)

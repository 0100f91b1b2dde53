"""Which accelerator is short, and by how many GPUs, where lanes shed."""

from __future__ import annotations

import highspy
import numpy as np

from joulery.optimizer.fill.aggregate import Model, Service, counts_at, minimised, modelled
from joulery.optimizer.fill.greed import most_missing, queued, shortage_of
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.solution import Shortage

# Relative to the GPUs that are missing.
GAP = 1e-3


def gpus_missing(table: LaneTable, service: Service, time_limit_s: float) -> tuple[Shortage, ...]:
    """The fewest GPUs, on nodes of their own, that let every lane be served wholly, all lanes planned anew.

    Since new GPUs hold floor(e / s) groups of s and use is whole, packing row s becomes  s (use) - e <= s slots.
    """
    model = Model()
    columns = modelled(table, model, has_supply=False)
    for share in columns.served.tolist():
        model.row([(share, 1.0)], 1.0)
    missing = {name: model.column(1.0, highspy.kHighsInf) for name in sorted(set(table.rows.accelerator))}
    rows = zip(table.rows.accelerator, table.rows.size.tolist(), table.rows.slots.tolist(), strict=True)
    for row, (name, size, slots) in enumerate(rows):
        used = columns.used(table.rows.per_instance[:, row] * size)
        model.row([*used, (missing[name], -1.0)], -highspy.kHighsInf, float(size * slots))
    highs = model.passed()
    highs.setOptionValue("mip_rel_gap", GAP)
    cost = np.zeros(len(model.cost))
    cost[list(missing.values())] = 1.0
    point = minimised(highs, cost, time_limit_s, 1)
    if point is None:
        return most_missing(queued(table.problem), service.counts, service.served)
    return shortage_of(table.rows, counts_at(table, columns, point))

"""Pools that split equally in the textbook model, as rows beneath its own: one binary per option.

choice     sum of x over a pool's options = 1; where nobody may shed, options at its best service only
packing    sum of t n over items + sum of use x over options <= slots
"""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.textbook_rules import Rows
from joulery.optimizer.packing import packing_rows
from joulery.optimizer.problem import Floats, PoolBlock

# Of a planned peak; as much service as the best.
SERVED_TOLERANCE = 1e-9


def add_pools(rows: Rows, problem: LaneProblem, unit_w: float, *, may_shed: bool) -> list[tuple[int, float]]:
    """Add all pools and the packing of items and options together; returns starts by column.

    An item's instances are the column of its place among all items.
    """
    if not problem.pools:
        return []
    packing = packing_rows(problem.kinds, problem.supplies, problem.quotas)
    kinds = np.concatenate([lane.kind for lane in problem.lanes])
    used = [list(enumerate(packing.per_instance[kinds, row].tolist())) for row in range(len(packing.slots))]
    starts: list[tuple[int, float]] = []
    for pool in problem.pools:
        columns = _add_options(rows, pool, unit_w, may_shed=may_shed)
        started = np.zeros(len(pool)) if pool.starts is None else pool.starts
        starts += zip(columns, started.tolist(), strict=True)
        use = packing.per_instance[pool.kind] * pool.count[:, None]
        for row, entries in enumerate(used):
            entries.extend(zip(columns, use[:, row].tolist(), strict=True))
    for entries, slots in zip(used, packing.slots.tolist(), strict=True):
        rows.add([(column, -float(groups)) for column, groups in entries if groups], -float(slots))
    return starts


def _add_options(rows: Rows, pool: PoolBlock, unit_w: float, *, may_shed: bool) -> list[int]:
    cost = ((pool.watts + pool.switch_w) / unit_w).tolist()
    columns = [rows.column(each, is_whole=True) for each in cost]
    allowed = (pool.served >= pool.served.max() - SERVED_TOLERANCE) | may_shed
    chosen = [(column, 1.0) for column, is_one in zip(columns, allowed.tolist(), strict=True) if is_one]
    rows.add(chosen, 1.0)
    rows.add([(column, -1.0) for column in columns], -1.0)
    rows.options.append(columns)
    return columns


def served_by_options(rows: Rows, problem: LaneProblem, priority: float, columns: int) -> Floats:
    """What each column of the model serves of the pools of one weight."""
    served = np.zeros(columns)
    for pool, of_pool in zip(problem.pools, rows.options, strict=True):
        if pool.weight == priority:
            served[of_pool] = pool.served
    return served


def options_at(rows: Rows, point: Floats) -> tuple[int, ...]:
    """The option of each pool at a solver's point."""
    return tuple(int(np.argmax(point[np.array(columns, dtype=int)])) for columns in rows.options)

"""Where prices leave a gap: whole counts of some lanes at clocks that mix, beside choices of the others.

    n_k   integer, instances of kind k        m_kj   of them, at hull point j: (0, idle) or (capacity, full cost)
    x_c   binary, configuration c of a lane that is not counted, or option of a pool

    min  sum of cost_kj m_kj + sum of cost_c x_c
         sum over j of m_kj = n_k,   sum of capacity_kj m_kj >= 1 per counted lane,   sum of x_c = 1 per other
         sum of t n + sum of use_c x_c <= slots

At given prices a lane of many instances is wholly on the kind that is cheaper for it, however little that is, and a
choice among such configurations misses the supply by far where one lane is much of the fleet. Here its instances are
split as finely as they come. Clocks are convexified, so only an instance or two of a lane are off; the counts then get
the clocks that are best for them.

As clocks mix, the model is a bound too: on every plan with these configurations, and on every plan at all where all
lanes are counted. What lanes ask of their instances are rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import highspy
import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.fill.finish import Finished
from joulery.optimizer.fill.kernel_compiled import PARTIAL
from joulery.optimizer.fill.model import Model
from joulery.optimizer.fill.model_rules import add_asked, add_switching, most_needed
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.settled import settled
from joulery.optimizer.fill.table import Configured, LaneTable, counts_of
from joulery.optimizer.fill.whole import Chosen
from joulery.optimizer.lp import PRIMAL_FEASIBLE
from joulery.optimizer.problem import Floats, Ints

GAP = 1e-4
# Of a bound, by which rows that hold to a millionth may be off.
ROUNDING = 1e-6


@dataclass(slots=True)
class _Columns:
    """Where the model has instances (by `(lane, kind)`), their starts, and configurations (in order)."""

    counts: dict[tuple[int, int], int] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


def convexified(
    table: LaneTable, is_counted: NDArray[np.bool_], others: Configured, time_limit_s: float
) -> Finished:
    """The best counts and choices; none where HiGHS has no point, or its counts carry too little.

    And what any plan of these configurations costs at least.

    Args:
        is_counted: of each lane; all of them where lanes have rules.
        others: configurations to choose from, at least one of each lane that is not counted and of each pool.
        time_limit_s: seconds for HiGHS, whose best point by then counts.
    """
    model, columns = Model(), _Columns()
    for lane in np.flatnonzero(is_counted).tolist():
        of_lane = _add_counted(table, model, lane)
        columns.counts |= {(lane, kind): column for kind, column in of_lane.items()}
        columns.starts += add_switching(table, model, lane, of_lane)
    _add_others(model, columns, others)
    for row, slots in enumerate(table.rows.slots.tolist()):
        use = _used(table, row, columns, others)
        if use:
            model.row(use, -highspy.kHighsInf, float(slots))
    point, bound = _solved(model, time_limit_s)
    chosen = None if point is None else _with_clocks(table, columns, others, point)
    return Finished(chosen, bound - ROUNDING * abs(bound))


def _used(table: LaneTable, row: int, columns: _Columns, others: Configured) -> list[tuple[int, float]]:
    """Entries of a packing row, or that of starts."""
    chosen = [(c, use) for c, use in zip(columns.others, others.use[:, row].tolist(), strict=True) if use]
    if table.has_limited_starts and row == len(table.rows.slots) - 1:
        return [*chosen, *((column, 1.0) for column in columns.starts)]
    per_instance = table.rows.per_instance[:, row]
    counts = columns.counts.items()
    return [*chosen, *((c, float(per_instance[kind])) for (_, kind), c in counts if per_instance[kind])]


def _kinds(table: LaneTable, lane: int) -> Iterator[tuple[int, Floats, Floats]]:
    """Each kind and its hull: capacity and cost of its points, that without load first."""
    hulls = table.searched.hulls
    part = slice(int(hulls.at[lane]), int(hulls.at[lane + 1]))
    for kind in np.unique(hulls.kind[part]).tolist():
        own = hulls.kind[part] == kind
        idle = hulls.idle[lane, kind]
        capacity = np.cumsum(hulls.length[part][own])
        cost = idle + np.cumsum(hulls.rise[part][own])
        yield kind, np.append(0.0, capacity), np.append(idle, cost)


def _add_counted(table: LaneTable, model: Model, lane: int) -> dict[int, int]:
    """Columns of a lane's instances and rows of what it asks of them; returns those of counts by kind."""
    found: dict[int, int] = {}
    load: list[tuple[int, float]] = []
    for kind, capacity, cost in _kinds(table, lane):
        most = most_needed(table, lane, kind, float(capacity[1]))
        found[kind] = model.column(0.0, most, is_whole=True)
        points = [model.column(each, most) for each in cost.tolist()]
        model.row([(found[kind], -1.0), *((point, 1.0) for point in points)], 0.0, 0.0)
        load += zip(points[1:], capacity[1:].tolist(), strict=True)
    model.row(load, 1.0)
    if table.has_rules:
        served = model.column(0.0, 1.0)
        model.row([(served, 1.0)], 1.0)
        add_asked(table, model, lane, served, found)
    return found


def _add_others(model: Model, columns: _Columns, others: Configured) -> None:
    """Columns of configurations, and a row for each lane and pool that they are of."""
    of_block: dict[int, list[int]] = {}
    for block, cost in zip(others.lane.tolist(), others.cost.tolist(), strict=True):
        column = model.column(cost, 1.0, is_whole=True)
        columns.others.append(column)
        of_block.setdefault(block, []).append(column)
    for of_it in of_block.values():
        model.row([(column, 1.0) for column in of_it], 1.0, 1.0)


def _solved(model: Model, time_limit_s: float) -> tuple[Floats | None, float]:
    """The best point and what any point costs at least."""
    highs = model.passed()
    highs.changeColsCost(len(model.cost), np.arange(len(model.cost), dtype=np.int32), np.array(model.cost))
    highs.setOptionValue("mip_rel_gap", GAP)
    highs.setOptionValue("time_limit", time_limit_s)
    if highs.run() == highspy.HighsStatus.kError:
        return None, -np.inf
    info = highs.getInfo()
    is_bound = highs.getModelStatus() in {
        highspy.HighsModelStatus.kOptimal,
        highspy.HighsModelStatus.kTimeLimit,
    }
    bound = float(info.mip_dual_bound) if is_bound else -np.inf
    has_point = info.primal_solution_status == PRIMAL_FEASIBLE
    return np.array(highs.getSolution().col_value) if has_point else None, bound


def _with_clocks(table: LaneTable, columns: _Columns, others: Configured, point: Floats) -> Chosen | None:
    number: Ints = np.zeros((table.lanes, len(table.problem.kinds)), dtype=np.int64)
    for (lane, kind), column in columns.counts.items():
        number[lane, kind] = round(float(point[column]))
    taken = others.taken(np.flatnonzero(point[columns.others] > 0.5))
    of_lanes = taken.taken(np.flatnonzero(taken.lane < table.lanes))
    number[of_lanes.lane] = counts_of(table, of_lanes.recipe)
    of_pools = taken.taken(np.flatnonzero(taken.lane >= table.lanes))
    options = of_pools.recipe[np.argsort(of_pools.lane), PARTIAL]
    found = settled(table, Service(number, np.ones(table.lanes), options, is_proven=False))
    return None if found is None else Chosen(found, table.plan_cost(found))

"""A second candidate for few lanes of many instances: whole counts, clocks that may be mixed.

    n_k   integer, instances of kind k        m_kj   of them, at hull point j: (0, idle) or (capacity, full cost)

    min  sum of cost_kj m_kj      sum over j of m_kj = n_k,   sum of capacity_kj m_kj >= 1 per lane,   t n <= slots

Clocks are convexified, so only an instance or two of a lane are off, which weighs little where there are dozens; the
counts then get the clocks that are best for them. Only kinds and points near the best at known prices are looked at:
for lanes of few instances that leaves out too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import highspy
import numpy as np

from joulery.optimizer.fill.model import Model
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.settled import settled
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.fill.whole import Chosen
from joulery.optimizer.lp import PRIMAL_FEASIBLE
from joulery.optimizer.problem import Floats, Ints

# Cost per load of a kind over that of the lane's best, at the prices; and points of a hull round the kind's best.
NEAR_KIND, NEAR_POINTS = 1.15, 7
GAP = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """Points of one kind of a lane's instances, by rising capacity, and the best of them at some prices."""

    kind: int
    capacity: Floats
    cost: Floats
    best: int
    per_load: float


def convexified(table: LaneTable, prices: Floats, time_limit_s: float) -> Chosen | None:
    """The best counts and their best clocks; None where HiGHS has no point, or its counts carry too little.

    Args:
        table: lanes alone, which ask nothing of their instances.
        prices: of each packing row, at which kinds and clocks are compared.
        time_limit_s: seconds for HiGHS, whose best point by then counts.
    """
    model = Model()
    counts: dict[tuple[int, int], int] = {}
    for lane in range(table.lanes):
        kinds = list(_kinds(table, lane, table.rows.per_instance @ prices))
        least = min(kind.per_load for kind in kinds)
        near = [kind for kind in kinds if kind.per_load <= NEAR_KIND * least]
        counts |= {(lane, kind): column for kind, column in _add_lane(model, near).items()}
    for row, slots in enumerate(table.rows.slots.tolist()):
        per_instance = table.rows.per_instance[:, row]
        use = [(c, float(per_instance[kind])) for (_, kind), c in counts.items() if per_instance[kind]]
        if use:
            model.row(use, -highspy.kHighsInf, float(slots))
    point = _solved(model, time_limit_s)
    return None if point is None else _with_clocks(table, counts, point)


def _kinds(table: LaneTable, lane: int, price: Floats) -> Iterator[_Kind]:
    """Each kind's hull, whose segments are by rising slope in any order of kinds."""
    hulls = table.searched.hulls
    part = slice(int(hulls.at[lane]), int(hulls.at[lane + 1]))
    for kind in np.unique(hulls.kind[part]).tolist():
        own = hulls.kind[part] == kind
        capacity = np.cumsum(hulls.length[part][own])
        cost = hulls.idle[lane, kind] + np.cumsum(hulls.rise[part][own])
        value = (cost + price[kind]) / capacity
        best = int(value.argmin())
        yield _Kind(
            kind,
            np.concatenate([[0.0], capacity]),
            np.concatenate([[hulls.idle[lane, kind]], cost]),
            best + 1,
            float(value[best]),
        )


def _add_lane(model: Model, kinds: list[_Kind]) -> dict[int, int]:
    """Columns of a lane, and its rows; returns those of counts by kind."""
    found, load = {}, []
    for kind in kinds:
        most = float(np.ceil(1.0 / kind.capacity[kind.best])) + 1.0
        found[kind.kind] = count = model.column(0.0, most, is_whole=True)
        entries = [(count, -1.0)]
        for place in _near(kind):
            column = model.column(float(kind.cost[place]), most)
            entries.append((column, 1.0))
            load.append((column, float(kind.capacity[place])))
        model.row(entries, 0.0, 0.0)
    model.row([entry for entry in load if entry[1]], 1.0)
    return found


def _near(kind: _Kind) -> list[int]:
    """Places of points: without load, round the best, and the highest clock, which carries most."""
    last = len(kind.capacity) - 1
    low, high = max(1, kind.best - NEAR_POINTS), min(last, kind.best + NEAR_POINTS)
    return sorted({0, *range(low, high + 1), last})


def _solved(model: Model, time_limit_s: float) -> Floats | None:
    highs = model.passed()
    highs.changeColsCost(len(model.cost), np.arange(len(model.cost), dtype=np.int32), np.array(model.cost))
    highs.setOptionValue("mip_rel_gap", GAP)
    highs.setOptionValue("time_limit", time_limit_s)
    if highs.run() == highspy.HighsStatus.kError:
        return None
    if highs.getInfo().primal_solution_status != PRIMAL_FEASIBLE:
        return None
    return np.array(highs.getSolution().col_value)


def _with_clocks(table: LaneTable, counts: dict[tuple[int, int], int], point: Floats) -> Chosen | None:
    number: Ints = np.zeros((table.lanes, len(table.problem.kinds)), dtype=np.int64)
    for (lane, kind), column in counts.items():
        number[lane, kind] = round(float(point[column]))
    found = settled(
        table, Service(number, np.ones(table.lanes), np.zeros(0, dtype=np.int64), is_proven=False)
    )
    return None if found is None else Chosen(found, table.plan_cost(found))

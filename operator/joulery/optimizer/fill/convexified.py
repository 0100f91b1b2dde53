"""A second candidate for few lanes of many instances, or that ask much of them: whole counts, clocks may be mixed.

    n_k   integer, instances of kind k        m_kj   of them, at hull point j: (0, idle) or (capacity, full cost)

    min  sum of cost_kj m_kj      sum over j of m_kj = n_k,   sum of capacity_kj m_kj >= 1 per lane,   t n <= slots

Clocks are convexified, so only an instance or two of a lane are off, which weighs little where there are dozens; the
counts then get the clocks that are best for them. Only kinds and points near the best at known prices are looked at:
for lanes of few instances that leaves out too much.

Where lanes ask more of their instances than to carry the load, bounds at prices are weak, and what is cheapest per load
tells little. Then all kinds and points are looked at, with the rules as rows, and the model is a bound itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import highspy
import numpy as np

from joulery.optimizer.fill.finish import Finished
from joulery.optimizer.fill.model import Model
from joulery.optimizer.fill.model_rules import add_asked, add_switching, most_needed
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.settled import settled
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.fill.whole import Chosen
from joulery.optimizer.lp import PRIMAL_FEASIBLE
from joulery.optimizer.problem import Floats, Ints

# Cost per load of a kind over that of the lane's best, at the prices; and points of a hull round the kind's best.
NEAR_KIND, NEAR_POINTS = 1.15, 7
GAP = 1e-4
# Of a bound, by which rows that hold to a millionth may be off.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """Points of one kind of a lane's instances, by rising capacity, and the best of them at some prices."""

    kind: int
    capacity: Floats
    cost: Floats
    best: int
    per_load: float


def convexified(table: LaneTable, prices: Floats, time_limit_s: float) -> Finished:
    """The best counts and their best clocks; none where HiGHS has no point, or its counts carry too little.

    And what any plan costs at least, as far as that is known.

    Args:
        table: lanes alone.
        prices: of each packing row, at which kinds and clocks are compared.
        time_limit_s: seconds for HiGHS, whose best point by then counts.
    """
    model = Model()
    counts: dict[tuple[int, int], int] = {}
    starts: list[int] = []
    for lane in range(table.lanes):
        kinds = list(_kinds(table, lane, table.rows.per_instance @ prices))
        of_lane = _add_asking(table, model, lane, kinds) if table.has_rules else _add_near(model, kinds)
        counts |= {(lane, kind): column for kind, column in of_lane.items()}
        starts += add_switching(table, model, lane, of_lane)
    for row, slots in enumerate(table.rows.slots.tolist()):
        use = _used(table, row, counts, starts)
        if use:
            model.row(use, -highspy.kHighsInf, float(slots))
    point, bound = _solved(model, time_limit_s)
    chosen = None if point is None else _with_clocks(table, counts, point)
    return Finished(chosen, bound * (1.0 - ROUNDING) if table.has_rules else -np.inf)


def _used(
    table: LaneTable, row: int, counts: dict[tuple[int, int], int], starts: list[int]
) -> list[tuple[int, float]]:
    """Entries of a packing row, or that of starts."""
    if table.has_limited_starts and row == len(table.rows.slots) - 1:
        return [(column, 1.0) for column in starts]
    per_instance = table.rows.per_instance[:, row]
    return [(c, float(per_instance[kind])) for (_, kind), c in counts.items() if per_instance[kind]]


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


def _add_near(model: Model, kinds: list[_Kind]) -> dict[int, int]:
    """Columns of a lane that asks nothing, and its rows; returns those of counts by kind."""
    least = min(kind.per_load for kind in kinds)
    found: dict[int, int] = {}
    load: list[tuple[int, float]] = []
    for kind in (kind for kind in kinds if kind.per_load <= NEAR_KIND * least):
        most = float(np.ceil(1.0 / kind.capacity[kind.best])) + 1.0
        found[kind.kind] = _add_kind(model, kind, _near(kind), most, load)
    model.row([entry for entry in load if entry[1]], 1.0)
    return found


def _add_asking(table: LaneTable, model: Model, lane: int, kinds: list[_Kind]) -> dict[int, int]:
    """The same of a lane with rules, all its kinds and points."""
    found: dict[int, int] = {}
    load: list[tuple[int, float]] = []
    for kind in kinds:
        most = most_needed(table, lane, kind.kind, float(kind.capacity[1]))
        found[kind.kind] = _add_kind(model, kind, list(range(len(kind.capacity))), most, load)
    model.row([entry for entry in load if entry[1]], 1.0)
    served = model.column(0.0, 1.0)
    model.row([(served, 1.0)], 1.0)
    add_asked(table, model, lane, served, found)
    return found


def _add_kind(
    model: Model, kind: _Kind, places: list[int], most: float, load: list[tuple[int, float]]
) -> int:
    """The column of a kind's instances, and those of its points, whose load is added."""
    count = model.column(0.0, most, is_whole=True)
    entries = [(count, -1.0)]
    for place in places:
        column = model.column(float(kind.cost[place]), most)
        entries.append((column, 1.0))
        load.append((column, float(kind.capacity[place])))
    model.row(entries, 0.0, 0.0)
    return count


def _near(kind: _Kind) -> list[int]:
    """Places of points: without load, round the best, and the highest clock, which carries most."""
    last = len(kind.capacity) - 1
    low, high = max(1, kind.best - NEAR_POINTS), min(last, kind.best + NEAR_POINTS)
    return sorted({0, *range(low, high + 1), last})


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


def _with_clocks(table: LaneTable, counts: dict[tuple[int, int], int], point: Floats) -> Chosen | None:
    number: Ints = np.zeros((table.lanes, len(table.problem.kinds)), dtype=np.int64)
    for (lane, kind), column in counts.items():
        number[lane, kind] = round(float(point[column]))
    found = settled(
        table, Service(number, np.ones(table.lanes), np.zeros(0, dtype=np.int64), is_proven=False)
    )
    return None if found is None else Chosen(found, table.plan_cost(found))

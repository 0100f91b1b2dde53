"""The models that one would write first, as arrays for HiGHS: the oracle, and what `columns` is measured against.

    O  items of all lanes      n_o  integer, instances      x_o  load of them      C, a, b  capacity, idle, slope

    textbook             min a n + b x    sum of x per lane = 1,  x_o <= C_o n_o,  t n <= slots
    textbook-partial     min w z + a y + b x    sum of C z + x per lane = 1,  sum of y per lane <= 1,
                         x_o <= min(C_o, 1) y_o,  t (z + y) <= slots

The second has the same optimum: with affine power all instances of a lane but one are full in some optimum. It
knows no rules of lanes (see `textbook_rules`) and no pools (see `textbook_pools`); a problem with any takes the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import Group, LanePlan, refused, written
from joulery.optimizer.fill.textbook_pools import add_pools, options_at, served_by_options
from joulery.optimizer.fill.textbook_rules import Rows, most_instances, rule_rows
from joulery.optimizer.lp import PRIMAL_FEASIBLE, quiet
from joulery.optimizer.packing import packing_rows
from joulery.optimizer.problem import Floats, Ints

# Relative gap asked for: an oracle has to be nearer than what is held against it.
GAP = 1e-6
LEAST_INSTANCES = 0.5
# Shares that a stage may lose against an earlier one: HiGHS's own feasibility tolerance.
SHED_SLACK = 1e-6
# Of a lane's load; less than this is what rounding left, of an instance that is kept without load.
LEAST_SHARE = 1e-6
# Of a lane's load; HiGHS sheds less than this by rounding alone.
LEAST_SHED = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class _Items:
    owner: Ints
    place: Ints
    capacity: Floats
    idle: Floats
    slope: Floats
    groups: NDArray[np.float64]
    slots: Ints
    unit_w: float
    most: Floats

    def __len__(self) -> int:
        return len(self.owner)


def by_textbook(problem: LaneProblem, time_limit_s: float, *, has_one_partial: bool) -> LanePlan:
    """The plan of HiGHS within its time; refused where it has none that can be believed."""
    engine = "textbook-partial" if has_one_partial else "textbook"
    items = _items(problem)
    lanes = len(problem.lanes)
    rules = _rules(problem, items, may_shed=False)
    has_one_partial = has_one_partial and not rules.least
    model = _partial_model(items, lanes) if has_one_partial else _plain_model(items, lanes, rules)
    highs = _with(model, time_limit_s)
    if highs.run() == highspy.HighsStatus.kError:
        return refused("HiGHS ended in an error", engine)
    if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return _shedding(problem, items, time_limit_s)
    if highs.getInfo().primal_solution_status != PRIMAL_FEASIBLE:
        return refused(f"HiGHS has no plan: {highs.getModelStatus()}", engine)
    every = np.array(highs.getSolution().col_value)
    point = every[: (3 if has_one_partial else 2) * len(items)]
    groups = _groups(items, lanes, point, has_one_partial=has_one_partial)
    bound_w = float(highs.getInfo().mip_dual_bound) * items.unit_w
    options = options_at(rules, every)
    return written(problem, groups, bound_w, gap=2 * GAP, engine=engine, options=options)


def _rules(problem: LaneProblem, items: _Items, *, may_shed: bool) -> Rows:
    """What lanes ask, and pools beside them."""
    number = len(items)
    rules, starts = rule_rows(problem, 2 * number, items.unit_w, number if may_shed else None)
    starts += add_pools(rules, problem, items.unit_w, may_shed=may_shed)
    if problem.max_starts is not None:
        rules.add([(column, -each) for column, each in starts if each], -float(problem.max_starts))
    return rules


def _with(model: highspy.HighsLp, time_limit_s: float) -> highspy.Highs:
    highs = quiet()
    highs.setOptionValue("mip_rel_gap", GAP)
    highs.setOptionValue("time_limit", time_limit_s)
    highs.passModel(model)
    return highs


def _shedding(problem: LaneProblem, items: _Items, time_limit_s: float) -> LanePlan:
    """The same with lanes that may serve less: most served by falling weight, then the least cost."""
    lanes, number = len(problem.lanes), len(items)
    rules = _rules(problem, items, may_shed=True)
    model = _plain_model(items, lanes, rules)
    least = np.array(model.row_lower_)
    least[:lanes] = 0.0
    model.row_lower_ = least
    cost, highs = np.array(model.col_cost_), _with(model, time_limit_s)
    weight = np.array([lane.weight for lane in problem.lanes])
    of_pools = [pool.weight for pool in problem.pools]
    for priority in np.unique([*weight.tolist(), *of_pools])[::-1].tolist():
        served = served_by_options(rules, problem, priority, len(cost))
        served[number + np.flatnonzero(weight[items.owner] == priority)] = 1.0
        if not _solved(highs, -served):
            return refused(f"HiGHS has no plan: {highs.getModelStatus()}", "textbook")
        reached, of_it = -float(highs.getInfo().objective_function_value), np.flatnonzero(served)
        highs.addRow(reached - SHED_SLACK, highspy.kHighsInf, len(of_it), of_it, served[of_it])
    if not _solved(highs, cost):
        return refused(f"HiGHS has no plan: {highs.getModelStatus()}", "textbook")
    point = np.array(highs.getSolution().col_value)
    groups = _groups(items, lanes, point[: 2 * number], has_one_partial=False)
    shed = tuple(max(0.0, 1.0 - sum(g.instances * g.share for g in chosen)) for chosen in groups)
    bound_w = float(highs.getInfo().mip_dual_bound) * items.unit_w
    options = options_at(rules, point)
    return written(problem, groups, bound_w, gap=2 * GAP, engine="textbook", shed=shed, options=options)


def _solved(highs: highspy.Highs, cost: Floats) -> bool:
    """Whether a least cost is known to the gap."""
    highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
    ran = highs.run() != highspy.HighsStatus.kError
    is_optimal = highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return ran and is_optimal and bool(highs.getInfo().primal_solution_status == PRIMAL_FEASIBLE)


def _items(problem: LaneProblem) -> _Items:
    rows = packing_rows(problem.kinds, problem.supplies, problem.quotas)
    lanes = problem.lanes
    capacity = np.concatenate([lane.capacity for lane in lanes])
    idle, full = np.concatenate([n.idle_w for n in lanes]), np.concatenate([n.full_w for n in lanes])
    unit_w = float(np.mean([(n.full_w / n.capacity).min() for n in lanes])) or 1.0
    return _Items(
        owner=np.repeat(np.arange(len(lanes)), [len(lane) for lane in lanes]),
        place=np.concatenate([np.arange(len(lane)) for lane in lanes]),
        capacity=capacity,
        idle=idle / unit_w,
        slope=(full - idle) / capacity / unit_w,
        groups=rows.per_instance[np.concatenate([lane.kind for lane in lanes])].astype(np.float64),
        slots=rows.slots,
        unit_w=unit_w,
        most=np.concatenate([most_instances(lane) for lane in lanes]),
    )


def _plain_model(items: _Items, lanes: int, rules: Rows) -> highspy.HighsLp:
    """Columns n then x, then those of the rules; rows lanes, links, packing, rules."""
    number = len(items)
    from scipy import sparse  # type: ignore[import-untyped]

    select = sparse.csr_array((np.ones(number), (items.owner, np.arange(number))), shape=(lanes, number))
    matrix = sparse.block_array(
        [
            [None, select],
            [sparse.diags_array(-items.capacity), sparse.eye_array(number)],
            [sparse.csr_array(items.groups.T), None],
        ],
        format="csc",
    )
    row, column, value = zip(*rules.entries, strict=True) if rules.entries else ((), (), ())
    new = len(rules.cost)
    beneath = sparse.csr_array(
        (np.array(value, dtype=np.float64), (np.array(row, dtype=int), np.array(column, dtype=int))),
        shape=(len(rules.least), 2 * number + new),
    )
    beside = sparse.csr_array((matrix.shape[0], new))
    matrix = sparse.vstack([sparse.hstack([matrix, beside]), beneath], format="csc")
    infinite = highspy.kHighsInf
    lower = np.concatenate([np.ones(lanes), np.full(number + len(items.slots), -infinite), rules.least])
    upper = np.concatenate(
        [np.ones(lanes), np.zeros(number), items.slots, np.full(len(rules.least), infinite)]
    )
    whole = np.concatenate([np.arange(2 * number) < number, np.array(rules.is_whole, dtype=bool)])
    most = np.where(rules.is_whole, 1.0, infinite)
    columns_upper = np.concatenate([items.most, np.ones(number), most])
    return _model(
        matrix, np.concatenate([items.idle, items.slope, rules.cost]), columns_upper, lower, upper, whole
    )


def _partial_model(items: _Items, lanes: int) -> highspy.HighsLp:
    """Columns z, y, x; rows lanes' load, lanes' single partial instance, links, packing."""
    number = len(items)
    from scipy import sparse

    select = sparse.csr_array((np.ones(number), (items.owner, np.arange(number))), shape=(lanes, number))
    most = np.minimum(items.capacity, 1.0)
    groups = sparse.csr_array(items.groups.T)
    matrix = sparse.block_array(
        [
            [select @ sparse.diags_array(items.capacity), None, select],
            [None, select, None],
            [None, sparse.diags_array(-most), sparse.eye_array(number)],
            [groups, groups, None],
        ],
        format="csc",
    )
    infinite = highspy.kHighsInf
    lower = np.concatenate([np.ones(lanes), np.full(lanes + number + len(items.slots), -infinite)])
    upper = np.concatenate([np.ones(lanes), np.ones(lanes), np.zeros(number), items.slots])
    cost = np.concatenate([items.idle + items.slope * items.capacity, items.idle, items.slope])
    columns_upper = np.concatenate([np.floor(1.0 / items.capacity), np.ones(number), most])
    return _model(matrix, cost, columns_upper, lower, upper, np.arange(3 * number) < 2 * number)


def _model(
    matrix: object, cost: Floats, most: Floats, lower: Floats, upper: Floats, whole: NDArray[np.bool_]
) -> highspy.HighsLp:
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(cost), len(lower)
    model.col_cost_, model.col_lower_, model.col_upper_ = cost, np.zeros(len(cost)), most
    model.row_lower_, model.row_upper_ = lower, upper
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr, matrix.indices  # type: ignore[attr-defined]
    model.a_matrix_.value_ = matrix.data  # type: ignore[attr-defined]
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    model.integrality_ = [kinds[int(is_whole)] for is_whole in whole]
    return model


def _groups(
    items: _Items, lanes: int, point: Floats, *, has_one_partial: bool
) -> tuple[tuple[Group, ...], ...]:
    """Instances by lane; loads are scaled to one, since HiGHS meets its rows to 1e-7 only."""
    number = len(items)
    full = np.rint(point[:number]) if has_one_partial else np.zeros(number)
    odd = np.rint(point[number : 2 * number] if has_one_partial else point[:number])
    load = np.maximum(0.0, point[-number:])
    found: list[list[tuple[int, int, float]]] = [[] for _ in range(lanes)]
    for o in np.flatnonzero((full > LEAST_INSTANCES) | (odd > LEAST_INSTANCES)).tolist():
        lane, place, capacity = int(items.owner[o]), int(items.place[o]), float(items.capacity[o])
        if full[o] > LEAST_INSTANCES:
            found[lane].append((place, int(full[o]), capacity))
        if odd[o] > LEAST_INSTANCES:
            share = float(load[o] / odd[o])
            found[lane].append((place, int(odd[o]), min(capacity, share) if share > LEAST_SHARE else 0.0))
    return tuple(_scaled(groups) for groups in found)


def _scaled(groups: list[tuple[int, int, float]]) -> tuple[Group, ...]:
    """Shares that carry exactly one, or what is served: what rounding left over goes where there is room."""
    shares = [share for _, _, share in groups]
    over = sum(n * share for _, n, share in groups) - 1.0
    if over < -LEAST_SHED:
        over = 0.0
    last = (
        min(range(len(groups)), key=lambda g: (shares[g] < LEAST_SHARE, groups[g][1], shares[g]))
        if groups
        else -1
    )
    if groups:
        shares[last] -= over / groups[last][1]
    return tuple(Group(item, n, share) for (item, n, _), share in zip(groups, shares, strict=True))

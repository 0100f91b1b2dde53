"""The stages of `milp` and of the shortage as arrays for HiGHS: the same models, without a modelling layer.

cvxpy needs half a second to load and milliseconds to compile, all of it before HiGHS looks at a clock. Under a
deadline that is too long, so `columns` leaves shedding to these; the tests hold them to the readable form.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from joulery.optimizer.highs import Limits, NoAnswer, Outcome, chosen_places, doubt, out_of_time
from joulery.optimizer.lp import PRIMAL_FEASIBLE, Columns, quiet
from joulery.optimizer.milp import Answer, ExtraRow, Stage
from joulery.optimizer.nodes import Nodes, no_nodes
from joulery.optimizer.packing import PackingRows
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.pruning import smallest_options
from joulery.optimizer.shortage import shortage_of
from joulery.optimizer.solution import Shortage
from joulery.optimizer.table import OptionTable

_STATUS = {
    highspy.HighsModelStatus.kOptimal: "optimal",
    highspy.HighsModelStatus.kTimeLimit: "user_limit",
    highspy.HighsModelStatus.kInfeasible: "infeasible",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """min cost x + sum of y's cost e,  one x per pool,  use x + use_y y <= limit;  x whole.

    Attributes:
        limit: right-hand side of each row that pools share.
        beside: columns y: GPUs that are missing, of any number, or nodes left off, whole ones.
        is_whole: whether y is.
    """

    columns: Columns
    pools: int
    limit: Floats
    beside: Nodes
    is_whole: bool = False

    def passed_to(self, highs: highspy.Highs) -> None:
        """Hand it to a HiGHS object: the columns of x, then those of y."""
        number, extra, rows = len(self.columns), len(self.beside.cost), len(self.limit)
        starts, index, value = self.columns.sparse(self.pools)
        starts_y, index_y, value_y = self.beside.sparse(self.pools)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = number + extra, self.pools + rows
        lp.offset_ = self.beside.all_on if self.is_whole else 0.0
        lp.col_cost_ = np.concatenate([self.columns.cost, -self.beside.cost])
        lp.col_lower_ = np.zeros(number + extra)
        lp.col_upper_ = np.concatenate([np.ones(number), self.beside.most])
        lp.row_lower_ = np.concatenate([np.ones(self.pools), np.full(rows, -highspy.kHighsInf)])
        lp.row_upper_ = np.concatenate([np.ones(self.pools), self.limit])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        ends = [len(value) + len(value_y)]
        lp.a_matrix_.start_ = np.concatenate([starts, len(value) + starts_y, ends]).astype(np.int32)
        lp.a_matrix_.index_ = np.concatenate([index, index_y])
        lp.a_matrix_.value_ = np.concatenate([value, value_y])
        kinds = highspy.HighsVarType
        kind = kinds.kInteger if self.is_whole else kinds.kContinuous
        lp.integrality_ = [kinds.kInteger] * number + [kind] * extra
        highs.passModel(lp)


def array_stage(
    table: OptionTable, options: Ints, stage: Stage, rows: tuple[ExtraRow, ...], limits: Limits
) -> Answer | NoAnswer:
    """Minimise over one option per pool under supply and extra rows, as `milp.solve_stage` does."""
    use = np.column_stack([table.scaled_use(options), *(row.coefficients for row in rows)])
    limit = np.concatenate([table.scaled_slots, [row.limit for row in rows]])
    columns = Columns(table.owner[options], stage.cost, use)
    model = _Model(columns, len(table.start), limit, _nodes(table, stage, len(limit)), is_whole=True)
    outcome, point = _minimised(model, limits)
    places = None if point is None else chosen_places(table, options, point)
    objective = np.nan if places is None else stage.value(table, options, places)
    no_answer = doubt(outcome, objective)
    if no_answer or places is None:
        return no_answer or NoAnswer("HiGHS chose no option for a pool", spent_s=outcome.spent_s)
    return Answer(options[places], min(outcome.bound, objective), outcome.is_proven, outcome.spent_s)


def _nodes(table: OptionTable, stage: Stage, rows: int) -> Nodes:
    """Nodes to leave off where the stage counts them, in rows of which the first are the table's."""
    off = table.rows.left_off
    if off is None or not stage.counts_nodes:
        return no_nodes(rows)
    use = np.zeros((len(off.most), rows))
    use[:, : off.groups.shape[1]] = off.groups
    return Nodes(off.watts / stage.unit_w, off.most.astype(np.float64), use)


def least_missing(columns: Columns, pools: int, rows: PackingRows, limits: Limits) -> Ints | None:
    """Places of one column per pool for which the fewest GPUs, on nodes of their own, have to be added.

    Args:
        columns: their use in groups; their cost does not count.
    """
    whole = Columns(columns.owner, np.zeros(len(columns)), columns.use * rows.size)
    model = _Model(whole, pools, (rows.size * rows.slots).astype(np.float64), _gpus_added(rows))
    outcome, point = _minimised(model, limits)
    if point is None or outcome.status not in {"optimal", "user_limit"}:
        return None
    places = np.flatnonzero(np.rint(point))
    return places if np.array_equal(columns.owner[places], np.arange(pools)) else None


def array_shortage(table: OptionTable, limits: Limits) -> tuple[Shortage, ...] | NoAnswer:
    """The fewest GPUs that let every pool be served as well as its options can, as `least_shortage` does."""
    if late := out_of_time(limits):
        return late
    options = smallest_options(table)
    rows = table.rows
    use = (table.use(options) * rows.size).astype(np.float64)
    columns = Columns(table.owner[options], np.zeros(len(options)), use)
    limit = (rows.size * rows.slots).astype(np.float64)
    model = _Model(columns, len(table.start), limit, _gpus_added(rows))
    outcome, point = _minimised(model, limits)
    places = None if point is None else chosen_places(table, options, point)
    short = () if places is None else shortage_of(table, options[places])
    no_answer = doubt(outcome, float(sum(s.gpus_missing for s in short)))
    if no_answer or places is None:
        return no_answer or NoAnswer("HiGHS chose no option for a pool", spent_s=outcome.spent_s)
    return short


def _gpus_added(rows: PackingRows) -> Nodes:
    """Any number of GPUs of each accelerator, at one each."""
    names = sorted(set(rows.accelerator))
    gives = np.array([[name == owner for owner in rows.accelerator] for name in names], dtype=np.float64)
    return Nodes(np.full(len(names), -1.0), np.full(len(names), highspy.kHighsInf), -gives)


def _minimised(model: _Model, limits: Limits) -> tuple[Outcome, Floats | None]:
    """What HiGHS says, and the x of its point where it has one; looks at the clock once the model is built."""
    highs = quiet()
    model.passed_to(highs)
    left = limits.after(0.0) if limits.stopwatch else limits
    if left.is_over:
        return Outcome("user_limit", has_point=False, claimed=0.0, bound=0.0, spent_s=0.0), None
    highs.setOptionValue("mip_rel_gap", left.relative_gap)
    highs.setOptionValue("time_limit", left.time_limit_s)
    ran = highs.run() != highspy.HighsStatus.kError
    info = highs.getInfo()
    has_point = ran and info.primal_solution_status == PRIMAL_FEASIBLE
    outcome = Outcome(
        status=_STATUS.get(highs.getModelStatus(), str(highs.getModelStatus())) if ran else "error",
        has_point=has_point,
        claimed=float(info.objective_function_value),
        bound=float(info.mip_dual_bound),
        spent_s=float(highs.getRunTime()),
    )
    if not has_point:
        return outcome, None
    return outcome, np.array(highs.getSolution().col_value)[: len(model.columns)]

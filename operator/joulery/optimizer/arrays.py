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
from joulery.optimizer.milp import Answer, ExtraRow
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
    """min cost x + sum e,  one x per pool,  use x - relief e <= limit;  x whole, e >= 0.

    Attributes:
        limit: right-hand side of each row that pools share.
        relief: `[e, row]`, what one e gives to each of them.
    """

    columns: Columns
    pools: int
    limit: Floats
    relief: Floats

    def passed_to(self, highs: highspy.Highs) -> None:
        """Hand it to a HiGHS object: the columns of x, then those of e."""
        extra, rows = self.relief.shape
        number = len(self.columns)
        starts, index, value = self.columns.sparse(self.pools)
        given = self.relief != 0.0
        after = len(value) + np.concatenate([[0], np.cumsum(given.sum(axis=1))])
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = number + extra, self.pools + rows
        lp.col_cost_ = np.concatenate([self.columns.cost, np.ones(extra)])
        lp.col_lower_ = np.zeros(number + extra)
        lp.col_upper_ = np.concatenate([np.ones(number), np.full(extra, highspy.kHighsInf)])
        lp.row_lower_ = np.concatenate([np.ones(self.pools), np.full(rows, -highspy.kHighsInf)])
        lp.row_upper_ = np.concatenate([np.ones(self.pools), self.limit])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = np.concatenate([starts, after]).astype(np.int32)
        lp.a_matrix_.index_ = np.concatenate([index, self.pools + np.nonzero(given)[1]]).astype(np.int32)
        lp.a_matrix_.value_ = np.concatenate([value, -self.relief[given]])
        lp.integrality_ = [highspy.HighsVarType.kInteger] * number + [
            highspy.HighsVarType.kContinuous
        ] * extra
        highs.passModel(lp)


def array_stage(
    table: OptionTable, options: Ints, cost: Floats, rows: tuple[ExtraRow, ...], limits: Limits
) -> Answer | NoAnswer:
    """Minimise `cost @ x` over one option per pool under supply and extra rows, as `milp.solve_stage` does."""
    use = np.column_stack([table.use(options).astype(np.float64), *(row.coefficients for row in rows)])
    limit = np.concatenate([table.rows.slots.astype(np.float64), [row.limit for row in rows]])
    columns = Columns(table.owner[options], cost, use)
    model = _Model(columns, len(table.start), limit, np.zeros((0, len(limit))))
    outcome, point = _minimised(model, limits)
    places = None if point is None else chosen_places(table, options, point)
    no_answer = doubt(outcome, np.nan if places is None else float(cost[places].sum()))
    if no_answer or places is None:
        return no_answer or NoAnswer("HiGHS chose no option for a pool", spent_s=outcome.spent_s)
    bound = min(outcome.bound, float(cost[places].sum()))
    return Answer(options[places], bound, outcome.is_proven, outcome.spent_s)


def array_shortage(table: OptionTable, limits: Limits) -> tuple[Shortage, ...] | NoAnswer:
    """The fewest GPUs that let every pool be served as well as its options can, as `least_shortage` does."""
    if late := out_of_time(limits):
        return late
    options = smallest_options(table)
    rows = table.rows
    names = sorted(set(rows.accelerator))
    relief = np.array([[name == owner for owner in rows.accelerator] for name in names], dtype=np.float64)
    use = (table.use(options) * rows.size).astype(np.float64)
    columns = Columns(table.owner[options], np.zeros(len(options)), use)
    model = _Model(columns, len(table.start), (rows.size * rows.slots).astype(np.float64), relief)
    outcome, point = _minimised(model, limits)
    places = None if point is None else chosen_places(table, options, point)
    short = () if places is None else shortage_of(table, options[places])
    no_answer = doubt(outcome, float(sum(s.gpus_missing for s in short)))
    if no_answer or places is None:
        return no_answer or NoAnswer("HiGHS chose no option for a pool", spent_s=outcome.spent_s)
    return short


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

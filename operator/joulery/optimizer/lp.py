"""HiGHS with arrays: one persistent LP to which columns are added, and one-off integer programmes.

A result is believed only when the run, the model and the primal point all say so; `None` is everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from joulery.optimizer.nodes import Nodes, no_nodes
from joulery.optimizer.problem import Floats, Ints

# `HighsInfo.primal_solution_status` of a feasible point.
PRIMAL_FEASIBLE = 2
# `simplex_strategy`: the point stays feasible when columns are added.
PRIMAL = 4


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of `min cost x, sum of x per pool = 1, use x <= slots`.

    Attributes:
        owner: pool of each column.
        cost: objective, near one.
        use: `[column, packing row]`, groups of GPUs.
    """

    owner: Ints
    cost: Floats
    use: Floats

    def __len__(self) -> int:
        return len(self.owner)

    def sparse(self, pools: int) -> tuple[Ints, Ints, Floats]:
        """Column starts, row indices and values: the pool's row first, then the packing rows it uses."""
        dense = np.column_stack([np.ones(len(self)), self.use])
        rows = np.column_stack(
            [self.owner, np.broadcast_to(pools + np.arange(self.use.shape[1]), self.use.shape)]
        )
        keep = dense != 0.0
        starts = np.concatenate([[0], np.cumsum(keep.sum(axis=1))[:-1]])
        return starts.astype(np.int32), rows[keep].astype(np.int32), dense[keep]


@dataclass(frozen=True, slots=True, eq=False)
class MasterPoint:
    """An LP optimum: value, primal point of what was added, GPU prices, groups that are missing.

    `worth` is the dual of each pool's row: what its cheapest column costs at these prices.
    """

    objective: float
    point: Floats
    prices: Floats
    worth: Floats
    missing: float


class Master:
    """The restricted master LP; solving again after `add` starts from the last basis."""

    def __init__(
        self, pools: int, slots: Ints | Floats, elastic_cost: float, nodes: Nodes | None = None
    ) -> None:
        self._pools = pools
        self._rows = len(slots)
        elastic = highspy.HighsLp()
        elastic.num_col_, elastic.num_row_ = self._rows, pools + self._rows
        elastic.col_cost_ = np.full(self._rows, elastic_cost)
        elastic.col_lower_, elastic.col_upper_ = np.zeros(self._rows), np.full(self._rows, highspy.kHighsInf)
        elastic.row_lower_ = np.concatenate([np.ones(pools), np.full(self._rows, -highspy.kHighsInf)])
        elastic.row_upper_ = np.concatenate([np.ones(pools), slots.astype(np.float64)])
        elastic.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        elastic.a_matrix_.start_ = np.arange(self._rows + 1, dtype=np.int32)
        elastic.a_matrix_.index_ = pools + np.arange(self._rows, dtype=np.int32)
        elastic.a_matrix_.value_ = np.full(self._rows, -1.0)
        self._highs = quiet()
        self._highs.setOptionValue("presolve", "off")
        self._highs.setOptionValue("solver", "simplex")
        self._highs.setOptionValue("simplex_strategy", PRIMAL)
        self._highs.passModel(elastic)
        self._before = self._rows
        if nodes is not None and len(nodes.cost):
            self._before += len(nodes.cost)
            self._highs.changeObjectiveOffset(nodes.all_on)
            starts, index, value = nodes.sparse(pools)
            self._highs.addCols(
                len(nodes.cost),
                -nodes.cost,
                np.zeros(len(nodes.cost)),
                nodes.most,
                len(value),
                starts,
                index,
                value,
            )

    def add(self, columns: Columns) -> None:
        """Add columns with bounds 0 and infinity."""
        starts, index, value = columns.sparse(self._pools)
        number = len(columns)
        upper = np.full(number, highspy.kHighsInf)
        self._highs.addCols(number, columns.cost, np.zeros(number), upper, len(value), starts, index, value)

    def begin_at(self, columns: Ints) -> None:
        """Begin the next solve where each pool has one of the columns and slots are left over.

        Args:
            columns: one per pool, in the order in which columns were added.
        """
        kinds = highspy.HighsBasisStatus
        status = [kinds.kLower] * self._highs.getNumCol()
        for column in columns.tolist():
            status[self._before + column] = kinds.kBasic
        basis = highspy.HighsBasis()
        basis.col_status = status
        basis.row_status = [kinds.kLower] * self._pools + [kinds.kBasic] * self._rows
        basis.valid = True
        self._highs.setBasis(basis)

    def solve(self, time_limit_s: float) -> MasterPoint | None:
        """The optimum over the columns so far, None where HiGHS has none that can be believed."""
        # HiGHS's clock runs on over the solves of one object.
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + time_limit_s)
        if not _ran(self._highs):
            return None
        solution = self._highs.getSolution()
        values, duals = np.array(solution.col_value), np.array(solution.row_dual)
        return MasterPoint(
            objective=float(self._highs.getInfo().objective_function_value),
            point=values[self._before :],
            prices=np.maximum(0.0, -duals[self._pools :]),
            worth=duals[: self._pools],
            missing=float(values[: self._rows].sum()),
        )

    @property
    def spent_s(self) -> float:
        """Seconds of HiGHS's clock over all solves."""
        return float(self._highs.getRunTime())


@dataclass(frozen=True, slots=True, eq=False)
class IntegerPoint:
    """One column per pool, in the order of pools, and whether the asked gap was reached."""

    columns: Ints
    bound: float
    is_proven: bool


@dataclass(frozen=True, slots=True)
class Chosen:
    """What became of an integer programme; without a point it is infeasible, or nothing is known."""

    point: IntegerPoint | None
    spent_s: float
    is_infeasible: bool


def choose(
    columns: Columns,
    pools: int,
    slots: Ints | Floats,
    *,
    gap: float,
    time_limit_s: float,
    offset: float = 0.0,
    nodes: Nodes | None = None,
) -> tuple[IntegerPoint | None, float]:
    """The cheapest choice of one column per pool within `slots`, and the seconds it took.

    Args:
        offset: cost of what is decided already; the relative gap is of the sum.
    """
    chosen = chosen_whole(
        columns, pools, slots, gap=gap, time_limit_s=time_limit_s, offset=offset, nodes=nodes
    )
    return chosen.point, chosen.spent_s


def chosen_whole(
    columns: Columns,
    pools: int,
    slots: Ints | Floats,
    *,
    gap: float,
    time_limit_s: float,
    offset: float = 0.0,
    nodes: Nodes | None = None,
) -> Chosen:
    """As `choose`, telling apart that there is no choice and that none was found."""
    nodes = nodes or no_nodes(len(slots))
    starts, index, value = (
        np.concatenate([a, b]) for a, b in zip(columns.sparse(pools), nodes.sparse(pools), strict=True)
    )
    starts[len(columns) :] += int(np.count_nonzero(columns.use)) + len(columns)
    number = len(starts)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = number, pools + len(slots)
    model.offset_ = offset + nodes.all_on
    model.col_cost_ = np.concatenate([columns.cost, -nodes.cost])
    model.col_lower_ = np.zeros(number)
    model.col_upper_ = np.concatenate([np.ones(len(columns)), nodes.most])
    model.row_lower_ = np.concatenate([np.ones(pools), np.full(len(slots), -highspy.kHighsInf)])
    model.row_upper_ = np.concatenate([np.ones(pools), slots.astype(np.float64)])
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.append(starts, len(value)).astype(np.int32)
    model.a_matrix_.index_, model.a_matrix_.value_ = index, value
    model.integrality_ = [highspy.HighsVarType.kInteger] * number
    highs = quiet()
    highs.setOptionValue("mip_rel_gap", gap)
    highs.setOptionValue("time_limit", time_limit_s)
    highs.passModel(model)
    has_run = _ran(highs, may_stop=True)
    status = highs.getModelStatus()
    point = _one_each(columns, pools, highs) if has_run else None
    return Chosen(point, float(highs.getRunTime()), status == highspy.HighsModelStatus.kInfeasible)


def _one_each(columns: Columns, pools: int, highs: highspy.Highs) -> IntegerPoint | None:
    """HiGHS's point, None unless it is one column for each pool."""
    chosen = np.flatnonzero(np.rint(np.array(highs.getSolution().col_value)[: len(columns)]))
    if not np.array_equal(np.sort(columns.owner[chosen]), np.arange(pools)):
        return None
    chosen = chosen[np.argsort(columns.owner[chosen], kind="stable")]
    is_proven = highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return IntegerPoint(chosen, float(highs.getInfo().mip_dual_bound), is_proven)


def quiet() -> highspy.Highs:
    """A silent HiGHS object on one thread."""
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)  # one value in the whole process, or HiGHS refuses to run
    # A plan is at hand before HiGHS is asked; in models this small, looking for another takes most of the time.
    highs.setOptionValue("mip_heuristic_run_feasibility_jump", False)
    return highs


def _ran(highs: highspy.Highs, *, may_stop: bool = False) -> bool:
    """Whether run status, model status and primal status agree that there is a point."""
    if highs.run() == highspy.HighsStatus.kError:
        return False
    believed = {highspy.HighsModelStatus.kOptimal}
    if may_stop:
        believed.add(highspy.HighsModelStatus.kTimeLimit)
    is_feasible = highs.getInfo().primal_solution_status == PRIMAL_FEASIBLE
    return highs.getModelStatus() in believed and bool(is_feasible)

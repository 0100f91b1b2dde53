"""HiGHS through cvxpy, and when to believe it.

Both can return wrong answers without an error: a limit without an incumbent reads as zeros, a run that never
started as an objective of 0. So what comes back is held against what it claims before anybody uses it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.table import OptionTable

if TYPE_CHECKING:
    import cvxpy

# Without it the last stage of a slow solve would get no time at all to return its first incumbent.
LEAST_TIME_LIMIT_S = 0.05
# How far HiGHS's objective may be from ours at its own (rounded) point.
CLAIM_TOLERANCE = 1e-5
# `HighsInfo.primal_solution_status` of a feasible point.
PRIMAL_FEASIBLE = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """When HiGHS stops: seconds, and relative gap.

    Attributes:
        time_limit_s: of HiGHS's own clock; with a stopwatch, what that leaves.
        stopwatch: seconds since the solve began, of everything and not of HiGHS alone.
        until_s: of the stopwatch.
    """

    time_limit_s: float
    relative_gap: float
    stopwatch: Callable[[], float] | None = None
    until_s: float = math.inf

    def after(self, spent_s: float) -> Limits:
        """What is left for the next stage."""
        if self.stopwatch is not None:
            return replace(self, time_limit_s=self.until_s - self.stopwatch())
        return replace(self, time_limit_s=max(LEAST_TIME_LIMIT_S, self.time_limit_s - spent_s))

    def reserving(self) -> Limits:
        """With as much kept back for writing and checking the plan as was needed until now.

        Nothing is left where it is less than that: a model takes as long to be made before the clock is looked at.
        """
        if self.stopwatch is None:
            return self
        needed_s = self.stopwatch()
        left = replace(self, until_s=self.until_s - needed_s).after(0.0)
        return left if left.time_limit_s > needed_s else replace(left, time_limit_s=0.0)

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return not self.time_limit_s > 0.0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why nothing can be believed."""

    why: str
    is_infeasible: bool = False
    spent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What HiGHS says about its run, by cvxpy's status and by its own."""

    status: str
    has_point: bool
    claimed: float
    bound: float
    spent_s: float

    @property
    def is_proven(self) -> bool:
        """Whether it stopped by gap and not by a limit."""
        return self.status == "optimal"


def out_of_time(limits: Limits) -> NoAnswer | None:
    """No answer where no time is left, so that nothing is modelled that could not be solved."""
    return NoAnswer("the time is up") if limits.is_over else None


def minimise(problem: cvxpy.Problem, limits: Limits) -> Outcome:
    """Solve one cvxpy problem; its variables then hold the point."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "solution may be inaccurate": `doubt` judges that
        problem.solve(  # type: ignore[no-untyped-call]
            solver="HIGHS",
            warm_start=False,  # the default hands HiGHS its last solution: up to 17 times slower
            threads=1,  # one value in the whole process, or HiGHS refuses to run
            time_limit=limits.time_limit_s,
            mip_rel_gap=limits.relative_gap,
        )
    stats = problem.solver_stats
    info = stats.extra_stats  # a HighsInfo
    return Outcome(
        status=str(problem.status),
        has_point=getattr(info, "primal_solution_status", 0) == PRIMAL_FEASIBLE,
        claimed=float(getattr(info, "objective_function_value", float("nan"))),
        bound=float(getattr(info, "mip_dual_bound", float("-inf"))),
        spent_s=float(stats.solve_time or 0.0),
    )


def doubt(outcome: Outcome, objective: float) -> NoAnswer | None:
    """Why an outcome cannot be believed; `objective` is our own evaluation of its point."""
    if outcome.status == "infeasible":
        return NoAnswer("no plan serves every pool fully", is_infeasible=True, spent_s=outcome.spent_s)
    why = ""
    if outcome.status not in {"optimal", "user_limit"}:
        why = f"HiGHS ended with status {outcome.status}"
    elif not outcome.has_point:
        why = f"HiGHS stopped ({outcome.status}) without a feasible point"
    elif not abs(outcome.claimed - objective) <= CLAIM_TOLERANCE * max(1.0, abs(objective)):
        why = f"HiGHS claims an objective of {outcome.claimed}, its point has {objective}"
    elif not outcome.bound <= objective + CLAIM_TOLERANCE * max(1.0, abs(objective)):
        why = f"HiGHS claims a lower bound of {outcome.bound}, its point has {objective}"
    return NoAnswer(why, spent_s=outcome.spent_s) if why else None


def chosen_places(table: OptionTable, options: Ints, point: object) -> Ints | None:
    """Places in `options` at which a solver's point is one; None unless there is exactly one per pool."""
    if point is None:
        return None
    places = np.flatnonzero(np.rint(cast(Floats, point)))
    is_one_each = np.array_equal(table.owner[options[places]], np.arange(len(table.start)))
    return places if is_one_each else None


def selection(table: OptionTable, options: Ints) -> object:
    """S: P x K, sparse, 1 where the option is the pool's."""
    # Imported with cvxpy, which is built on it, and not before.
    from scipy import sparse  # type: ignore[import-untyped]

    columns = np.arange(len(options))
    ones = np.ones(len(options))
    return cast(
        object,
        sparse.csr_array((ones, (table.owner[options], columns)), shape=(len(table.start), len(options))),
    )

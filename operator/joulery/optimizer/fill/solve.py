"""The door for lanes that fill and pools beside them: one problem in, one checked plan out, never an exception."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from joulery.optimizer.fill.alone import by_options
from joulery.optimizer.fill.budget import within_budget
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.faults import lane_faults
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan, RowPrice, refused
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import COLUMNS, FALLBACK, MILP

TEXTBOOK, TEXTBOOK_PARTIAL = "textbook", "textbook-partial"
# Twice what a stage of the shedding may lose against an earlier one.
SHED_TOLERANCE = 2e-6
MILP_AGGREGATED = "milp-aggregated"
ENGINES = (COLUMNS, FALLBACK, MILP, MILP_AGGREGATED, TEXTBOOK, TEXTBOOK_PARTIAL)


def solve_lanes(
    problem: LaneProblem,
    *,
    engine: str = COLUMNS,
    time_limit_s: float = 5.0,
    prices: Sequence[RowPrice] = (),
    stopwatch: Callable[[], float] | None = None,
) -> LanePlan:
    """Least shed by strict priority of weights, then least watts, within supply; over lanes and pools together.

    With a stopwatch a greedy plan is made and checked first, and what comes out at the limit is the best by then.

    Args:
        engine: `columns`; `fallback`, greed alone; `milp`, the readable exact model of lanes alone, or
            `milp-aggregated`, the same with clocks that mix; `textbook`, one integer per item with its load; or
            `textbook-partial`, with at most one instance per lane that is not full; both with one binary per option
            of a pool. The latter two are for small problems and tests. Pools without lanes beside them go to
            `optimizer.solve`: to its `columns`, `fallback` or `milp`.
        time_limit_s: seconds for HiGHS.
        prices: those of an earlier plan; they shorten the search.
        stopwatch: seconds since the caller began; the limit then counts on it, over everything that is done.
    """
    if engine not in ENGINES:
        return refused(f"unknown engine {engine!r}; one of {', '.join(ENGINES)}", engine)
    faults = tuple(lane_faults(problem))
    if faults:
        return refused("; ".join(faults), engine)
    if not problem.lanes and not problem.pools:
        return LanePlan((), 0.0, 0.0, SolveStatus.OPTIMAL, "no lanes", engine)
    deadline = Deadline(time_limit_s, stopwatch)
    if engine == COLUMNS and stopwatch is not None and problem.lanes:
        return _in_time(problem, deadline, prices)
    plan = _checked(problem, engine, deadline, prices)
    if plan.is_plan or engine != COLUMNS:
        return plan
    return _instead(_checked(problem, FALLBACK, deadline, ()), plan)


def _in_time(problem: LaneProblem, deadline: Deadline, prices: Sequence[RowPrice]) -> LanePlan:
    """The best checked plan by the deadline; as much is kept back for writing and checking as greed took."""
    began_s = deadline.now_s
    spare = _checked(problem, FALLBACK, deadline, ())
    spent = deadline.measured(began_s)
    if not spent.allows(2.0):
        return _instead(spare, refused(f"no time for prices: limit {deadline.time_limit_s} s", COLUMNS))
    kept = spent.keeping(spent.unit_s)
    plan = _checked(problem, COLUMNS, kept, prices)
    if not plan.is_plan:
        return _instead(spare, plan)
    if spare.is_plan and _is_better(problem, spare, plan):
        return replace(spare, why=f"better than what prices found in {deadline.time_limit_s} s; {spare.why}")
    is_cut_short = plan.status is not SolveStatus.OPTIMAL and not kept.allows()
    return replace(plan, why=f"{plan.why}; stopped at {deadline.time_limit_s} s") if is_cut_short else plan


def _instead(spare: LanePlan, plan: LanePlan) -> LanePlan:
    """The greedy plan, and why it stands in."""
    return replace(spare, why=f"{plan.why}; {spare.why}") if spare.is_plan else plan


def _is_better(problem: LaneProblem, one: LanePlan, other: LanePlan) -> bool:
    """Whether a plan sheds less by falling weight or, shedding alike, costs less."""
    weights = [*(lane.weight for lane in problem.lanes), *(pool.weight for pool in problem.pools)]
    for weight in sorted(set(weights), reverse=True):
        lost = [
            math.fsum(shed for each, shed in zip(weights, plan.shed, strict=True) if each == weight)
            for plan in (one, other)
        ]
        if abs(lost[0] - lost[1]) > SHED_TOLERANCE:
            return lost[0] < lost[1]
    return one.cost_w < other.cost_w


def _checked(problem: LaneProblem, engine: str, deadline: Deadline, prices: Sequence[RowPrice]) -> LanePlan:
    """An engine's plan that has passed the checker; refused otherwise."""
    try:
        plan = (
            within_budget(problem, lambda part: _asked(part, engine, deadline, prices), deadline)
            if problem.lanes
            else _asked(problem, engine, deadline, prices)
        )
    except Exception as error:  # solvers raise their own, ValueError, MemoryError, ImportError
        return refused(f"HiGHS failed: {type(error).__name__}: {error}", engine)
    wrong = check_lanes(problem, plan) if plan.is_plan else ()
    return refused(f"the checker refused the plan: {'; '.join(wrong)}", engine) if wrong else plan


def _asked(problem: LaneProblem, engine: str, deadline: Deadline, prices: Sequence[RowPrice]) -> LanePlan:
    if not problem.lanes:
        return by_options(problem, engine if engine in {COLUMNS, FALLBACK} else MILP, deadline)
    if engine == COLUMNS:
        from joulery.optimizer.fill.columns import by_prices  # loads numba and HiGHS
        from joulery.optimizer.fill.shedding import shedding_least

        return by_prices(problem, prices, deadline) or shedding_least(problem, deadline)
    if engine == FALLBACK:
        from joulery.optimizer.fill.greed import greedy_plan
        from joulery.optimizer.fill.turns import greedy_mixed

        return greedy_mixed(problem) if problem.pools else greedy_plan(problem)
    if engine in {MILP, MILP_AGGREGATED}:
        from joulery.optimizer.fill.milp import by_milp  # loads cvxpy

        return by_milp(problem, deadline.time_limit_s, is_aggregated=engine == MILP_AGGREGATED)
    from joulery.optimizer.fill.textbook import by_textbook  # loads HiGHS

    return by_textbook(problem, deadline.time_limit_s, has_one_partial=engine == TEXTBOOK_PARTIAL)

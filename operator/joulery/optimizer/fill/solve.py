"""The door for lanes that fill: one problem in, one checked plan out, never an exception."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.faults import lane_faults
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan, RowPrice, refused
from joulery.optimizer.solution import SolveStatus

COLUMNS, FALLBACK = "columns", "fallback"
TEXTBOOK, TEXTBOOK_PARTIAL = "textbook", "textbook-partial"
ENGINES = (COLUMNS, FALLBACK, TEXTBOOK, TEXTBOOK_PARTIAL)


def solve_lanes(
    problem: LaneProblem,
    *,
    engine: str = COLUMNS,
    time_limit_s: float = 5.0,
    prices: Sequence[RowPrice] = (),
) -> LanePlan:
    """Least shed by strict priority of weights, then least watts, within supply.

    Args:
        engine: `columns`; `fallback`, greed alone; `textbook`, one integer per item with its load; or
            `textbook-partial`, with at most one instance per lane that is not full. The latter two are for small
            problems and tests.
        time_limit_s: seconds for HiGHS.
        prices: those of an earlier plan; they shorten the search.
    """
    if engine not in ENGINES:
        return refused(f"unknown engine {engine!r}; one of {', '.join(ENGINES)}", engine)
    faults = tuple(lane_faults(problem))
    if faults:
        return refused("; ".join(faults), engine)
    if not problem.lanes:
        return LanePlan((), 0.0, 0.0, SolveStatus.OPTIMAL, "no lanes", engine)
    plan = _checked(problem, engine, time_limit_s, prices)
    if plan.is_plan or engine != COLUMNS:
        return plan
    spare = _checked(problem, FALLBACK, time_limit_s, ())
    return replace(spare, why=f"{plan.why}; {spare.why}") if spare.is_plan else plan


def _checked(problem: LaneProblem, engine: str, time_limit_s: float, prices: Sequence[RowPrice]) -> LanePlan:
    """An engine's plan that has passed the checker; refused otherwise."""
    try:
        plan = _asked(problem, engine, time_limit_s, prices)
    except Exception as error:  # solvers raise their own, ValueError, MemoryError, ImportError
        return refused(f"HiGHS failed: {type(error).__name__}: {error}", engine)
    wrong = check_lanes(problem, plan) if plan.is_plan else ()
    return refused(f"the checker refused the plan: {'; '.join(wrong)}", engine) if wrong else plan


def _asked(problem: LaneProblem, engine: str, time_limit_s: float, prices: Sequence[RowPrice]) -> LanePlan:
    if engine == COLUMNS:
        from joulery.optimizer.fill.columns import by_prices  # loads numba and HiGHS
        from joulery.optimizer.fill.shedding import shedding_least

        return by_prices(problem, prices, time_limit_s) or shedding_least(problem, time_limit_s)
    if engine == FALLBACK:
        from joulery.optimizer.fill.greed import greedy_plan

        return greedy_plan(problem)
    from joulery.optimizer.fill.textbook import by_textbook  # loads HiGHS

    return by_textbook(problem, time_limit_s, has_one_partial=engine == TEXTBOOK_PARTIAL)

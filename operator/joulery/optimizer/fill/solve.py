"""The door for lanes that fill: one problem in, one checked plan out, never an exception."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.fill.plan import LanePlan, RowPrice, refused
from joulery.optimizer.problem import Floats, Problem, faults_of
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
    shared = Problem(problem.kinds, (), problem.supplies, problem.quotas, problem.max_starts)
    faults = (*faults_of(shared), *lane_faults(problem))
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
        from joulery.optimizer.fill.shedding import greedy_plan

        return greedy_plan(problem)
    from joulery.optimizer.fill.textbook import by_textbook  # loads HiGHS

    return by_textbook(problem, time_limit_s, has_one_partial=engine == TEXTBOOK_PARTIAL)


def lane_faults(problem: LaneProblem) -> Iterator[str]:
    """What makes a problem unusable, each naming the lane and the cure."""
    keys = [lane.key for lane in problem.lanes]
    for key in sorted({key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else ()):
        yield f"lane {key}: given more than once"
    for lane in problem.lanes:
        arrays = (lane.capacity, lane.idle_w, lane.full_w)
        if not len(lane):
            yield f"lane {lane.key}: no item holds its objectives; give it a larger size or a longer objective"
        elif len({len(array) for array in (*arrays, lane.clock_mhz, lane.kind)}) > 1:
            yield f"lane {lane.key}: item arrays differ in length"
        elif not all(_is_sound(array) for array in arrays) or not (lane.capacity > 0.0).all():
            yield f"lane {lane.key}: capacity must be finite and positive, watts finite and not negative"
        elif not (lane.full_w >= lane.idle_w).all():
            yield f"lane {lane.key}: full watts below idle watts"
        elif not (lane.kind.min() >= 0 and lane.kind.max() < len(problem.kinds)):
            yield f"lane {lane.key}: an item names a kind outside 0..{len(problem.kinds) - 1}"
        else:
            yield from _rule_faults(lane, len(problem.kinds))


def _rule_faults(lane: Lane, kinds: int) -> Iterator[str]:
    if lane.fewest < 0 or lane.lost < 0:
        yield f"lane {lane.key}: fewest and lost instances must not be negative"
    if not 0.0 <= lane.weight < math.inf:
        yield f"lane {lane.key}: weight {lane.weight}; it must be finite and not negative"
    if not all(0.0 <= watts < math.inf for watts in (lane.start_w, lane.stop_w)):
        yield f"lane {lane.key}: costs of starts and stops must be finite and not negative"
    if not all(0 <= kind < kinds and instances >= 0 for kind, instances in lane.running):
        yield f"lane {lane.key}: what runs names a kind outside 0..{kinds - 1} or fewer than no instances"


def _is_sound(values: Floats) -> bool:
    return bool(np.isfinite(values).all() and (values >= 0.0).all())

"""How far past a deadline the plan comes: everything counts, from problem to checked plan.

Each solve runs twice: by a stopwatch of the wall clock, which is what a deadline means, and by one of this
process's CPU time, which neighbours on the machine do not stretch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from joulery.bench.figures import ninety
from joulery.bench.forms import Form, equal, fill
from joulery.bench.suite import Case, Fleet, drawn
from joulery.optimizer.checker import check
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import solve

LIMITS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
CLOCKS: tuple[tuple[str, Callable[[], float]], ...] = (("", time.perf_counter), ("Cpu", time.process_time))
UNLIMITED_S = 20.0

Clock = Callable[[], float]
Timed = Callable[[float, Clock], tuple[float, SolveStatus | None]]
"""Solves within a limit on a clock: seconds taken, and the plan's status; None where the checker refuses it."""


def overshoot_of(
    case: Case, seeds: int, limits_s: Sequence[float] = LIMITS_S, form: Form = Form.EQUAL
) -> dict[str, float]:
    """Overshoot in milliseconds over limits and seeds, plans refused by the checker, plans only greedy."""
    timed = {Form.EQUAL: _equal, Form.FILL: _fill}[form]
    late_s: dict[str, list[float]] = {name: [] for name, _ in CLOCKS}
    refused, greedy = 0, 0
    for seed in range(seeds):
        solved = timed(drawn(case, seed))
        # What is loaded once per process is not the deadline's; which code a fleet needs differs.
        solved(UNLIMITED_S, time.perf_counter)
        for limit_s in limits_s:
            for name, clock in CLOCKS:
                taken_s, status = solved(limit_s, clock)
                late_s[name].append(max(0.0, taken_s - limit_s))
                refused += status is None
                greedy += status is SolveStatus.FALLBACK
    solves = sum(map(len, late_s.values()))
    figures = {"solves": solves, "plansRefused": refused, "plansByFallback": greedy}
    return figures | {key: value for name in late_s for key, value in _spread(name, late_s[name]).items()}


def _spread(clock: str, late_s: Sequence[float]) -> dict[str, float]:
    of_clock = {"P50": statistics.median(late_s), "P90": ninety(late_s), "Max": max(late_s)}
    return {f"overshoot{name}{clock}Milliseconds": round(value * 1e3, 2) for name, value in of_clock.items()}


def _equal(fleet: Fleet) -> Timed:
    problem = equal(fleet)

    def timed(limit_s: float, clock: Clock) -> tuple[float, SolveStatus | None]:
        started = clock()
        solution = solve(problem, time_limit_s=limit_s, stopwatch=lambda: clock() - started)
        taken_s = clock() - started
        return taken_s, solution.status if solution.is_plan and not check(problem, solution) else None

    return timed


def _fill(fleet: Fleet) -> Timed:
    problem = fill(fleet)

    def timed(limit_s: float, clock: Clock) -> tuple[float, SolveStatus | None]:
        started = clock()
        plan = solve_lanes(problem, time_limit_s=limit_s, stopwatch=lambda: clock() - started)
        taken_s = clock() - started
        return taken_s, plan.status if plan.is_plan and not check_lanes(problem, plan) else None

    return timed

"""How far past a deadline the plan comes, on the wall clock: everything counts, from problem to checked plan."""

from __future__ import annotations

import time
from collections.abc import Sequence

from joulery.bench.forms import equal
from joulery.bench.suite import Case, drawn
from joulery.optimizer.checker import check
from joulery.optimizer.problem import Problem
from joulery.optimizer.solve import solve

LIMITS_S = (0.02, 0.05, 0.1, 0.2)


def overshoot_of(case: Case, seeds: int, limits_s: Sequence[float] = LIMITS_S) -> dict[str, float]:
    """The largest overshoot in milliseconds over limits and seeds, and plans that the checker refused."""
    late_s, refused = [], 0
    solve(
        equal(drawn(case, seeds)), engine="columns"
    )  # what is loaded once per process is not the deadline's
    for seed in range(seeds):
        problem = equal(drawn(case, seed))
        for limit_s in limits_s:
            taken_s, is_checked = _timed(problem, limit_s)
            late_s.append(taken_s - limit_s)
            refused += not is_checked
    return {
        "solves": len(late_s),
        "maxOvershootMilliseconds": round(max(0.0, *late_s) * 1e3, 2),
        "plansRefused": refused,
    }


def _timed(problem: Problem, limit_s: float) -> tuple[float, bool]:
    started = time.perf_counter()
    solution = solve(
        problem,
        engine="columns",
        time_limit_s=limit_s,
        stopwatch=lambda: time.perf_counter() - started,
    )
    return time.perf_counter() - started, solution.is_plan and not check(problem, solution)

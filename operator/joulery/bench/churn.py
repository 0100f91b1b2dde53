"""Instance starts under drifting loads: with and without a cost of starting, and what fewer of them cost."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.bench.forms import Running, equal
from joulery.bench.suite import Case, Fleet, drawn
from joulery.optimizer.problem import Problem
from joulery.optimizer.solution import Solution
from joulery.optimizer.solve import solve

# Loads of each cycle against the mean ones.
SPREAD = 0.10


@dataclass(frozen=True, slots=True)
class Drift:
    """Loads that drift for some cycles; `start_w` is the cost of one start in watts over the horizon."""

    case: Case
    cycles: int
    start_w: float
    engine: str = "columns"


def churn_of(drift: Drift, seed: int) -> dict[str, float]:
    """Starts per cycle and mean power with starts for nothing and at a cost, and both in percent."""
    fleet = drawn(drift.case, seed)
    free_starts, free_kw = _run(fleet, drift, 0.0)
    starts, kilowatts = _run(fleet, drift, drift.start_w)
    return {
        "cycles": drift.cycles,
        "startWatts": drift.start_w,
        "startsPerCycleAtNoCost": round(free_starts, 2),
        "startsPerCycle": round(starts, 2),
        "fewerStartsPercent": round(100.0 * (1.0 - starts / max(free_starts, 1e-9)), 1),
        "morePowerPercent": round(100.0 * (kilowatts / free_kw - 1.0), 3),
    }


def _run(fleet: Fleet, drift: Drift, start_w: float) -> tuple[float, float]:
    """Starts per cycle after the first, and mean kilowatts without the cost of starting."""
    running: Running = {}
    starts, watts = 0, 0.0
    for cycle in range(drift.cycles + 1):
        # Of the first cycle every instance is a start, whatever is decided.
        problem = equal(fleet.drifted(cycle, SPREAD), running, start_w if running else 0.0)
        solution = solve(problem, engine=drift.engine)
        now = _running(problem, solution)
        if running:
            starts += _starts(running, now)
            watts += _watts(problem, solution)
        running = now
    return starts / drift.cycles, watts / drift.cycles / 1e3


def _running(problem: Problem, solution: Solution) -> Running:
    pairs = zip(problem.pools, solution.choice.option, strict=True)
    return {p.key: {int(p.kind[o]): int(p.count[o])} for p, o in pairs}


def _starts(before: Running, now: Running) -> int:
    return sum(
        max(0, count - before[key].get(kind, 0))
        for key, kinds in now.items()
        for kind, count in kinds.items()
    )


def _watts(problem: Problem, solution: Solution) -> float:
    pairs = zip(problem.pools, solution.choice.option, strict=True)
    return sum(float(p.watts[o]) for p, o in pairs)

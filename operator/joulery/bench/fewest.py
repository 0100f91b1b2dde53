"""The fewest starts that a cycle can have for so much more power than its least, whatever a start is said to cost.

What a price on starts finds is held against it: from what runs, no plan within that power starts fewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from joulery.bench.churn import MORE_POWER_PERCENT, Drift
from joulery.bench.forms import Running, equal
from joulery.bench.step import LONG_S, begun, running_of
from joulery.bench.suite import Fleet, drawn
from joulery.optimizer.problem import PoolBlock, Problem
from joulery.optimizer.solution import Solution, SolveStatus
from joulery.optimizer.solve import solve

SHED_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Fewest:
    """A cycle's plan, its starts, and whether the bound of one start fewer proves that they are the fewest."""

    solution: Solution
    starts: int
    is_proven: bool


def fewest_of(drift: Drift, seed: int) -> dict[str, float | int]:
    """Starts and power where every cycle takes the fewest starts for that much more power; equal split."""
    fleet = drawn(drift.case, seed)
    running: Running = {}
    free: Running = {}
    starts, free_starts, proven = 0, 0, 0
    watts: list[float] = []
    free_watts: list[float] = []
    for factors in islice(drift.loads(len(fleet.lanes)), drift.warm_up, None):
        loaded = fleet.loaded(factors)
        least = solve(equal(loaded), time_limit_s=LONG_S)
        before, free = free, running_of(equal(loaded), least)
        if not running:
            running = free
            continue
        problem = with_starts(loaded, running)
        found = fewest(problem, least, 1.0 + MORE_POWER_PERCENT / 100.0)
        starts, proven = starts + found.starts, proven + found.is_proven
        free_starts += sum(begun(before, free).values())
        watts.append(found.solution.cost_w)
        free_watts.append(least.cost_w)
        running = running_of(problem, found.solution)
    return {
        "cycles": drift.cycles,
        "cyclesProven": proven,
        "mostMorePowerPercentPerCycle": MORE_POWER_PERCENT,
        "startsPerCycleAtNoCost": round(free_starts / drift.cycles, 2),
        "startsPerCycle": round(starts / drift.cycles, 2),
        "fewerStartsPercent": round(100.0 * (1.0 - starts / max(free_starts, 1e-9)), 1),
        "morePowerPercent": round(100.0 * (math.fsum(watts) / math.fsum(free_watts) - 1.0), 3),
    }


def with_starts(fleet: Fleet, running: Running) -> Problem:
    """The cycle's problem with the instances that each option starts, at no cost."""
    problem = equal(fleet)
    return replace(problem, pools=tuple(_counted(pool, running) for pool in problem.pools))


def _counted(pool: PoolBlock, running: Running) -> PoolBlock:
    present = np.array([running[pool.key].get(kind, 0) for kind in pool.kind.tolist()], dtype=np.int64)
    return replace(pool, starts=np.where(pool.count > 0, np.maximum(0, pool.count - present), 0))


def fewest(problem: Problem, least: Solution, power: float) -> Fewest:
    """The fewest starts at no more than `power` times the least watts, by halving the limit of starts."""
    most_w = least.cost_w * power
    best = Fewest(least, starts_of(problem, least), is_proven=False)
    low, is_proven = -1, True
    while best.starts - low > 1:
        limit = (low + best.starts) // 2
        found = solve(replace(problem, max_starts=limit), time_limit_s=LONG_S)
        is_within = found.starts_over_limit == 0 and sum(found.shed) <= sum(least.shed) + SHED_TOLERANCE
        if is_within and found.cost_w <= most_w:
            best = Fewest(found, starts_of(problem, found), is_proven=False)
        else:
            low = limit
            is_proven = found.status is SolveStatus.OPTIMAL and (not is_within or found.bound_w > most_w)
    return replace(best, is_proven=is_proven)


def starts_of(problem: Problem, solution: Solution) -> int:
    """Instances that a plan starts."""
    pairs = zip(problem.pools, solution.choice.option, strict=True)
    return sum(int(pool.starts[option]) for pool, option in pairs if pool.starts is not None)

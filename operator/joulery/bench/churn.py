"""Instance starts under drifting loads: what fewer of them cost, for several costs of a start side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from joulery.bench.foresight import least_power_w
from joulery.bench.forms import Running, equal
from joulery.bench.suite import ACCELERATORS, Case, Fleet, drawn
from joulery.optimizer.problem import Floats, Kind, Problem
from joulery.optimizer.solution import Solution
from joulery.optimizer.solve import AUTO, solve

# Loads against the mean ones where they are redrawn every cycle, and how far they walk before they turn back.
SPREAD = 0.10
WALK_ENDS = 0.20
# A quick start (the API assumes 300 s until starts were seen) in a plan epoch.
STARTUP_S, EPOCH_S = 120.0, 300.0
# Watts per start over the cycle, one figure each; beside them the energy of loading.
COSTS_W = (25.0, 50.0, 75.0, 100.0, 150.0, 200.0)
LOADING = "loading"
# So that no plan depends on how busy the machine is: a solve of these takes a fifth of a second.
LONG_S = 120.0
# What a cost of starting is to save.
FEWER_PERCENT = 60.0


@dataclass(frozen=True, slots=True)
class Drift:
    """Loads that change every cycle; the costs of a start to compare.

    Attributes:
        step: where given, each load moves from where it is by at most this share, a walk; else each is drawn anew
            around its mean, so that nothing that is learned from one cycle holds in the next.
    """

    case: Case
    cycles: int
    costs_w: tuple[float, ...] = COSTS_W
    step: float | None = None
    engine: str = AUTO

    @property
    def name(self) -> str:
        """As in tables and JSON."""
        loads = "redrawn" if self.step is None else f"walk{100.0 * self.step:.0f}%"
        return f"{self.case.name}/churn/{loads}"

    def loads(self, pools: int) -> Iterator[Floats]:
        """Factors on the pools' mean loads, cycle by cycle."""
        now = np.ones(pools)
        for cycle in range(self.cycles + 1):
            dice = np.random.default_rng([cycle, 77])
            if self.step is None:
                yield dice.uniform(1.0 - SPREAD, 1.0 + SPREAD, pools)
            else:
                yield now
                now = np.clip(
                    now * dice.uniform(1.0 - self.step, 1.0 + self.step, pools),
                    1.0 - WALK_ENDS,
                    1.0 + WALK_ENDS,
                )


@dataclass(frozen=True, slots=True)
class Churn:
    """Per cycle: starts, pools shed, watts of what serves, watts of what loads its weights meanwhile."""

    starts: float
    shed: float
    serving_w: float
    loading_w: float


def loading_w(kinds: Iterable[Kind]) -> Floats:
    """Watts over an epoch that one start of each kind takes: it draws idle power and serves nothing.

    The default of the planner, and the energy boundary that every other figure has: loading counts.
    """
    idle_w = {a.name: a.idle_w for a in ACCELERATORS}
    return np.array([kind.gpus * idle_w[kind.accelerator] * STARTUP_S / EPOCH_S for kind in kinds])


def frontier_of(drift: Drift, seed: int) -> dict[str, dict[str, float | int]]:
    """By cost of a start: starts and power, and both against starts that cost nothing."""
    fleet = drawn(drift.case, seed)
    kinds = len(fleet.kinds)
    costs = {f"{cost:.0f}W": np.full(kinds, cost) for cost in drift.costs_w}
    free = churn_of(fleet, drift, np.zeros(kinds))
    costs[LOADING] = loading_w(fleet.kinds)
    found = {name: churn_of(fleet, drift, cost_w) for name, cost_w in costs.items()}
    return {name: _against(free, churn, drift.cycles) for name, churn in found.items()}


def foresight_of(drift: Drift, seed: int, fewer_percent: float = FEWER_PERCENT) -> dict[str, float | int]:
    """The bound on power with so many fewer starts for somebody who knows every load beforehand."""
    fleet = drawn(drift.case, seed)
    free = churn_of(fleet, drift, np.zeros(len(fleet.kinds)))
    first, *later = [fleet.loaded(factors) for factors in drift.loads(len(fleet.lanes))]
    problem = equal(first)
    running = _running(problem, solve(problem, engine=drift.engine, time_limit_s=LONG_S))
    most = free.starts * drift.cycles * (1.0 - fewer_percent / 100.0)
    least_w = least_power_w(later, running, most)
    return {
        "cycles": drift.cycles,
        "fewerStartsPercent": fewer_percent,
        "morePowerPercentAtLeast": round(100.0 * (least_w / free.serving_w - 1.0), 3),
    }


def _against(free: Churn, found: Churn, cycles: int) -> dict[str, float | int]:
    all_w, all_free_w = found.serving_w + found.loading_w, free.serving_w + free.loading_w
    return {
        "cycles": cycles,
        "shedPoolsPerCycle": round(found.shed, 3),
        "startsPerCycleAtNoCost": round(free.starts, 2),
        "startsPerCycle": round(found.starts, 2),
        "fewerStartsPercent": round(100.0 * (1.0 - found.starts / max(free.starts, 1e-9)), 1),
        "morePowerPercent": round(100.0 * (found.serving_w / free.serving_w - 1.0), 3),
        "morePowerWithLoadingPercent": round(100.0 * (all_w / all_free_w - 1.0), 3),
    }


def churn_of(fleet: Fleet, drift: Drift, start_w: Floats) -> Churn:
    """Means over the cycles after the first, of which every instance is a start whatever is decided.

    Args:
        start_w: cost of a start by kind, in watts over a cycle.
    """
    of_kind_w = loading_w(fleet.kinds)
    running: Running = {}
    starts, shed, serving, loading = 0, 0.0, [], []
    for factors in drift.loads(len(fleet.lanes)):
        problem = equal(fleet.loaded(factors), running, start_w if running else 0.0 * start_w)
        solution = solve(problem, engine=drift.engine, time_limit_s=LONG_S)
        now = _running(problem, solution)
        if running:
            begun = _begun(running, now)
            starts += sum(begun.values())
            shed += sum(solution.shed)
            loading.append(sum(number * float(of_kind_w[kind]) for kind, number in begun.items()))
            serving.append(_watts(problem, solution))
        running = now
    cycles = drift.cycles
    return Churn(starts / cycles, shed / cycles, math.fsum(serving) / cycles, math.fsum(loading) / cycles)


def _running(problem: Problem, solution: Solution) -> dict[str, dict[int, int]]:
    pairs = zip(problem.pools, solution.choice.option, strict=True)
    return {p.key: {int(p.kind[o]): int(p.count[o])} for p, o in pairs}


def _begun(before: Running, now: Running) -> Mapping[int, int]:
    """Instances started, by kind: those of a pool and kind that were not there before."""
    begun: dict[int, int] = {}
    for key, kinds in now.items():
        for kind, count in kinds.items():
            begun[kind] = begun.get(kind, 0) + max(0, count - before[key].get(kind, 0))
    return begun


def _watts(problem: Problem, solution: Solution) -> float:
    pairs = zip(problem.pools, solution.choice.option, strict=True)
    return sum(float(p.watts[o]) for p, o in pairs)

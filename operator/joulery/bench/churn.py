"""Instance starts under drifting loads: what fewer of them cost, for several costs of a start side by side.

The target (60 % fewer for 0.2 % more power) was set with a prototype whose lanes mix kinds and clocks, 100 of them at
10 GPUs each, GPUs binding, loads of 25 cycles within 10 % of their mean: `Form.FILL`, tight, redrawn. A pool under
equal split has one kind and one clock, so that each start moves more of it: the same loads beside it are harder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from joulery.bench.foresight import least_power_w
from joulery.bench.forms import Form, Running, Wanted
from joulery.bench.step import Step, begun, step
from joulery.bench.suite import ACCELERATORS, Case, Fleet, drawn
from joulery.optimizer.problem import Floats, Kind
from joulery.optimizer.solve import AUTO

# Loads against the mean ones where they are redrawn every cycle, and how far they walk before they turn back.
SPREAD = 0.10
WALK_ENDS = 0.20
# A quick start (the API assumes 300 s until starts were seen) in a plan epoch.
STARTUP_S, EPOCH_S = 120.0, 300.0
# Watts per start over the cycle, one figure each; beside them the energy of loading.
COSTS_W = (25.0, 50.0, 60.0, 70.0, 80.0, 100.0, 150.0)
# Cycles, an hour of them, of which what they want at no cost of starts tells what later ones will want.
RECENT = 12
# Of a start now, for one later: not all that is wanted is started then, as later plans too keep what runs.
LATER_SHARE = 0.6
LOADING = "loading"
# What a cost of starting is to save, and what for.
FEWER_PERCENT, MORE_POWER_PERCENT = 60.0, 0.2
WITHIN = "within"


@dataclass(frozen=True, slots=True)
class Drift:
    """Loads that change every cycle; the costs of a start to compare.

    Attributes:
        recent: cycles, this one among them, whose wants are awaited again; with none a start is priced alone.
        warm_up: cycles before those that count, so that what was wanted of late is known from the first.
        seeds: fleets over which the mean is taken.
        step: where given, each load moves from where it is by at most this share, a walk; else each is drawn anew
            around its mean, so that nothing that is learned from one cycle holds in the next.
    """

    case: Case
    cycles: int
    costs_w: tuple[float, ...] = COSTS_W
    step: float | None = None
    engine: str = AUTO
    form: Form = Form.EQUAL
    recent: int = RECENT
    warm_up: int = 0
    seeds: int = 1

    @property
    def name(self) -> str:
        """As in tables and JSON."""
        loads = "redrawn" if self.step is None else f"walk{100.0 * self.step:.0f}%"
        alone = "" if self.recent else "-starts-alone"
        return f"{self.case.name}/churn/{self.form}/{loads}{alone}"

    def loads(self, pools: int) -> Iterator[Floats]:
        """Factors on the pools' mean loads, cycle by cycle, those of the warm-up first."""
        now = np.ones(pools)
        for cycle in range(self.warm_up + self.cycles + 1):
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


def frontier_of(drift: Drift, seed: int | None = None) -> dict[str, dict[str, float | int]]:
    """By cost of a start: starts and power, both against starts that cost nothing, and the best within the target.

    Args:
        seed: of one fleet; the mean over the drift's fleets unless given.
    """
    seeds = range(drift.seeds) if seed is None else (seed,)
    fleets = [drawn(drift.case, number) for number in seeds]
    kinds = len(fleets[0].kinds)
    steps = [steps_of(fleet, drift, np.zeros(kinds)) for fleet in fleets]
    free = [churn_of(fleet, of_fleet[drift.warm_up :]) for fleet, of_fleet in zip(fleets, steps, strict=True)]
    costs = {f"{cost:.0f}W": np.full(kinds, cost) for cost in drift.costs_w}
    if drift.form is Form.EQUAL:
        costs[LOADING] = loading_w(fleets[0].kinds)
    found = {
        name: [
            churn_of(fleet, steps_of(fleet, drift, cost_w, of_fleet)[drift.warm_up :])
            for fleet, of_fleet in zip(fleets, steps, strict=True)
        ]
        for name, cost_w in costs.items()
    }
    figures = {name: _against(free, churns, drift.cycles) for name, churns in found.items()}
    return figures | {WITHIN: _within(figures)}


def _within(figures: Mapping[str, Mapping[str, float | int]]) -> dict[str, float | int]:
    """The cost of a start that saves most of them for no more power than the target allows; zeros where none does."""
    named = [(f["fewerStartsPercent"], f["morePowerPercent"]) for f in figures.values()]
    able = [(fewer, more) for fewer, more in named if more <= MORE_POWER_PERCENT]
    fewer, more = max(able, default=(0.0, 0.0))
    return {
        "mostMorePowerPercent": MORE_POWER_PERCENT,
        "fewerStartsPercent": fewer,
        "morePowerPercent": more,
        "targetFewerStartsPercent": FEWER_PERCENT,
    }


def foresight_of(drift: Drift, seed: int, fewer_percent: float = FEWER_PERCENT) -> dict[str, float | int]:
    """The bound on power with so many fewer starts for somebody who knows every load beforehand; equal split."""
    fleet = drawn(drift.case, seed)
    free = churn_of(fleet, steps_of(fleet, drift, np.zeros(len(fleet.kinds)))[drift.warm_up :])
    loads = islice(drift.loads(len(fleet.lanes)), drift.warm_up, None)
    first, *later = [fleet.loaded(factors) for factors in loads]
    running = step(Form.EQUAL, first, {}, np.zeros(len(fleet.kinds)), drift.engine).running
    most = free.starts * drift.cycles * (1.0 - fewer_percent / 100.0)
    least_w = least_power_w(later, running, most)
    return {
        "cycles": drift.cycles,
        "fewerStartsPercent": fewer_percent,
        "morePowerPercentAtLeast": round(100.0 * (least_w / free.serving_w - 1.0), 3),
    }


def _against(free: Sequence[Churn], found: Sequence[Churn], cycles: int) -> dict[str, float | int]:
    """Means over fleets; the least saving of any of them beside."""
    starts, free_starts = (math.fsum(c.starts for c in churns) for churns in (found, free))
    serving_w, free_w = (math.fsum(c.serving_w for c in churns) for churns in (found, free))
    all_w, all_free_w = (math.fsum(c.serving_w + c.loading_w for c in churns) for churns in (found, free))
    number = len(free)
    return {
        "cycles": cycles,
        "fleets": number,
        "shedPoolsPerCycle": round(math.fsum(c.shed for c in found) / number, 3),
        "startsPerCycleAtNoCost": round(free_starts / number, 2),
        "startsPerCycle": round(starts / number, 2),
        "fewerStartsPercent": round(100.0 * (1.0 - starts / max(free_starts, 1e-9)), 1),
        "fewerStartsPercentLeast": round(min(map(_fewer_percent, free, found)), 1),
        "morePowerPercent": round(100.0 * (serving_w / free_w - 1.0), 3),
        "morePowerWithLoadingPercent": round(100.0 * (all_w / all_free_w - 1.0), 3),
    }


def _fewer_percent(free: Churn, found: Churn) -> float:
    return 100.0 * (1.0 - found.starts / max(free.starts, 1e-9))


def steps_of(fleet: Fleet, drift: Drift, start_w: Floats, free: Sequence[Step] = ()) -> list[Step]:
    """Cycle by cycle, what is decided with what runs by then.

    Args:
        start_w: cost of a start by kind, in watts over a cycle.
        free: the same cycles where a start costs nothing; of them only those up to the cycle at hand are looked at.
    """
    steps: list[Step] = []
    running: Running = {}
    for cycle, factors in enumerate(drift.loads(len(fleet.lanes))):
        seen = free[: cycle + 1][max(0, cycle + 1 - drift.recent) :]
        wanted = Wanted([before.running for before in seen], LATER_SHARE)
        steps.append(step(drift.form, fleet.loaded(factors), running, start_w, drift.engine, wanted))
        running = steps[-1].running
    return steps


def churn_of(fleet: Fleet, steps: Sequence[Step]) -> Churn:
    """Means over the cycles after the first, of which every instance is a start whatever is decided."""
    of_kind_w = loading_w(fleet.kinds)
    started = [begun(before.running, now.running) for before, now in pairwise(steps)]
    cycles = len(started)
    return Churn(
        starts=sum(sum(by_kind.values()) for by_kind in started) / cycles,
        shed=math.fsum(now.shed for now in steps[1:]) / cycles,
        serving_w=math.fsum(now.watts for now in steps[1:]) / cycles,
        loading_w=math.fsum(n * float(of_kind_w[k]) for by_kind in started for k, n in by_kind.items())
        / cycles,
    )

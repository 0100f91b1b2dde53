"""What nobody can beat: the least power with so many starts by somebody who knows all loads beforehand.

One column per pool and way through the cycles (kind and count in each), priced by a dynamic programme at the
prices of every cycle's GPUs and of a start. The bound is that of the linear programme: valid for whole plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from joulery.bench.forms import COVERAGE_TOLERANCE, Running
from joulery.bench.suite import NODE_GPUS, Fleet
from joulery.optimizer.fill.lane import Lane
from joulery.optimizer.lp import Columns, Master
from joulery.optimizer.problem import Floats, Ints

# Price and bound closer than this are the same: a hundredth of the power that is at stake.
CONVERGED = 2e-4
MOST_CALLS = 120
# More instances than so many times the fewest are never worth their idle power.
MOST_OVER_LEAST = 3
# Of a GPU or a start that is missing, in pools' mean power: far above any saving.
ELASTIC_COST = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """One pool's states, and what they and the moves between them cost.

    Attributes:
        watts: `[cycle, state]`, infinite where the load is not carried.
        gpus: `[state, accelerator]`.
        starts: `[state before, state after]`; `first` is from what runs.
    """

    watts: Floats
    gpus: Floats
    starts: Ints
    first: Ints

    def best(self, gpu_w: Floats, start_w: float) -> tuple[float, float, Floats]:
        """Value, watts and use (GPUs by cycle and accelerator, then starts) of the best way at these prices."""
        value = self.watts[0] + self.gpus @ gpu_w[0] + start_w * self.first
        origins: list[Ints] = []
        for watts, prices in zip(self.watts[1:], gpu_w[1:], strict=True):
            through = value[:, None] + start_w * self.starts
            origins.append(through.argmin(axis=0))
            value = through.min(axis=0) + watts + self.gpus @ prices
        way = [int(value.argmin())]
        for origin in reversed(origins):
            way.append(int(origin[way[-1]]))
        way.reverse()
        starts = self.first[way[0]] + self.starts[way[:-1], way[1:]].sum()
        watts_w = float(self.watts[np.arange(len(way)), way].sum())
        return float(value.min()), watts_w, np.append(self.gpus[way].ravel(), float(starts))


def least_power_w(fleets: Sequence[Fleet], running: Running, most_starts: float) -> float:
    """Watts per cycle below which no plans for these fleets start at most so many instances in all.

    Args:
        fleets: the same pools with the loads of each cycle.
        running: what runs before the first.
    """
    first = fleets[0]
    ways = [ways_of(fleets, pool, running[lane.key]) for pool, lane in enumerate(first.lanes)]
    gpus = np.array([nodes * NODE_GPUS for nodes in first.nodes], dtype=np.int64)
    limits = np.append(np.tile(gpus, len(fleets)), np.int64(most_starts))
    unit_w = float(np.mean([way.watts.min(axis=1).sum() for way in ways]))
    master = Master(len(ways), limits, ELASTIC_COST)
    prices, best_prices, bound_w = np.zeros(len(limits)), np.zeros(len(limits)), -np.inf
    for _ in range(MOST_CALLS):
        damped = (prices + best_prices) / 2.0
        found = [way.best(damped[:-1].reshape(len(fleets), -1), float(damped[-1])) for way in ways]
        lower_w = sum(value for value, _, _ in found) - float(limits @ damped)
        if lower_w > bound_w:
            bound_w, best_prices = lower_w, damped
        cost = np.array([watts for _, watts, _ in found]) / unit_w
        master.add(Columns(np.arange(len(ways)), cost, np.array([use for _, _, use in found])))
        at = master.solve(60.0)
        if at is None or at.objective * unit_w - bound_w <= CONVERGED * bound_w:
            break
        prices = at.prices * unit_w
    return bound_w / len(fleets)


def ways_of(fleets: Sequence[Fleet], pool: int, running: Mapping[int, int]) -> Ways:
    """One pool's states over the cycles of these fleets."""
    lanes = [fleet.lanes[pool] for fleet in fleets]
    kind, count = _states(lanes)
    kinds = fleets[0].kinds
    names = sorted({k.accelerator for k in kinds})
    gpus = np.zeros((len(kind), len(names)))
    gpus[np.arange(len(kind)), [names.index(kinds[k].accelerator) for k in kind]] = [
        kinds[k].gpus * n for k, n in zip(kind, count, strict=True)
    ]
    same = kind[:, None] == kind[None, :]
    present = np.array([running.get(int(k), 0) for k in kind])
    return Ways(
        watts=np.stack([_watts(lane, kind, count) for lane in lanes]),
        gpus=gpus,
        starts=np.where(same, np.maximum(0, count[None, :] - count[:, None]), count[None, :]),
        first=np.maximum(0, count - present),
    )


def _states(lanes: Sequence[Lane]) -> tuple[Ints, Ints]:
    """Every (kind, count) that carries some cycle's load and is not far too many."""
    found: list[tuple[int, int]] = []
    for kind in np.unique(lanes[0].kind).tolist():
        capacity = np.stack([lane.capacity[lane.kind == kind] for lane in lanes])
        least = int(np.ceil(1.0 / capacity.max() - COVERAGE_TOLERANCE))
        most = min(int(np.ceil(1.0 / capacity.min())), MOST_OVER_LEAST * least + 2)
        found += [(kind, n) for n in range(least, most + 1)]
    states = np.array(found, dtype=np.int64)
    return states[:, 0], states[:, 1]


def _watts(lane: Lane, kind: Ints, count: Ints) -> Floats:
    """Least watts of each state over its clocks, infinite where none carries the load."""
    carried = count[:, None] * lane.capacity[None, :]
    able = (lane.kind[None, :] == kind[:, None]) & (carried >= 1.0 - COVERAGE_TOLERANCE)
    used = np.minimum(1.0, 1.0 / carried)
    watts = count[:, None] * (lane.idle_w + (lane.full_w - lane.idle_w) * used)
    least: Floats = np.where(able, watts, np.inf).min(axis=1)
    return least

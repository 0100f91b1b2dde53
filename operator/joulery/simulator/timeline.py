"""A run over time, for plots: load, instances by variant, mean clock and watts per pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.simulator.world import PoolWorld, World


@dataclass(slots=True)
class PoolTimeline:
    """Parallel lists, one entry per sample; watts are means since the sample before."""

    seconds: list[float] = field(default_factory=list)
    requests_per_s: list[float] = field(default_factory=list)
    replicas: dict[str, list[int]] = field(default_factory=dict)
    clock_mhz: list[float] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)
    energy_j: float = 0.0

    def add(
        self,
        at_s: float,
        requests_per_s: float,
        replicas: Mapping[str, int],
        clock_mhz: float,
        energy_j: float,
    ) -> None:
        """One sample; `energy_j` is the total so far."""
        before_s = self.seconds[-1] if self.seconds else 0.0
        self.watts.append((energy_j - self.energy_j) / max(at_s - before_s, 1e-9))
        self.energy_j = energy_j
        self.seconds.append(at_s)
        self.requests_per_s.append(requests_per_s)
        self.clock_mhz.append(clock_mhz)
        for variant, count in replicas.items():
            self.replicas.setdefault(variant, []).append(count)

    def as_json(self) -> dict[str, object]:
        """For `summary.json` and plots."""
        return {
            "seconds": [round(s, 1) for s in self.seconds],
            "requestsPerSecond": [round(r, 3) for r in self.requests_per_s],
            "replicas": self.replicas,
            "clockMHz": [round(c) for c in self.clock_mhz],
            "watts": [round(w, 1) for w in self.watts],
        }


@dataclass(slots=True)
class Recorder:
    """Collects pool timelines from a replay's polls; `every_s` thins them."""

    every_s: float
    pools: dict[str, PoolTimeline] = field(default_factory=dict)
    next_s: float = 0.0

    def __call__(self, now_s: float, world: World, demand: Mapping[ObjectKey, Demand]) -> None:
        """One poll of a replay."""
        if now_s < self.next_s:
            return
        self.next_s = now_s + self.every_s
        for key, pool in world.pools.items():
            timeline = self.pools.setdefault(key.name, PoolTimeline())
            replicas = {v.name: len(pool.living(v.name)) for v in pool.pool.variants}
            timeline.add(now_s, demand[key].requests_per_s, replicas, _mean_clock(pool), pool.energy_j())

    def as_json(self) -> dict[str, object]:
        """Timelines by pool."""
        return {name: timeline.as_json() for name, timeline in self.pools.items()}


def _mean_clock(pool: PoolWorld) -> float:
    serving = pool.serving()
    return sum(i.clock_mhz for i in serving) / len(serving) if serving else 0.0

"""Baselines: `Constant` serves SinglePool and BestStatic; `Reactive` follows load as KEDA and an HPA do.

Both at one tensor-parallel size per pool; `Reactive` at the highest clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from joulery.domain.demand import Demand
from joulery.domain.fleet import Fleet, PoolState
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Pool
from joulery.domain.reasons import SCALE_DOWN, SCALE_UP
from joulery.simulator.replay import Actions


@dataclass(frozen=True, slots=True)
class Setting:
    """One pool's fixed configuration."""

    variant: str
    replicas: int
    clock_mhz: int


@dataclass(frozen=True, slots=True)
class Constant:
    """The same instances all day."""

    name: str
    settings: Mapping[ObjectKey, Setting]

    @property
    def constants(self) -> Mapping[str, object]:
        """Variant, replicas and clock per pool."""
        return {
            key.name: {"variant": s.variant, "replicas": s.replicas, "clockMHz": s.clock_mhz}
            for key, s in self.settings.items()
        }

    def initial(self, pool: Pool) -> tuple[str, int, int]:
        """Its one setting."""
        setting = self.settings[pool.key]
        return setting.variant, setting.replicas, setting.clock_mhz

    def step(self, fleet: Fleet, demand: Mapping[ObjectKey, Demand]) -> Actions:
        """Nothing, ever."""
        del fleet, demand
        return Actions()


@dataclass(frozen=True, slots=True)
class ReactiveSetting:
    """One pool under reactive scaling: requests per second that one replica is given, at most."""

    variant: str
    rate_per_replica_rps: float
    first_replicas: int
    clock_mhz: int


@dataclass(slots=True)
class Reactive:
    """Replicas = ceil(rate / target), up at once, down to the highest wish of the last five minutes (HPA's default)."""

    settings: Mapping[ObjectKey, ReactiveSetting]
    stabilization_s: float = 300.0
    name: str = "Reactive"
    _wishes: dict[ObjectKey, list[tuple[float, int]]] = field(default_factory=dict)

    @property
    def constants(self) -> Mapping[str, object]:
        """Variant and target rate per pool, and the stabilisation window."""
        pools = {
            key.name: {"variant": s.variant, "requestsPerSecondPerReplica": round(s.rate_per_replica_rps, 4)}
            for key, s in self.settings.items()
        }
        return {**pools, "stabilizationSeconds": self.stabilization_s}

    def initial(self, pool: Pool) -> tuple[str, int, int]:
        """Its first size at the highest clock."""
        setting = self.settings[pool.key]
        return setting.variant, setting.first_replicas, setting.clock_mhz

    def step(self, fleet: Fleet, demand: Mapping[ObjectKey, Demand]) -> Actions:
        """Follow the measured rate."""
        changes = [self._change(fleet.observed_at_s, state, demand[state.pool.key]) for state in fleet.pools]
        return Actions(changes=tuple(c for c in changes if c is not None))

    def _change(self, now_s: float, state: PoolState, demand: Demand) -> ScaleChange | None:
        key = state.pool.key
        setting = self.settings[key]
        variant = state.pool.variant(setting.variant)
        wish = math.ceil(demand.requests_per_s / setting.rate_per_replica_rps)
        wish = min(max(wish, variant.min_replicas, 1), variant.max_replicas)
        recent = [w for w in self._wishes.get(key, []) if w[0] >= now_s - self.stabilization_s]
        self._wishes[key] = [*recent, (now_s, wish)]
        seen = state.variant(variant.name).desired or 0
        want = max(wish, min(seen, max(w for _, w in self._wishes[key])))
        if want == seen:
            return None
        reason = SCALE_UP if want > seen else SCALE_DOWN
        return ScaleChange(
            key, variant.name, variant.target, seen, want, reason, f"{demand.requests_per_s:.2f} req/s"
        )

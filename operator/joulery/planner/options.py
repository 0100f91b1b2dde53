"""A pool's options for the optimizer: every (variant, count, clock) with its true watts, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from joulery.domain.pool import Variant
from joulery.optimizer.problem import GpuQuota, Kind, PoolBlock
from joulery.planner.candidates import choosable, count_bounds
from joulery.planner.pricing import Pricing
from joulery.planner.settings import PlannerSettings
from joulery.planner.view import PoolView

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """What a pool should run."""

    variant: str
    replicas: int
    clock_mhz: int


@dataclass(frozen=True, slots=True, eq=False)
class PoolOptions:
    """A block with the variant of each of its options."""

    block: PoolBlock
    variants: tuple[str, ...]

    def target(self, option: int) -> Target:
        """The option of that index."""
        return Target(self.variants[option], int(self.block.count[option]), int(self.block.clock_mhz[option]))

    def cost_w(self, target: Target) -> float | None:
        """Watts and switching cost of a target, None where it is no option."""
        hit = (self.block.count == target.replicas) & (self.block.clock_mhz == target.clock_mhz)
        for option in np.flatnonzero(hit):
            if self.variants[option] == target.variant:
                return float(self.block.watts[option] + self.block.switch_w[option])
        return None

    def raising(self, current: Target) -> PoolOptions:
        """Without other variants and smaller counts, where that costs no share of the peak."""
        block = self.block
        same = np.array([name == current.variant for name in self.variants])
        kept = (same & (block.count >= current.replicas)) | (block.count == 0)
        if block.served[kept].max() < block.served.max():
            return self
        arrays = {name: getattr(block, name)[kept] for name in _ARRAYS}
        arrays["starts"] = block.starts[kept] if block.starts is not None else None
        names = tuple(name for name, keep in zip(self.variants, kept, strict=True) if keep)
        return PoolOptions(replace(block, **arrays), names)


_ARRAYS = ("kind", "count", "clock_mhz", "watts", "served", "switch_w")


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    count: Ints
    clock_mhz: Ints
    watts: Floats
    served: Floats
    switch_w: Floats
    starts: Ints


def kinds_of(views: Sequence[PoolView], quotas: Sequence[GpuQuota] = ()) -> tuple[Kind, ...]:
    """One kind per pool and variant, under its namespace's quota; options name them by position (`first_kind`)."""
    names = {quota.name for quota in quotas}
    return tuple(
        Kind(v.accelerator, v.tensor_parallel_size, space if space in names else "")
        for view in views
        for space in [view.key.namespace]
        for v in view.pool.variants
    )


def build_options(
    view: PoolView, pricing: Pricing, *, first_kind: int, horizon_s: float, settings: PlannerSettings
) -> PoolOptions:
    """All options of a pool, none first: count 0 serves what the instances beside can carry."""
    movable = [v.name for v in choosable(view)]
    names: list[str] = movable[:1]
    kinds: list[int] = [first_kind]
    rows = [_nothing(pricing)]
    for index, variant in enumerate(view.pool.variants):
        if variant.name not in movable or pricing.points.get(variant.name) is None:
            continue
        if pricing.max_rate_rps(variant.name) <= 0.0:
            continue
        added = _rows(view, pricing, variant, horizon_s, settings)
        names += [variant.name] * len(added.count)
        kinds += [first_kind + index] * len(added.count)
        rows.append(added)
    block = PoolBlock(
        key=str(view.key),
        weight=float(view.pool.weight),
        kind=np.array(kinds, dtype=np.int64),
        count=np.concatenate([r.count for r in rows]),
        clock_mhz=np.concatenate([r.clock_mhz for r in rows]),
        watts=np.concatenate([r.watts for r in rows]),
        served=np.concatenate([r.served for r in rows]),
        switch_w=np.concatenate([r.switch_w for r in rows]),
        starts=np.concatenate([r.starts for r in rows]),
    )
    return PoolOptions(block, tuple(names))


def loading_w(
    view: PoolView, pricing: Pricing, variant: Variant, horizon_s: float, settings: PlannerSettings
) -> float:
    """Energy of starting one instance, spread over the horizon: it draws idle power and serves nothing."""
    startup_s = view.past.startup_s(variant.name, variant.startup_s)
    return startup_s * pricing.points[variant.name].idle_w * settings.loading_utilisation / horizon_s


def most_useful(pricing: Pricing, variant: str) -> int:
    """Count beyond which another instance only costs: the peak is held and the lowest clock will do."""
    best = pricing.max_rate_rps(variant)
    least = next((rate for rate in pricing.points[variant].max_rate_rps if rate > 0.0), best)
    return (
        max(pricing.sharing.needed(pricing.peak_rps / best), math.ceil(pricing.mean_rps / float(least))) + 1
    )


def _nothing(pricing: Pricing) -> _Rows:
    first = next(iter(pricing.points))
    highest = np.array([pricing.points[first].clocks_mhz[-1]], dtype=np.int64)
    served = pricing.served(first, 0)
    watts = pricing.beside_w(pricing.share_rps(first, 0))
    none = np.zeros(1, dtype=np.int64)
    return _Rows(none, highest, np.array([watts]), np.array([served]), np.zeros(1), none)


def _rows(
    view: PoolView, pricing: Pricing, variant: Variant, horizon_s: float, settings: PlannerSettings
) -> _Rows:
    low, high = count_bounds(view, variant, settings.longest_count)
    useful = max(
        most_useful(pricing, variant.name), variant.min_replicas, view.counts[variant.name].desired, low
    )
    counts = np.arange(low, min(high, useful) + 1, dtype=np.int64)
    if pricing.beside or low == 0:
        counts = counts[counts > 0]
    served = np.array([pricing.served(variant.name, int(n)) for n in counts], dtype=np.float64)
    if variant.min_replicas > 0:
        # Missing minimum replicas count as load shed, so that what fits is still served.
        served = served * np.minimum(1.0, counts / variant.min_replicas)
    fresh = np.maximum(0, counts - view.counts[variant.name].expected)
    switch = fresh * loading_w(view, pricing, variant, horizon_s, settings)
    return _with_clocks(pricing, variant.name, counts, served, switch, fresh)


def _with_clocks(
    pricing: Pricing, variant: str, counts: Ints, served: Floats, switch_w: Floats, starts: Ints
) -> _Rows:
    """The counts, each with all clocks that carry its share; by rising count, then clock."""
    points = pricing.points[variant]
    present = np.maximum(0, counts - pricing.absent.get(variant, 0))
    together = present + sum(b.instances for b in pricing.beside)
    shares = pricing.mean_rps / np.maximum(together, 1)
    beside_w = (
        np.array([pricing.beside_w(float(r)) for r in shares]) if pricing.beside else np.zeros(len(counts))
    )
    last = len(points.clocks_mhz) - 1
    watts = np.stack(
        [np.interp(shares, points.rates_rps[i], points.watts[i]) for i in range(last + 1)], axis=1
    )
    able = (points.max_rate_rps[None, :] >= shares[:, None]) & (points.max_rate_rps[None, :] > 0.0)
    able[:, :last] &= pricing.clocks_move
    able[:, last] = True  # overloaded instances run at the highest clock
    row, clock = np.nonzero(able)
    return _Rows(
        count=counts[row],
        clock_mhz=np.array(points.clocks_mhz, dtype=np.int64)[clock],
        watts=present[row] * watts[row, clock] + beside_w[row],
        served=served[row],
        switch_w=switch_w[row],
        starts=starts[row],
    )

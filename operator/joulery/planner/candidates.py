"""What a pool may choose between: variants, counts and what stays beside, under holds and knobs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from joulery.domain import reasons
from joulery.domain.pool import Knob, Variant
from joulery.domain.verdict import Verdict
from joulery.planner.burstiness import LEVELS, level_at
from joulery.planner.pricing import Beside, PointSource
from joulery.planner.view import PoolView
from joulery.serving.mix import LengthMix
from joulery.serving.points import OperatingPoints

# Below this share of what calm traffic may load an instance with, single bursts miss the objective at any rate.
_LEAST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Running:
    """What a pool is on: the goal it moves to, else the variant with most replicas."""

    variant: str
    replicas: int


def running(view: PoolView) -> Running | None:
    """The goal of an acting pool that can be reached, else what is observed of its free variants; None where all
    are held.
    """
    memory = view.past.memory
    free = [v for v in view.pool.variants if view.is_free(v.name)]
    name, goal = memory.goal_variant, memory.goal_replicas
    if view.acts and name is not None and goal is not None and name in {v.name for v in free}:
        # A quota or taint that came since may leave no room for the rest of the goal; the last one asked for
        # stays, or a pod that waits for a node would be gone before one is added for it.
        within = min(goal, max(view.rooms.get(name, goal), min(1, view.counts[name].desired)))
        if reachable(view, name, within) == within:
            return Running(name, within)
    if not free:
        return None
    most = max(free, key=lambda v: view.counts[v.name].desired * v.tensor_parallel_size)  # first of equals
    return Running(most.name, view.counts[most.name].desired)


def reachable(view: PoolView, variant: str, replicas: int) -> int:
    """Of so many replicas of a variant those that are there, where it has long found no room for more."""
    is_blocked = variant in dict(view.past.blocked) and variant in view.counts
    return min(replicas, view.counts[variant].desired) if is_blocked else replicas


def choosable(view: PoolView) -> tuple[Variant, ...]:
    """Variants a plan may choose: all free ones with knob Shards, else the one that runs."""
    now = running(view)
    if now is None:
        return ()
    return tuple(
        v
        for v in view.pool.variants
        if view.is_free(v.name) and (view.has(Knob.SHARDS) or v.name == now.variant)
    )


def beside(view: PoolView) -> tuple[Beside, ...]:
    """Replicas of variants that no plan may choose; they share the load as they are."""
    moved = {v.name for v in choosable(view)}
    return tuple(
        Beside(v.name, view.counts[v.name].expected)
        for v in view.pool.variants
        if v.name not in moved and view.counts[v.name].expected > 0
    )


def count_bounds(view: PoolView, variant: Variant, longest: int) -> tuple[int, int]:
    """Least and most instances that may be chosen of a variant; most is below least where there are none.

    Without knob Replicas the GPUs in use stay, so that another variant gets as many instances as they make.
    A variant whose pods find no node is asked for no more than it has, none for more than quota and nodes hold.
    """
    if not view.has(Knob.REPLICAS):
        now = running(view)
        gpus = now.replicas * view.pool.variant(now.variant).tensor_parallel_size if now is not None else 0
        kept, rest = divmod(gpus, variant.tensor_parallel_size)
        return (kept, kept) if rest == 0 else (1, 0)
    most = min(variant.max_replicas, longest)
    if variant.name in dict(view.past.blocked):
        most = min(most, view.counts[variant.name].desired)
    return 1, min(most, view.rooms.get(variant.name, most))


def allowed_clocks(view: PoolView, variant: Variant) -> tuple[int, ...]:
    """Clocks worth planning within the policy's bounds; the nearest to the bounds where none lies between."""
    if view.profile is None or variant.accelerator not in view.profile.accelerators:
        return ()
    supported = view.profile.accelerators[variant.accelerator].device.supported_clocks_mhz
    bounds = view.clock_bounds(variant.accelerator)
    if bounds is None:
        return supported
    within = tuple(c for c in supported if bounds.floor_mhz <= c <= bounds.ceiling_mhz)
    if within:
        return within
    return (max((c for c in supported if c <= bounds.ceiling_mhz), default=supported[0]),)


def points_of(
    view: PoolView, mix: LengthMix, dispersion: float, peak_rps: float, catalog: PointSource
) -> dict[str, OperatingPoints] | Verdict:
    """Operating points of every variant that the profile holds, derated; or why there are none."""
    profile = view.profile
    if profile is None:
        return profile_missing(view)
    known: dict[str, OperatingPoints] = {}
    for variant in view.pool.variants:
        clocks = allowed_clocks(view, variant)
        if not clocks or variant.tensor_parallel_size not in _sizes(view, variant):
            continue

        def at(level: float, variant: Variant = variant, clocks: tuple[int, ...] = clocks) -> OperatingPoints:
            return catalog.points(
                profile,
                variant,
                mix=mix,
                objective=view.pool.objective,
                clocks_mhz=clocks,
                dispersion=level,
                speed=view.derate(variant.name).applied,
            )

        known[variant.name] = _for_bursts(at, dispersion, peak_rps)
    serving = any(v.name not in known and view.counts[v.name].expected > 0 for v in view.pool.variants)
    return lacks_variants(view) if serving or not known else known


def _for_bursts(
    at: Callable[[float], OperatingPoints], dispersion: float, peak_rps: float
) -> OperatingPoints:
    """Points for the burstiness that reaches one instance of as many as calm traffic of this peak would need.

    Bursts that no rate would save are planned for as the wildest that can be served.
    """
    calm = at(LEVELS[0])
    if not calm.rate_at(-1):
        return calm
    wanted = level_at(dispersion, math.ceil(peak_rps / calm.rate_at(-1)))
    wilder = (at(level) for level in reversed(LEVELS) if LEVELS[0] < level <= wanted)
    return next((points for points in wilder if points.rate_at(-1) >= _LEAST_SHARE * calm.rate_at(-1)), calm)


def _sizes(view: PoolView, variant: Variant) -> tuple[int, ...]:
    assert view.profile is not None
    return view.profile.accelerators[variant.accelerator].device.tensor_parallel_sizes


def profile_missing(view: PoolView) -> Verdict:
    """No profile of the name that the pool gives."""
    name = view.pool.profile_name
    message = (
        f"EnergyProfile {name!r} does not exist, so pool {view.key} is observed and not planned; "
        f"make one with `joulery profile fit POINTS.csv --model MODEL --name {name}` or "
        f"name one that exists"
    )
    return Verdict(reasons.PROFILE_MISSING, message)


def lacks_variants(view: PoolView) -> Verdict:
    """A profile without the accelerator and size of what runs, or without any that is asked for."""
    asked = ", ".join(f"{v.name} ({v.accelerator} x {v.tensor_parallel_size})" for v in view.pool.variants)
    message = f"EnergyProfile {view.pool.profile_name!r} lacks sizes of pool {view.key}: {asked}"
    return Verdict(
        reasons.PROFILE_LACKS_VARIANT, f"{message}; add them to a new profile or drop the variants"
    )

"""The guardrails: small named rules between what the optimizer found best and what is decided.

Each takes a proposal and returns its target, or another one with the verdict that says why. They run in
order, those that save churn first and those that guard capacity after them, so that safety has the last word.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from joulery.domain import reasons
from joulery.domain.policy import Guardrails
from joulery.domain.pool import Knob
from joulery.domain.verdict import Verdict
from joulery.planner.drain import may_shrink
from joulery.planner.options import PoolOptions, Target
from joulery.planner.pricing import Pricing
from joulery.planner.rehearsal import leads_there
from joulery.planner.settings import PlannerSettings
from joulery.planner.supply import FreeGpus
from joulery.planner.view import PoolView

# The load may grow on the way, which takes a start-up or more; where nothing forces the way, one that is open
# by a hair only would close before its end.
_LOAD_MARGIN = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A target for one pool beside what it is on; `current` has the clock that is best for it now."""

    view: PoolView
    pricing: Pricing
    options: PoolOptions
    current: Target
    target: Target
    limits: Guardrails
    now_s: float
    settings: PlannerSettings
    raise_only: bool = False
    free: FreeGpus | None = None

    @property
    def is_reshard(self) -> bool:
        """Whether another variant is to serve."""
        return self.target.variant != self.current.variant

    @property
    def is_short(self) -> bool:
        """Whether what runs cannot hold the planned peak."""
        return self.capacity_rps(self.current) < self.pricing.peak_rps

    @property
    def is_down(self) -> bool:
        """Whether capacity or GPUs are given up, a reshard without need included."""
        if self.gains_share:
            return False
        fewer = self.capacity_rps(self.target) < self.capacity_rps(self.current)
        return fewer or self.is_reshard or self.gpus(self.target) < self.gpus(self.current)

    @property
    def gains_share(self) -> bool:
        """Whether the target serves more of the peak than what runs does."""
        peak = self.pricing.peak_rps
        return min(self.capacity_rps(self.target), peak) > min(self.capacity_rps(self.current), peak)

    def capacity_rps(self, target: Target) -> float:
        """What a target carries; nothing where its variant cannot meet the objective."""
        if target.variant not in self.pricing.points:
            return 0.0
        return self.pricing.capacity_rps(target.variant, target.replicas)

    def gpus(self, target: Target) -> int:
        """GPUs a target takes."""
        return target.replicas * self.view.pool.variant(target.variant).tensor_parallel_size

    def with_replicas(self, target: Target, replicas: int) -> Target:
        """Another number of replicas, at the clock that is best for it."""
        return Target(target.variant, replicas, self.pricing.price(target.variant, replicas).clock_mhz)


Rule = Callable[[Proposal], tuple[Target, Verdict | None]]


def guard(proposal: Proposal) -> tuple[Target, tuple[Verdict, ...]]:
    """The target after all rules, and what they said."""
    verdicts: list[Verdict] = []
    for rule in RULES:
        target, verdict = rule(proposal)
        proposal = replace(proposal, target=target)
        if verdict is not None:
            verdicts.append(verdict)
    return proposal.target, tuple(verdicts)


def only_raise(p: Proposal) -> tuple[Target, Verdict | None]:
    """Between epochs capacity goes up or stays; another variant only where that serves more."""
    if not p.raise_only or _same_replicas(p) or p.gains_share:
        return p.target, None
    return p.current, None


def keep_for_small_gain(p: Proposal) -> tuple[Target, Verdict | None]:
    """Replicas stay unless the saving over the horizon exceeds switching cost and threshold."""
    if p.gains_share or _same_replicas(p) or not _within_bounds(p):
        return p.target, None
    cost_w = p.options.cost_w(p.target)
    now_w = p.pricing.price(p.current.variant, p.current.replicas).watts
    if cost_w is None or now_w - cost_w >= now_w * p.limits.minimum_gain_percent / 100.0:
        return p.target, None
    return p.current, _verdict(
        p,
        reasons.MINIMUM_GAIN,
        f"saves {now_w - cost_w:.0f} W of {now_w:.0f} W after switching, under "
        f"{p.limits.minimum_gain_percent} %",
    )


def wait_after_up(p: Proposal) -> tuple[Target, Verdict | None]:
    """Nothing is taken away within the dwell after an up, nor before a pool is known well enough.

    Nor is a variant gone back to within the dwell after it was left.
    """
    if not p.is_down:
        return p.target, None
    left_s = p.view.past.memory.variant(p.target.variant).last_down_s if p.is_reshard else None
    turns_s = [t + p.limits.dwell_s for t in (p.view.past.last_up_s, left_s) if t is not None]
    ends_s = max(p.view.past.first_seen_s + p.settings.settle_s, *turns_s, 0.0)
    if p.now_s >= ends_s:
        return p.target, None
    return p.current, _verdict(
        p, reasons.DWELL, f"waits {ends_s - p.now_s:.0f} s more after the last up, change of variant or start"
    )


def bounded_step_down(p: Proposal) -> tuple[Target, Verdict | None]:
    """At most a share of the capacity goes in one epoch; one replica always may."""
    before = p.capacity_rps(p.current)
    floor_rps = before * (1.0 - p.limits.max_step_down_percent / 100.0)
    if p.is_short or p.capacity_rps(p.target) >= floor_rps:
        return p.target, None
    step = max(1, math.floor(p.current.replicas * p.limits.max_step_down_percent / 100.0))
    replicas = max(1, p.current.replicas - step)
    if not p.is_reshard and p.target.replicas >= replicas:
        return p.target, None
    return p.with_replicas(p.current, replicas), _verdict(
        p,
        reasons.STEP_LIMITED,
        f"at most {p.limits.max_step_down_percent} % of its capacity goes in one epoch",
    )


def take_no_way_that_ends_half_way(p: Proposal) -> tuple[Target, Verdict | None]:
    """Another variant is begun only where GPUs and load let the reshard reach its end; else what runs grows."""
    if not p.is_reshard or p.free is None or not p.view.acts or p.view.is_stale:
        return p.target, None
    margin = 1.0 if p.is_short else _LOAD_MARGIN
    if leads_there(p.view, p.target.variant, p.target.replicas, p.free, load_margin=margin):
        return p.target, None
    why = "no GPUs are free for it, or what stays beside it would not carry the load on the way"
    return _grown(p), _verdict(p, reasons.INSUFFICIENT_GPUS, why)


def never_below_observed_need(p: Proposal) -> tuple[Target, Verdict | None]:
    """Replicas never fall below what the load observed now needs at the highest clock."""
    load = p.view.past.last_good_demand
    if load is None or (p.target.replicas >= p.current.replicas and not p.is_reshard):
        return p.target, None
    needed = needed_replicas(p.pricing, p.target.variant, load.requests_per_s)
    if p.target.replicas >= needed:
        return p.target, None
    kept = p.current if p.is_reshard else p.with_replicas(p.target, min(needed, p.current.replicas))
    return kept, _verdict(
        p,
        reasons.BELOW_OBSERVED_NEED,
        f"{load.requests_per_s:.2f} requests/s are served now and need {needed}",
    )


def keep_minimum(p: Proposal) -> tuple[Target, Verdict | None]:
    """Nothing, a shortage included, takes the pool's last replica, its spares or those of a minimum."""
    alone = needed_replicas(p.pricing, p.target.variant, 0.0)
    least = max(alone, p.view.pool.variant(p.target.variant).min_replicas)
    if p.target.replicas >= least or (not p.is_reshard and p.target.replicas >= p.current.replicas):
        return p.target, None
    kept = p.current if p.is_reshard else p.with_replicas(p.current, min(least, p.current.replicas))
    return kept, _verdict(p, reasons.INSUFFICIENT_GPUS, f"{p.target.variant} has a minimum of {least}")


def keep_what_cannot_drain(p: Proposal) -> tuple[Target, Verdict | None]:
    """Replicas whose answers would be lost stay; another variant comes beside them only where that serves more."""
    if p.gains_share or not (p.is_reshard or p.target.replicas < p.current.replicas):
        return p.target, None
    problem = may_shrink(p.view, p.current.variant)
    return (p.target, None) if problem is None else (p.current, _verdict(p, problem.reason, problem.message))


def hold_on_stale_metrics(p: Proposal) -> tuple[Target, Verdict | None]:
    """Without trustworthy metrics the goal stays as it is."""
    if not p.view.is_stale:
        return p.target, None
    problem = p.view.demand.problem if p.view.demand is not None else None
    told = problem or Verdict(reasons.METRICS_MISSING, "no demand was read")
    return p.current, _verdict(p, told.reason, told.message)


def obey_knobs(p: Proposal) -> tuple[Target, Verdict | None]:
    """What no knob may move stays, whatever was found."""
    if p.is_reshard and not p.view.has(Knob.SHARDS):
        return p.current, _verdict(p, reasons.KNOB_NOT_ENABLED, "knob Shards is not enabled")
    if not p.is_reshard and p.target.replicas != p.current.replicas and not p.view.has(Knob.REPLICAS):
        return p.current, _verdict(p, reasons.KNOB_NOT_ENABLED, "knob Replicas is not enabled")
    return p.target, None


RULES: tuple[Rule, ...] = (
    only_raise,
    keep_for_small_gain,
    wait_after_up,
    bounded_step_down,
    take_no_way_that_ends_half_way,
    never_below_observed_need,
    keep_minimum,
    keep_what_cannot_drain,
    hold_on_stale_metrics,
    obey_knobs,
)


def needed_replicas(pricing: Pricing, variant: str, load_rps: float) -> int:
    """Fewest replicas of a variant, at least one, that carry a load beside those that stay, spares lost."""
    rate = pricing.max_rate_rps(variant)
    if rate <= 0.0:
        return 1
    weakest = min([rate, *(pricing.max_rate_rps(b.variant) for b in pricing.beside)])
    if weakest <= 0.0:
        return 1
    beside = sum(b.instances for b in pricing.beside)
    together = pricing.sharing.needed(max(0.0, load_rps) / weakest)
    return max(1, together - beside + pricing.absent.get(variant, 0))


def _grown(p: Proposal) -> Target:
    """What runs, with as many more as the peak needs and free GPUs take."""
    variant = p.view.pool.variant(p.current.variant)
    room = p.free.slots(variant) if p.free is not None else 0
    most = min(p.view.counts[variant.name].desired + room, variant.max_replicas)
    needed = needed_replicas(p.pricing, variant.name, p.pricing.peak_rps) if p.is_short else 0
    more = min(needed, most)
    can_grow = more > p.current.replicas and p.view.has(Knob.REPLICAS)
    return p.with_replicas(p.current, more) if can_grow else p.current


def _same_replicas(p: Proposal) -> bool:
    return (p.target.variant, p.target.replicas) == (p.current.variant, p.current.replicas)


def _within_bounds(p: Proposal) -> bool:
    """Whether what runs is something the pool's specification still asks for."""
    variant = p.view.pool.variant(p.current.variant)
    return max(1, variant.min_replicas) <= p.current.replicas <= variant.max_replicas


def _verdict(p: Proposal, reason: str, why: str) -> Verdict:
    wished = f"{p.target.replicas} x {p.target.variant}"
    return Verdict(
        reason, f"pool {p.view.key}: {p.current.replicas} x {p.current.variant}, not {wished}: {why}"
    )

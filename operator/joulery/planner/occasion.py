"""When to plan: at the epoch, when something changed, or at once when demand has left the plan's envelope or load
holds an instance at its highest clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.plan import Plan, PlanKind, PoolPlan
from joulery.domain.policy import Policy
from joulery.planner.candidates import beside, reachable
from joulery.planner.held import asks_for_more
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings
from joulery.planner.terms import Terms
from joulery.planner.view import PoolView

# Polls are not on the second; an epoch that is due within one is due.
_JITTER_S = 1.0


def occasion(
    views: Sequence[PoolView],
    history: History,
    policy: Policy,
    now_s: float,
    settings: PlannerSettings,
    stopwatch: Callable[[], float] | None = None,
) -> Terms | None:
    """The terms of a plan to be made now, None where the one in force holds."""
    epoch_s = policy.cadence.plan_epoch_s
    terms = Terms(
        now_s,
        epoch_s,
        policy.solver_time_limit_s,
        settings,
        stopwatch=stopwatch,
        max_starts=policy.max_starts_per_plan,
    )
    last_s = history.last_epoch_s
    if last_s is None or now_s - last_s >= epoch_s - _JITTER_S or any(_is_changed(v) for v in views):
        return terms
    plan = history.plan
    outside = frozenset(v.key for v in views if _is_urgent(v, plan, now_s, settings))
    held = frozenset(
        v.key for v in views if asks_for_more(v, plan, epoch_s=epoch_s, now_s=now_s, settings=settings)
    )
    if not outside | held:
        return None
    return replace(terms, kind=PlanKind.UP_ONLY, movers=outside | held, held=held - outside, max_starts=None)


def watched(view: PoolView, plan: Plan | None, settings: PlannerSettings) -> PoolView:
    """The view with its count of polls outside the envelope brought up to date."""
    polls = view.past.outside_polls + 1 if _is_outside(view, plan, settings) else 0
    if polls == view.past.outside_polls:
        return view
    return replace(view, past=replace(view.past, outside_polls=polls))


def held_capacity_rps(view: PoolView, part: PoolPlan) -> float | None:
    """What a pool carries once its plan is reached, absent replicas left out; None if not known."""
    absent = view.counts[part.variant].absent if part.variant in view.counts else 0
    parties = {b.variant: b.instances for b in beside(view)}
    parties.setdefault(part.variant, max(0, reachable(view, part.variant, part.replicas) - absent))
    rates = [(n, view.past.max_rate_rps(name) or 0.0) for name, n in parties.items()]
    # A rate of 0 is an objective out of reach: more instances would not help.
    return view.sharing.capacity_rps(rates) if all(rate > 0.0 for _, rate in rates) else None


def _is_changed(view: PoolView) -> bool:
    """Whether specification, bounds, profile or holds are others than planned for, or load is known now."""
    if view.mark() != view.past.mark:
        return True
    obstacle = view.past.obstacle
    waited_for_load = obstacle is not None and obstacle.reason not in _NOT_ABOUT_LOAD
    return waited_for_load and not view.is_stale and view.past.lengths is not None


_NOT_ABOUT_LOAD = frozenset({reasons.PROFILE_MISSING, reasons.PROFILE_INVALID, reasons.PROFILE_LACKS_VARIANT})


def _is_outside(view: PoolView, plan: Plan | None, settings: PlannerSettings) -> bool:
    part = plan.pool(view.key) if plan is not None else None
    if part is None or view.forecast is None or view.is_stale or not view.acts:
        return False
    capacity = held_capacity_rps(view, part)
    if capacity is None:
        return False
    edge_rps = capacity * (1.0 + settings.envelope_percent / 100.0)
    return view.forecast.peak_rps > edge_rps or view.past.samples[-1][1] > capacity


def _is_urgent(view: PoolView, plan: Plan | None, now_s: float, settings: PlannerSettings) -> bool:
    """Outside for long enough, or the rate alone is clearly beyond capacity; what was futile is retried slowly."""
    part = plan.pool(view.key) if plan is not None else None
    if view.past.outside_polls == 0 or part is None:
        return False
    if view.past.futile_s is not None and now_s - view.past.futile_s < settings.replan_s:
        return False
    if view.past.outside_polls >= settings.envelope_polls:
        return True
    capacity = held_capacity_rps(view, part)
    if capacity is None:
        return False
    jump_rps = view.forecast.jump_rps if view.forecast is not None else 0.0
    # A jump is two polls' word already.
    return jump_rps > capacity or view.past.samples[-1][1] > capacity + _noise_rps(view, capacity, settings)


def _noise_rps(view: PoolView, rate_rps: float, settings: PlannerSettings) -> float:
    """By how much one sample of a rate may exceed it by chance; not from samples, which a jump is part of."""
    dispersion = view.past.dispersion or settings.prior_dispersion
    return settings.jump_deviations * math.sqrt(dispersion * rate_rps / settings.rate_window_s)

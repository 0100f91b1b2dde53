"""Taking in one poll: rate samples, lengths, learned start-ups, blocked variants, and the forecast."""

from __future__ import annotations

from dataclasses import replace

from joulery.domain.demand import Demand
from joulery.domain.fleet import VariantState
from joulery.domain.memory import PoolMemory, VariantMemory
from joulery.planner.backlog import backlog_requests, catch_up_s, with_backlog
from joulery.planner.burstiness import with_newest
from joulery.planner.forecast import Sample, forecast
from joulery.planner.history import PoolHistory, remembered
from joulery.planner.load import averaged
from joulery.planner.settings import PlannerSettings
from joulery.planner.startups import with_starts
from joulery.planner.supply import FreeGpus
from joulery.planner.traffic import traffic_of
from joulery.planner.view import PoolView


def observe(
    view: PoolView,
    free: FreeGpus,
    *,
    now_s: float,
    last_poll_s: float | None,
    epoch_s: float,
    settings: PlannerSettings,
) -> PoolView:
    """The view with this poll in its history and a forecast, where there is anything to forecast from.

    `free` are the GPUs that its pods could have now.
    """
    started = with_starts(view, now_s=now_s, last_poll_s=last_poll_s, settings=settings)
    past = _blocked(started, view, free, now_s, settings)
    demand = view.demand
    if demand is not None and demand.problem is None:
        traffic = traffic_of(view.state, past.traffic, now_s, settings)
        past = replace(_fed(past, demand, settings), traffic=traffic)
    if not past.samples:
        return replace(view, past=past)
    startup_s = max((past.startup_s(v.name, v.startup_s) for v in view.pool.variants), default=0.0)
    ahead = forecast(
        past.samples, epoch_s=epoch_s, startup_s=startup_s, settings=settings, dispersion=past.dispersion
    )
    if demand is not None and demand.problem is None:
        waits = backlog_requests(view, view.past, demand, ahead, startup_s=startup_s, now_s=now_s)
        ahead = with_backlog(ahead, waits, catch_up_s(startup_s, settings))
    return replace(view, past=past, forecast=ahead)


def _fed(past: PoolHistory, demand: Demand, settings: PlannerSettings) -> PoolHistory:
    if past.samples and demand.observed_at_s <= past.samples[-1][0]:
        return replace(past, last_good_demand=demand)  # the same scrape read twice is one sample
    newest = (demand.observed_at_s, demand.requests_per_s)
    samples = _pushed(past.samples, newest, settings.trend_window_s)
    return replace(
        past,
        samples=samples,
        bursts=with_newest(past.bursts, samples, settings),
        lengths=averaged(past.lengths, demand, settings.mix_window_s),
        last_good_demand=demand,
    )


def _pushed(samples: tuple[Sample, ...], newest: Sample, window_s: float) -> tuple[Sample, ...]:
    oldest_s = newest[0] - window_s
    first = next((i for i, (t, _) in enumerate(samples) if t >= oldest_s), len(samples))
    return (*samples[first:], newest)


def _blocked(
    past: PoolHistory, view: PoolView, free: FreeGpus, now_s: float, settings: PlannerSettings
) -> PoolHistory:
    """History with variants blocked that have long found no node or no room, and blocks lifted that are over.

    One that was blocked for want of room is asked for again as soon as there is some; where there was room and yet no
    pod came, what keeps it out is not known, and only time lifts the block.
    """
    roomy = {v.name for v in view.pool.variants if free.slots(v) > 0}
    lifted = roomy & set(past.crowded)
    kept = {name: until for name, until in past.blocked if until > now_s and name not in lifted}
    for name in _without_room(past, view, now_s, settings) - lifted:
        kept.setdefault(name, now_s + settings.blocked_s)
    fresh = kept.keys() - {name for name, _ in past.blocked}
    crowded = tuple(sorted(name for name in kept if name in past.crowded or name in fresh - roomy))
    blocked = tuple(sorted(kept.items()))
    if (blocked, crowded) == (past.blocked, past.crowded):
        return past
    return replace(past, blocked=blocked, crowded=crowded)


def _without_room(past: PoolHistory, view: PoolView, now_s: float, settings: PlannerSettings) -> set[str]:
    found = {state.variant for _, state in view.variants() if _is_stuck(state, now_s, settings)}
    goal, since_s = past.memory.goal_variant, past.cramped_since_s
    if goal is not None and since_s is not None and now_s - since_s > settings.unschedulable_s:
        found.add(goal)
    return found


def _is_stuck(state: VariantState, now_s: float, settings: PlannerSettings) -> bool:
    return any(
        r.phase == "Unscheduled" and now_s - r.created_s > settings.unschedulable_s for r in state.replicas
    )


def set_replicas(memory: PoolMemory, variant: str, *, seen: int, want: int, now_s: float) -> PoolMemory:
    """The restart block after a change of one variant, written before the change itself."""
    known: VariantMemory = memory.variant(variant)
    was_undone = known.pending_from_replicas == seen
    changed = replace(
        known,
        last_set_replicas=want,
        pending_from_replicas=seen,
        # Written before from the same value and never seen: somebody was faster than our snapshots.
        set_backs_s=(*known.set_backs_s, now_s)[-3:] if was_undone else known.set_backs_s,
        last_up_s=now_s if want > seen else known.last_up_s,
        last_down_s=now_s if want < seen else known.last_down_s,
    )
    return remembered(memory, changed)

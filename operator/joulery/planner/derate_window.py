"""Windows of measured latency: which of them say something about the profile, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.demand import LatencyReport
from joulery.domain.fleet import NodeState, ReplicaPhase, VariantState
from joulery.domain.latency import PROMISE_PERCENT, attainment_percent
from joulery.domain.memory import Derate
from joulery.domain.pool import Knob
from joulery.planner.derate import Window, judge
from joulery.planner.history import PoolHistory, Watch, remembered
from joulery.planner.reinforcement import reinforce
from joulery.planner.settings import PlannerSettings
from joulery.planner.view import PoolView

# Polls are not on the second; a window that is full within one is full.
_JITTER_S = 1.0


def weighed(view: PoolView, nodes: Iterable[NodeState], now_s: float, settings: PlannerSettings) -> PoolView:
    """The view with this poll in its window, and at the window's end what derate and reinforcement become."""
    view = _of_this_profile(view)
    latency = view.demand.latency if view.demand is not None else None
    if view.is_stale or latency is None:
        return replace(view, past=replace(view.past, watch=None))
    watch = _watched(view, nodes, now_s)
    if watch is None or now_s - watch.since_s < latency.window_s - _JITTER_S:
        return replace(view, past=replace(view.past, watch=watch))
    return replace(view, past=_concluded(view, watch, latency, now_s, settings))


def _of_this_profile(view: PoolView) -> PoolView:
    """The view without derates that were learned on another profile."""
    memory = view.past.memory
    for known in memory.variants:
        if view.profile is not None and known.derate.profile not in (None, view.profile.content_hash):
            memory = remembered(memory, replace(known, derate=Derate()))
    return view if memory is view.past.memory else replace(view, past=replace(view.past, memory=memory))


def _watched(view: PoolView, nodes: Iterable[NodeState], now_s: float) -> Watch | None:
    """The window with one more poll; a new one where the serving pods changed, none while they do."""
    alone = _alone(view)
    if alone is None:
        return None
    pods = tuple(sorted(r.uid for r in alone.replicas))
    watch = view.past.watch
    if watch is None or (watch.variant, watch.pods) != (alone.variant, pods):
        watch = Watch(alone.variant, pods, now_s)
    at_highest = _at_highest(view, alone, nodes)
    return replace(watch, polls=watch.polls + 1, polls_at_highest=watch.polls_at_highest + at_highest)


def _alone(view: PoolView) -> VariantState | None:
    """The variant that serves alone and is not on its way to another size; None at an edge."""
    serving = [s for s in view.state.variants if s.ready]
    coming = any(c.coming for c in view.counts.values())
    leaving = any(s.in_phase(ReplicaPhase.TERMINATING) for s in view.state.variants)
    restarted = view.demand is not None and view.demand.note is not None
    if len(serving) != 1 or coming or leaving or restarted:
        return None
    return serving[0]


def _at_highest(view: PoolView, state: VariantState, nodes: Iterable[NodeState]) -> bool:
    """Whether no instance is known to be below its highest clock; without an agent the driver's default holds."""
    if not view.acts or not view.has(Knob.CLOCKS):
        return True
    governed = {n.name for n in nodes if n.agent_ready}
    ready = state.in_phase(ReplicaPhase.READY)
    return all(r.highest_since_s is not None or r.node not in governed for r in ready)


def _concluded(
    view: PoolView, watch: Watch, latency: LatencyReport, now_s: float, settings: PlannerSettings
) -> PoolHistory:
    """The history after a whole window, and with the next one begun."""
    past = view.past
    window = _window(view, watch, latency, now_s)
    derate, judgement = judge(view.derate(watch.variant), window, settings.derate)
    memory = past.memory
    if judgement.reason != reasons.WINDOW_SKIPPED:
        memory = remembered(memory, replace(memory.variant(watch.variant), derate=derate))
    streak = past.streak
    enough = window.requests >= settings.derate.least_requests
    if view.acts and enough and window.attained_percent is not None:
        # Of a pool that is only advised nothing comes to help, so its misses would add up for ever.
        highest = watch.polls_at_highest >= settings.reinforcement.highest_share * watch.polls
        streak = streak.after(kept=window.attained_percent >= PROMISE_PERCENT, at_highest=highest)
    reinforcement, streak = reinforce(memory.reinforcement, streak, now_s, settings.reinforcement)
    return replace(
        past,
        memory=replace(memory, reinforcement=reinforcement),
        watch=Watch(watch.variant, watch.pods, now_s),
        streak=streak,
        judgement=judgement,
    )


def _window(view: PoolView, watch: Watch, latency: LatencyReport, now_s: float) -> Window:
    loads = [rate for at_s, rate in view.past.samples if at_s > watch.since_s] or [0.0]
    rate = next((r for r in view.past.rates if r.variant == watch.variant), None)
    ready = len(watch.pods)
    return Window(
        ends_s=now_s,
        requests=latency.requests,
        attained_percent=attainment_percent(latency) if latency.is_exact else None,
        unfit=_unfit(view, loads, None if rate is None else ready * rate.max_rate_rps),
        is_tested=rate is not None and sum(loads) / len(loads) >= ready * rate.least_rate_rps,
    )


def _unfit(view: PoolView, loads: Sequence[float], planned_rps: float | None) -> str | None:
    """Why a window is not the profile's fault; `planned_rps` is what the plan counts on its pods to carry."""
    traffic = view.past.traffic
    if planned_rps is None:
        return "there are no operating points to judge it by"
    if traffic is not None and traffic.unevenness > 1.0:
        return "requests lay unevenly on the pods"
    if max(loads) > planned_rps:
        return (
            f"{max(loads):.2f} requests/s are more than the {planned_rps:.2f} that the pods were planned for"
        )
    return None

"""Instances that their load holds at the highest clock: a want of capacity that neither demand nor profile shows.

An agent goes there for a queue, a full batch or more tokens than its table holds. Where that lasts, more is asked
of the instances than the plan thought: the plan is made again at once, up only, and not again within the dwell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from joulery.domain import reasons
from joulery.domain.fleet import Replica, ReplicaPhase
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import Plan
from joulery.domain.policy import Guardrails
from joulery.domain.pool import Knob
from joulery.domain.verdict import Verdict
from joulery.planner.settings import PlannerSettings
from joulery.planner.terms import Terms
from joulery.planner.view import PoolView


def asks_for_more(
    view: PoolView, plan: Plan | None, *, epoch_s: float, now_s: float, settings: PlannerSettings
) -> bool:
    """Whether an instance has been held for so long that its pool is to be planned again at once.

    Not while instances are coming, which the plan already counts on, nor where no knob could add any.
    """
    if plan is None or plan.pool(view.key) is None or view.is_stale or not _may_grow(view):
        return False
    if any(counts.coming for counts in view.counts.values()):
        return False
    limits = view.policy.guardrails if view.policy is not None else Guardrails()
    woken_s = view.past.woken_s
    if woken_s is not None and now_s - woken_s < max(limits.dwell_s, epoch_s):
        return False
    return any(now_s - since_s > settings.held_highest_s for since_s, _, _ in _held(view))


def woken(
    views: Sequence[PoolView], terms: Terms | None, now_s: float
) -> tuple[tuple[PoolView, ...], dict[ObjectKey, Verdict]]:
    """The views with this occasion in their history, and what to tell of it, for pools planned because of it."""
    keys = terms.held if terms is not None else frozenset()
    told = {v.key: _verdict(v, now_s) for v in views if v.key in keys}
    seen = (replace(v, past=replace(v.past, woken_s=now_s)) if v.key in keys else v for v in views)
    return tuple(seen), told


def _may_grow(view: PoolView) -> bool:
    return view.acts and (view.has(Knob.REPLICAS) or view.has(Knob.SHARDS))


def _held(view: PoolView) -> Iterator[tuple[float, str, Replica]]:
    """Serving replicas that are held, with their variant and since when."""
    for state in view.state.variants:
        for replica in state.in_phase(ReplicaPhase.READY):
            if replica.highest_since_s is not None:
                yield replica.highest_since_s, state.variant, replica


def _verdict(view: PoolView, now_s: float) -> Verdict:
    held = sorted(_held(view), key=lambda found: found[0])
    since_s, variant, replica = held[0]
    since = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    others = f", and {len(held) - 1} more of its instances later" if len(held) > 1 else ""
    message = (
        f"pool {view.key}: the load of pod {replica.name} (variant {variant}) on node {replica.node} has held it at "
        f"its highest clock since {since}, {now_s - since_s:.0f} s{others}; capacity was planned again at once, and "
        f"only upwards. Should latencies be missed all the same, measure the profile again: {view.pool.profile_name}"
    )
    return Verdict(reasons.HELD_AT_HIGHEST_CLOCK, message)

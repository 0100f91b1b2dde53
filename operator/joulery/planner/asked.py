"""Pools whose replicas an autoscaler sets: Joulery publishes what it wants and touches nothing.

What was asked last stands for what is set, since the autoscaler is on its way there: a way down that it takes its
time for is not asked back up, and a way up is not asked for twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.fleet import Fleet, PoolState, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import PoolMemory, VariantMemory
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Pool, ReplicaActuator, Variant
from joulery.domain.verdict import Verdict
from joulery.planner.history import History, remembered
from joulery.planner.view import PoolView

METRIC = "joulery_desired_replicas"
# Two rounds of an HPA (15 s by default) and of Prometheus behind it; a way down may take its stabilisation window.
_UP_LAGS_S = 60.0
_DOWN_LAGS_S = 600.0


def as_asked(fleet: Fleet, history: History) -> Fleet:
    """The fleet with the replicas that were asked for in place of those that are set, where others set them."""
    if not any(is_followed(state.pool) for state in fleet.pools):
        return fleet
    return replace(fleet, pools=tuple(_pool_as_asked(s, fleet.observed_at_s, history) for s in fleet.pools))


def _pool_as_asked(state: PoolState, now_s: float, history: History) -> PoolState:
    if not is_followed(state.pool):
        return state
    memory = history.pool(state.pool.key, now_s).memory
    asked = (_as_asked(state.pool, s, memory.variant(s.variant), now_s) for s in state.variants)
    return replace(state, variants=tuple(asked))


def _as_asked(pool: Pool, state: VariantState, memory: VariantMemory, now_s: float) -> VariantState:
    if state.desired is None or state.claim is None:
        return state
    variant, found = pool.variant(state.variant), state.desired
    if state.claim.autoscaler is None:
        note = _nobody_follows(pool, variant)
        return replace(state, limits=replace(state.limits, notes=(*state.limits.notes, note)))
    want = memory.asked_replicas
    if want is None or want == found:
        return state
    limits = state.limits
    asked_s = memory.last_up_s if want > found else memory.last_down_s
    if want > found and limits.uncreated_since_s is None:
        # Replicas that the autoscaler does not bring are not coming.
        limits = replace(limits, uncreated_since_s=asked_s)
    if asked_s is not None and now_s - asked_s > (_UP_LAGS_S if want > found else _DOWN_LAGS_S):
        note = _lags(pool, variant, state.claim.autoscaler, found, want, now_s - asked_s)
        limits = replace(limits, notes=(*limits.notes, note))
    return replace(state, desired=want, limits=limits)


def remembered_asks(
    view: PoolView, memory: PoolMemory, changes: Iterable[ScaleChange], now_s: float
) -> PoolMemory:
    """The restart block with what is asked for from now on; nothing where no autoscaler is to follow."""
    wanted = {change.variant: change.want for change in changes}
    follows = view.acts and is_followed(view.pool)
    for state in view.state.variants:
        known = memory.variant(state.variant)
        asked = wanted.get(state.variant, state.desired) if follows and view.is_free(state.variant) else None
        changed = replace(known, asked_replicas=asked)
        if state.variant in wanted and wanted[state.variant] > (state.desired or 0):
            changed = replace(changed, last_up_s=now_s)
        elif state.variant in wanted:
            changed = replace(changed, last_down_s=now_s)
        if changed != known:
            memory = remembered(memory, changed)
    return memory


def is_followed(pool: Pool) -> bool:
    """Whether an autoscaler sets the pool's replicas, and Joulery none."""
    return pool.actuator is ReplicaActuator.METRIC


def asked_of(views: Iterable[PoolView]) -> dict[tuple[ObjectKey, str], int]:
    """What is to be published, by (pool, variant)."""
    return {
        (view.key, known.variant): known.asked_replicas
        for view in views
        for known in view.past.memory.variants
        if known.asked_replicas is not None
    }


def _nobody_follows(pool: Pool, variant: Variant) -> Verdict:
    text = (
        f"pool {pool.key} publishes {METRIC} for {variant.name} and writes nothing, but no autoscaler targets "
        f"{variant.target}; create an HPA or ScaledObject on that metric, or set spec.scaling.actuator: Scale"
    )
    return Verdict(reasons.NO_AUTOSCALER, text)


def _lags(pool: Pool, variant: Variant, scaler: str, found: int, want: int, seconds: float) -> Verdict:
    text = (
        f"pool {pool.key} asks for {want} replicas of {variant.target} since {seconds:.0f} s, but {scaler} keeps "
        f"{found}; check that it reads {METRIC}, and its bounds, tolerance and stabilisation window "
        "(kubectl describe hpa)"
    )
    return Verdict(reasons.AUTOSCALER_LAGS, text)

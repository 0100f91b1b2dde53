"""Holds on replicas that are somebody else's, what is remembered of them, and how capacity is kept meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.fleet import ReplicaPhase, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import VariantMemory
from joulery.domain.ownership import Owner, Ownership, Standing, owned_by
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Knob, Variant
from joulery.domain.verdict import Verdict
from joulery.planner.asked import is_followed
from joulery.planner.cures import adopted_text, contested_text, declared_text, held_text
from joulery.planner.history import remembered
from joulery.planner.supply import FreeGpus
from joulery.planner.view import PoolView

# So many times within so many seconds, and nothing is written there any more.
CONTEST_SET_BACKS = 3
CONTEST_WINDOW_S = 3600.0

# Holds under which replicas may still be raised to what the load needs.
_RAISABLE = frozenset({reasons.REPLICAS_DECLARED, reasons.REPLICAS_HELD})


def owned(view: PoolView, now_s: float) -> PoolView:
    """The view with a hold on every variant whose replicas are not Joulery's to write."""
    memory = view.past.memory
    states: list[VariantState] = []
    for variant, state in view.variants():
        known = _noticed(memory.variant(variant.name), state, now_s)
        hold = state.hold
        if _is_judged(view, state):
            known, hold = _judged(view, variant, state, known, now_s)
        if known != memory.variant(variant.name):
            memory = remembered(memory, known)
        states.append(replace(state, hold=hold))
    seen = replace(view.state, variants=tuple(states))
    return replace(view, state=seen, past=replace(view.past, memory=memory))


def adoptions(
    views: Iterable[PoolView], changes: Sequence[ScaleChange]
) -> dict[tuple[ObjectKey, str], Verdict]:
    """Variants, by (pool, variant), that the changes take over from an owner that cannot be told."""
    by_key = {view.key: view for view in views}
    found: dict[tuple[ObjectKey, str], Verdict] = {}
    for change in changes:
        view = by_key[change.pool]
        state = view.state.variant(change.variant)
        memory = view.past.memory.variant(change.variant)
        if not _is_judged(view, state) or memory.adopted:
            continue
        ownership = _ownership(view, state, memory)
        if ownership.standing is Standing.ADOPTABLE:
            text = adopted_text(view.key, change.target, ownership.owner)
            found[change.pool, change.variant] = Verdict(reasons.REPLICAS_ADOPTED, text)
    return found


def raises(view: PoolView, changes: Sequence[ScaleChange], free: FreeGpus) -> tuple[ScaleChange, ...]:
    """Held variants raised to the load observed now, beside what the other changes make of the pool.

    By replicas asked for and not by those expected: pods on their way are not asked for twice.
    """
    load = view.past.last_good_demand
    if not view.acts or load is None or load.requests_per_s <= 0.0:
        return ()
    asked = {name: counts.desired for name, counts in view.counts.items()}
    asked |= {change.variant: change.want for change in changes}
    raised: list[ScaleChange] = []
    for variant, state in view.variants():
        if state.hold is None or state.hold.reason not in _RAISABLE or state.desired is None:
            continue
        most = min(variant.max_replicas, state.desired + _room(variant, state, free))
        want = min(most, _needed(view, asked, variant.name, load.requests_per_s))
        if want > state.desired:
            raised.append(_raise(view, variant, state.desired, want, load.requests_per_s))
            free = free.taken(variant, want - state.desired)
            asked[variant.name] = want
    return tuple(raised)


def _is_judged(view: PoolView, state: VariantState) -> bool:
    """Whether anything may be written there, and something is known of its owner."""
    if is_followed(view.pool):
        return False
    writes = view.acts or view.past.memory.goal_variant is not None
    moves = bool(view.pool.knobs & {Knob.REPLICAS, Knob.SHARDS})
    ours = state.hold is None or state.hold.reason in _RAISABLE | {reasons.REPLICAS_CONTESTED}
    return writes and moves and ours and state.claim is not None and state.desired is not None


def _noticed(memory: VariantMemory, state: VariantState, now_s: float) -> VariantMemory:
    """Memory with the last write seen to have landed, and with a set-back where others changed it since.

    What an autoscaler made of the last write is no person's choice, so nothing is remembered to compare with.
    """
    if state.claim is not None and state.claim.autoscaler is not None:
        return replace(memory, last_set_replicas=None, pending_from_replicas=None)
    if state.desired is None or state.desired == memory.pending_from_replicas:
        return memory
    landed = replace(memory, pending_from_replicas=None)
    if state.claim is None or memory.last_set_replicas in (None, state.desired):
        return landed
    last_write_s = max(memory.last_up_s or 0.0, memory.last_down_s or 0.0)
    if any(at_s > last_write_s for at_s in memory.set_backs_s):
        return landed
    return replace(landed, set_backs_s=(*memory.set_backs_s, now_s)[-CONTEST_SET_BACKS:])


def _ownership(view: PoolView, state: VariantState, memory: VariantMemory) -> Ownership:
    assert state.claim is not None
    assert state.desired is not None
    return owned_by(state.claim, memory, state.desired, view.pool.adopt)


def _judged(
    view: PoolView, variant: Variant, state: VariantState, memory: VariantMemory, now_s: float
) -> tuple[VariantMemory, Verdict | None]:
    ownership = _ownership(view, state, memory)
    if ownership.standing is Standing.AUTOSCALED:
        return memory, state.hold
    is_same_spec = memory.held_generation == view.pool.generation
    if memory.held_reason == reasons.REPLICAS_CONTESTED and not is_same_spec:
        memory = replace(_released(memory), set_backs_s=())
    reason = _reason(ownership, memory, state, is_same_spec=is_same_spec, now_s=now_s)
    if reason is None:
        return memory if ownership.standing is Standing.HAND else _released(memory), None
    owner = ownership.owner
    if memory.held_reason == reason and (owner is None or owner.is_ours):
        # Since a raise the API server names Joulery: who held them before is what users must know.
        owner = Owner.of_key(memory.held_by) or owner
    if not is_same_spec or memory.held_reason != reason:
        memory = replace(
            memory,
            held_generation=view.pool.generation,
            held_replicas=state.desired,
            held_reason=reason,
        )
    memory = replace(memory, held_by=owner.key if owner is not None else None)
    return memory, Verdict(reason, _text(reason, view, variant, state.desired or 0, owner))


def _reason(
    ownership: Ownership, memory: VariantMemory, state: VariantState, *, is_same_spec: bool, now_s: float
) -> str | None:
    """Why the replicas are held, None where they are ours to write."""
    if _is_contested(memory, state, is_same_spec=is_same_spec, now_s=now_s):
        return reasons.REPLICAS_CONTESTED
    if ownership.standing is Standing.DECLARED:
        return reasons.REPLICAS_DECLARED
    if ownership.standing is Standing.HAND:
        was_held = memory.held_reason == reasons.REPLICAS_HELD and memory.held_replicas == state.desired
        return None if was_held and not is_same_spec else reasons.REPLICAS_HELD
    # A raise made us the owner, or left none as before: that ends no hold.
    is_raised = is_same_spec and memory.last_set_replicas == state.desired and memory.held_reason in _RAISABLE
    unrecorded = ownership.owner is None and memory.held_reason == reasons.REPLICAS_HELD
    if is_raised and (ownership.standing is Standing.OURS or unrecorded):
        return memory.held_reason
    return None


def _is_contested(memory: VariantMemory, state: VariantState, *, is_same_spec: bool, now_s: float) -> bool:
    """Whether others set the replicas back too often, the last write among them where it was gone when we looked.

    A LIST that lags behind the last write looks the same: what it alone made a contest ends when the write is seen.
    """
    recent = sum(now_s - at_s < CONTEST_WINDOW_S for at_s in memory.set_backs_s)
    was_undone = state.desired == memory.pending_from_replicas
    stands = is_same_spec and memory.held_reason == reasons.REPLICAS_CONTESTED
    return recent + was_undone >= CONTEST_SET_BACKS or (
        stands and len(memory.set_backs_s) + was_undone >= CONTEST_SET_BACKS
    )


def _released(memory: VariantMemory) -> VariantMemory:
    return replace(memory, held_generation=None, held_replicas=None, held_reason=None, held_by=None)


def _text(reason: str, view: PoolView, variant: Variant, desired: int, owner: Owner | None) -> str:
    if reason == reasons.REPLICAS_CONTESTED:
        return contested_text(view.key, variant.target, desired, owner)
    if reason == reasons.REPLICAS_DECLARED:
        return declared_text(view.key, variant.target, desired, owner)
    return held_text(view.key, variant.target, desired, owner)


def _room(variant: Variant, state: VariantState, free: FreeGpus) -> int:
    placed = sum(r.node is not None and r.phase is not ReplicaPhase.TERMINATING for r in state.replicas)
    return max(0, free.slots(variant) - max(0, (state.desired or 0) - placed))


def _needed(view: PoolView, asked: dict[str, int], name: str, load_rps: float) -> int:
    """Replicas of one variant that carry a load beside the others; one where no rate is known."""
    others = {n: count for n, count in asked.items() if n != name and count > 0}
    rates = [view.past.max_rate_rps(n) or 0.0 for n in (name, *others)]
    beside = sum(others.values())
    if min(rates) <= 0.0:
        return 0 if beside else 1
    return math.ceil(load_rps / min(rates) - 1e-9) - beside


def _raise(view: PoolView, variant: Variant, seen: int, want: int, load_rps: float) -> ScaleChange:
    message = (
        f"pool {view.key}: {variant.name} {seen} -> {want} replicas although {variant.target} is held: "
        f"{load_rps:.2f} requests/s are served now and need them; Joulery takes none away there"
    )
    return ScaleChange(view.key, variant.name, variant.target, seen, want, reasons.REPLICAS_RAISED, message)

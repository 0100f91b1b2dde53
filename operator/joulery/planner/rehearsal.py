"""Whether a reshard leads to its goal: its own steps, played on what is there, before the first is taken.

A reshard begun without a way to its end would stay half done, or be taken back: both cost start-ups for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from joulery.domain.fleet import PoolState, Replica, ReplicaPhase, VariantState
from joulery.domain.plan import ScaleChange
from joulery.planner.drain import safe_changes
from joulery.planner.move import move_of
from joulery.planner.replicas import Counts
from joulery.planner.reshard import next_steps
from joulery.planner.supply import FreeGpus
from joulery.planner.view import PoolView

# Each step moves one instance at least; a way that takes longer than this is no way.
_MOST_STEPS = 48


def leads_there(
    view: PoolView, variant: str, replicas: int, free: FreeGpus, *, load_margin: float = 1.0
) -> bool:
    """Whether so many replicas of a variant are reached, if all that starts does and nothing else changes.

    For a pool that falls short now it is enough that the way ends where the load is carried, old replicas included.
    `load_margin` is the load to be carried on the way over that of now.
    """
    memory = replace(view.past.memory, goal_variant=variant, goal_replicas=replicas)
    view = _loaded(_settled(replace(view, past=replace(view.past, memory=memory))), load_margin)
    free = free.with_coming()
    falls_short = not _carries(view, free)
    for _ in range(_MOST_STEPS):
        steps = next_steps(view, free)
        changes, _ = safe_changes(view, steps.changes)
        if not changes:
            return _is_there(view, variant, replicas) or (falls_short and _carries(view, free))
        view, free = _played(view, changes, steps.free)
    return False


def _settled(view: PoolView) -> PoolView:
    """All pods that have a node serve, and those without one were never asked for."""
    return _with_states(view, (_as_placed(s) for s in view.state.variants))


def _loaded(view: PoolView, margin: float) -> PoolView:
    forecast = view.forecast
    if forecast is None:
        return view
    return replace(view, forecast=replace(forecast, peak_now_rps=margin * forecast.peak_now_rps))


def _as_placed(state: VariantState) -> VariantState:
    pods = tuple(
        replace(r, phase=ReplicaPhase.READY)
        for r in state.replicas
        if r.node is not None and r.phase is not ReplicaPhase.TERMINATING
    )
    return replace(state, replicas=pods, desired=None if state.desired is None else len(pods))


def _with_states(view: PoolView, states: Iterable[VariantState]) -> PoolView:
    variants = tuple(states)
    counts = {s.variant: Counts(s.desired or 0, s.ready, 0, 0) for s in variants}
    return replace(view, state=PoolState(view.pool, variants), counts=counts)


def _played(view: PoolView, changes: tuple[ScaleChange, ...], free: FreeGpus) -> tuple[PoolView, FreeGpus]:
    """The pool and the free GPUs once changes are carried out and what they start is ready."""
    by_variant = {change.variant: change for change in changes}
    states: list[VariantState] = []
    for state in view.state.variants:
        change = by_variant.get(state.variant)
        if change is None:
            states.append(state)
            continue
        kept = _after(state, change)
        gone = set(state.replicas) - set(kept)
        gpus = view.pool.variant(state.variant).tensor_parallel_size
        free = free.given([r.node for r in gone if r.node is not None], gpus)
        states.append(replace(state, desired=change.want, replicas=kept))
    return _with_states(view, states), free


def _after(state: VariantState, change: ScaleChange) -> tuple[Replica, ...]:
    if change.want < change.seen:
        ordered = sorted(state.replicas, key=lambda r: r.name in change.victims)
        return tuple(ordered[: change.want])
    fresh = (
        Replica(f"{state.variant}-new-{i}", "", ReplicaPhase.READY, 0.0, node="")
        for i in range(change.seen, change.want)
    )
    return (*state.replicas, *fresh)


def _carries(view: PoolView, free: FreeGpus) -> bool:
    """Whether what serves carries the load, with no instance to spare."""
    move = move_of(view, free)
    return move is not None and move.capacity_rps({}, view.sharing.without_spares()) >= move.need_rps


def _is_there(view: PoolView, variant: str, replicas: int) -> bool:
    others = (s for s in view.state.variants if s.variant != variant and view.is_free(s.variant))
    return view.counts[variant].desired == replicas and not any(s.desired for s in others)

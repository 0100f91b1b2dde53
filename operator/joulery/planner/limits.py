"""What quotas, taints, updates, drains and disruption budgets leave of a plan: how much may come, how much may go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.fleet import Fleet, PoolState, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.limits import Provisioner
from joulery.domain.plan import ScaleChange
from joulery.domain.verdict import Verdict
from joulery.planner.replicas import holds_gpus
from joulery.planner.settings import PlannerSettings

# cluster-autoscaler's own --max-node-provision-time: a node that took longer is given up by it, too.
_LONGEST_NODE_START_S = 900.0
# The next node may be slower than the slowest seen.
_NODE_START_MARGIN = 1.2


def patient(settings: PlannerSettings, provisioner: Provisioner | None) -> PlannerSettings:
    """Settings that wait for a pending pod as long as a new node was seen to take; unchanged where none was.

    Without evidence of a node that came, waiting would be hope: the usual time holds.
    """
    if provisioner is None or not provisioner.may_grow or provisioner.node_start_s is None:
        return settings
    wait_s = min(_LONGEST_NODE_START_S, _NODE_START_MARGIN * provisioner.node_start_s)
    return replace(settings, unschedulable_s=max(settings.unschedulable_s, wait_s))


def rooms(fleet: Fleet) -> dict[tuple[ObjectKey, str], int]:
    """Most instances of each variant that its quota and the nodes open to it can hold, whatever else moves.

    Only variants that are bounded more tightly than by the GPUs of their accelerator are in it.
    """
    held = _movable_gpus(fleet)
    quotas = _quota_gpus(fleet)
    found: dict[tuple[ObjectKey, str], int] = {}
    for pool in fleet.pools:
        for state in pool.variants:
            room = _room(fleet, pool, state, held, quotas.get(pool.pool.key.namespace))
            if room is not None:
                found[pool.pool.key, state.variant] = max(room, state.ready)
    return found


def _room(
    fleet: Fleet, pool: PoolState, state: VariantState, held: Mapping[str, int], quota_gpus: int | None
) -> int | None:
    variant = pool.pool.variant(state.variant)
    gpus = variant.tensor_parallel_size
    bounds = [] if quota_gpus is None else [quota_gpus // gpus]
    if state.limits.barred:
        here = Counter(r.node for r in state.replicas if holds_gpus(r))
        bounds.append(
            sum(
                here[n.name]
                if n.name in state.limits.barred or not n.schedulable
                else (n.free_gpus + held.get(n.name, 0)) // gpus
                for n in fleet.nodes
                if n.accelerator == variant.accelerator
            )
        )
    return min(bounds, default=None)


def _movable(fleet: Fleet) -> Iterator[tuple[PoolState, VariantState, int]]:
    for pool in fleet.pools:
        for state in pool.variants:
            if state.hold is None:
                yield pool, state, pool.pool.variant(state.variant).tensor_parallel_size


def _movable_gpus(fleet: Fleet) -> Counter[str]:
    """GPUs by node of replicas that plans may move."""
    held: Counter[str] = Counter()
    for _, state, gpus in _movable(fleet):
        for replica in state.replicas:
            if replica.node is not None and holds_gpus(replica):
                held[replica.node] += gpus
    return held


def _quota_gpus(fleet: Fleet) -> dict[str, int]:
    """GPUs by namespace that movable variants may have together: those left of its quotas and their own."""
    own: Counter[str] = Counter()
    for pool, state, gpus in _movable(fleet):
        own[pool.pool.key.namespace] += gpus * len(state.replicas)
    left = quota_left(fleet)
    return {namespace: gpus + own[namespace] for namespace, gpus in left.items()}


def quota_left(fleet: Fleet) -> dict[str, int]:
    """GPUs by namespace that new pods may ask for under the tightest quota; namespaces without one are left out."""
    left: dict[str, int] = {}
    for quota in fleet.quotas:
        left[quota.namespace] = min(left.get(quota.namespace, quota.left_gpus), quota.left_gpus)
    return left


def respected(
    pool: PoolState, changes: tuple[ScaleChange, ...]
) -> tuple[tuple[ScaleChange, ...], tuple[Verdict, ...]]:
    """The changes without what would take pods away in a rolling update, a drain or against a budget, and why."""
    kept: list[ScaleChange] = []
    told: list[Verdict] = []
    for change in changes:
        if change.want >= change.seen:
            kept.append(change)
            continue
        allowed, verdict = _shrunk(pool.variant(change.variant), change)
        kept += [allowed] if allowed is not None else []
        told += [verdict] if verdict is not None else []
    return tuple(kept), tuple(told)


def _shrunk(state: VariantState, change: ScaleChange) -> tuple[ScaleChange | None, Verdict | None]:
    """A way down within its limits; None where nothing of it is left."""
    if state.limits.keep is not None:
        return None, state.limits.keep
    # Pods that are not ready count in no budget, and they go first.
    budget = min(state.limits.budgets, key=lambda b: b.disruptions_allowed, default=None)
    ready_going = len(change.victims)
    if budget is None or ready_going <= budget.disruptions_allowed:
        return change, None
    want = change.want + ready_going - budget.disruptions_allowed
    text = (
        f"pool {change.pool}: {change.variant} {change.seen} -> {min(want, change.seen)}, not {change.want}, for "
        f"PodDisruptionBudget {budget.name} lets {budget.disruptions_allowed} ready pods go now ({budget.rule}); "
        "relax the budget to let more go"
    )
    verdict = Verdict(reasons.DISRUPTION_BUDGET, text)
    if want >= change.seen:
        return None, verdict
    return replace(change, want=want, victims=change.victims[: budget.disruptions_allowed]), verdict

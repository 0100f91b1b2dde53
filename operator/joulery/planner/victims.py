"""Which replicas go: named pods, so that deletion cost takes the least busy ready one."""

from __future__ import annotations

from collections.abc import Iterable

from joulery.domain.drain import EndOrder
from joulery.domain.fleet import Replica, ReplicaPhase, VariantState


def victims(state: VariantState, want: int, *, prefer_node: str | None = None) -> tuple[str, ...]:
    """Ready pods to go when a workload shrinks to `want`.

    A workload's controller takes unscheduled and unready pods first whatever their cost, so only the rest
    are named. Only pods of a ReplicaSet can be chosen: a StatefulSet ends its highest ordinals whatever they cost.
    """
    if state.drain is not None and state.drain.order is not EndOrder.BY_COST:
        return ()
    living = [r for r in state.replicas if r.phase is not ReplicaPhase.TERMINATING]
    unready = sum(r.phase is not ReplicaPhase.READY for r in living)
    going = max(0, len(living) - want - unready)
    ready = sorted(state.in_phase(ReplicaPhase.READY), key=lambda r: (r.node != prefer_node, *_busy(r)))
    return tuple(r.name for r in ready[:going])


def _busy(replica: Replica) -> tuple[int, int, float, str]:
    """Least busy first; where nobody measured, the newest first, as Kubernetes would have it."""
    running = replica.running_requests
    return (running is None, running or 0, -(replica.ready_since_s or 0.0), replica.name)


def crowded_node(states: Iterable[tuple[VariantState, int]], free: dict[str, int], gpus: int) -> str | None:
    """The node where fewest ready replicas must go before an instance of so many GPUs fits, None if none can.

    Args:
        states: workloads that may shrink, each with the GPUs of one replica.
        free: free GPUs by node.
        gpus: GPUs to make room for.
    """
    held: dict[str, list[int]] = {}
    for state, size in states:
        for replica in state.in_phase(ReplicaPhase.READY):
            if replica.node is not None:
                held.setdefault(replica.node, []).append(size)
    costs = {
        node: _goers(sorted(sizes, reverse=True), gpus - free.get(node, 0)) for node, sizes in held.items()
    }
    able = {node: n for node, n in costs.items() if n is not None}
    return min(able, key=lambda node: (able[node], node)) if able else None


def _goers(sizes: list[int], missing: int) -> int | None:
    for n in range(len(sizes) + 1):
        if sum(sizes[:n]) >= missing:
            return n
    return None

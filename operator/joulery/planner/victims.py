"""Which replicas go: named pods, so that deletion cost takes the least busy ready one."""

from __future__ import annotations

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

"""Counting replicas: each count answers one question, and mixing them up provisions twice or sheds load.

`desired` is what was asked for, `serving` what carries load now, `coming` what will within its start-up time,
`absent` what was asked for and cannot be relied on.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.fleet import Replica, ReplicaPhase, VariantState
from joulery.planner.settings import PlannerSettings


@dataclass(frozen=True, slots=True)
class Counts:
    """Replicas of one variant by what they are good for."""

    desired: int
    serving: int
    coming: int
    absent: int

    @property
    def expected(self) -> int:
        """Replicas that serve now or will within the start-up time."""
        return self.serving + self.coming


def count(state: VariantState, *, now_s: float, startup_s: float, settings: PlannerSettings) -> Counts:
    """Counts of one variant; pods not created yet are coming, those beyond `desired` are leaving."""
    desired = state.desired or 0
    ready = starting = pending = absent = 0
    for replica in state.replicas:
        if replica.phase is ReplicaPhase.READY:
            ready += 1
        elif replica.phase is ReplicaPhase.TERMINATING:
            continue
        elif _is_absent(replica, now_s, startup_s, settings):
            absent += 1
        elif replica.phase is ReplicaPhase.STARTING:
            starting += 1
        else:
            pending += 1
    # A workload's controller drops absent pods first and ready ones last, so ready ones fill `desired` first.
    serving = min(ready, desired)
    room = desired - serving
    uncreated = max(0, desired - ready - starting - pending - absent)
    refused_since_s = state.limits.uncreated_since_s
    if refused_since_s is not None and now_s - refused_since_s > settings.unschedulable_s:
        absent, uncreated = absent + uncreated, 0
    coming = min(room, starting + pending + uncreated)
    return Counts(desired, serving, coming, min(absent, room - coming))


def _is_absent(replica: Replica, now_s: float, startup_s: float, settings: PlannerSettings) -> bool:
    age_s = now_s - replica.created_s
    if replica.phase is ReplicaPhase.UNSCHEDULED:
        return age_s > settings.unschedulable_s
    return age_s > settings.overdue_factor * startup_s + settings.unschedulable_s


def unscheduled(state: VariantState) -> int:
    """Replicas without a node."""
    return len(state.in_phase(ReplicaPhase.UNSCHEDULED))


def holds_gpus(replica: Replica) -> bool:
    """Whether a replica occupies its GPUs, terminating ones included."""
    return replica.node is not None and replica.phase is not ReplicaPhase.UNSCHEDULED

"""Counting replicas: each count answers one question, and mixing them up provisions twice or sheds load.

`desired` is what was asked for, `serving` what carries load now, `coming` what will within its start-up time,
`absent` what was asked for and cannot be relied on.

Ready is told apart from warm. Readiness says that an engine answers, not how fast: its first answers compile
kernels, capture graphs and fill caches. A replica serves for its full capacity once it has begun some answers, which
its own counter tells, or has been ready for so long that a lack of answers is a lack of requests.
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
    """Counts of one variant; pods not created or not warm yet are coming, those beyond `desired` are leaving."""
    desired = state.desired or 0
    warm = starting = pending = absent = 0
    for replica in state.replicas:
        if is_warm(replica, now_s, settings):
            warm += 1
        elif replica.phase is ReplicaPhase.READY:
            starting += 1
        elif replica.phase is ReplicaPhase.TERMINATING:
            continue
        elif _is_absent(replica, now_s, startup_s, settings):
            absent += 1
        elif replica.phase is ReplicaPhase.STARTING:
            starting += 1
        else:
            pending += 1
    # A workload's controller drops absent pods first and ready ones last, so warm ones fill `desired` first.
    serving = min(warm, desired)
    room = desired - serving
    uncreated = max(0, desired - warm - starting - pending - absent)
    refused_since_s = state.limits.uncreated_since_s
    if refused_since_s is not None and now_s - refused_since_s > settings.unschedulable_s:
        absent, uncreated = absent + uncreated, 0
    coming = min(room, starting + pending + uncreated)
    return Counts(desired, serving, coming, min(absent, room - coming))


def is_warm(replica: Replica, now_s: float, settings: PlannerSettings) -> bool:
    """Whether a replica counts for its full capacity."""
    if replica.phase is not ReplicaPhase.READY:
        return False
    has_answered = replica.answers is not None and replica.answers >= settings.warm_answers
    return (
        has_answered or replica.ready_since_s is None or now_s - replica.ready_since_s >= settings.warm_up_s
    )


def warm_after_s(replica: Replica, now_s: float, settings: PlannerSettings) -> float:
    """How long a warm replica took from its creation.

    To the answer that made it warm, were they spread evenly since it was ready; to readiness where it had too few
    requests to tell.
    """
    ready_s = replica.ready_since_s if replica.ready_since_s is not None else now_s
    share = settings.warm_answers / replica.answers if replica.answers else 1.0
    spent_s = (now_s - ready_s) * share if share <= 1.0 and replica.answers else 0.0
    return ready_s - replica.created_s + max(0.0, spent_s)


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

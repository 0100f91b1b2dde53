"""Ready replicas that have no series in Prometheus: what they serve is missing from the pool's demand."""

from __future__ import annotations

from collections.abc import Sequence

from joulery.domain import reasons
from joulery.domain.fleet import PoolState, ReplicaPhase
from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import Verdict
from joulery.planner.settings import PlannerSettings

# A new pod is found by service discovery, and scraped often enough for a rate, within two rate windows.
_WINDOWS = 2.0
_NAMED = 3


def unseen_replicas(state: PoolState, now_s: float, settings: PlannerSettings) -> Verdict | None:
    """Which of the replicas that have long been ready nobody measures; None where none or all of them are."""
    long_ready = [
        replica
        for variant in state.variants
        for replica in variant.in_phase(ReplicaPhase.READY)
        if replica.ready_since_s is not None
        and now_s - replica.ready_since_s >= _WINDOWS * settings.rate_window_s
    ]
    unseen = sorted(r.name for r in long_ready if r.running_requests is None)
    # Where nobody is measured one by one, the pool's age of samples tells what can be trusted.
    if not unseen or len(unseen) == len(long_ready):
        return None
    return Verdict(reasons.METRICS_INCOMPLETE, _told(state.pool.key, unseen, len(long_ready)))


def _told(key: ObjectKey, unseen: Sequence[str], ready: int) -> str:
    more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
    return (
        f"Prometheus has no series of {len(unseen)} of {ready} ready pods of pool {key} "
        f"({', '.join(unseen[:_NAMED])}{more}): what they serve is not seen, so nothing is taken away; "
        "check that their metrics pages answer and are scraped"
    )

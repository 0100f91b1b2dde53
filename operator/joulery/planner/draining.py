"""Replicas that end, followed until they are gone: their running requests are seen to reach zero, or named.

Kept in memory alone: what ends while the controller is away is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from joulery.domain import reasons
from joulery.domain.fleet import Replica, ReplicaPhase
from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import Verdict

# Kubernetes counts whole seconds, and a killed pod is gone a moment before or after its last one.
_KILLED_WITHIN_S = 1.5


@dataclass(frozen=True, slots=True)
class Ending:
    """A replica that is ending.

    Attributes:
        since_s: when it was first seen to.
        killed_at_s: when its grace period is over, None where it is not known.
        running: requests it ran when last measured, None where it never was.
        measured_s: when that was, which may be long before it was read.
    """

    pod: str
    uid: str
    since_s: float
    killed_at_s: float | None
    running: int | None
    measured_s: float | None

    @property
    def is_empty(self) -> bool:
        """Whether it was seen without requests after its end began: none can have come since."""
        return self.running == 0 and self.measured_s is not None and self.measured_s > self.since_s


def followed(
    known: tuple[Ending, ...], replicas: Iterable[Replica], *, now_s: float
) -> tuple[tuple[Ending, ...], tuple[Ending, ...]]:
    """Those ending now, and those that were and are gone.

    Args:
        known: those ending at the last poll.
        replicas: all of the pool.
        now_s: time of the snapshot.
    """
    before = {e.uid: e for e in known}
    present = {r.uid for r in replicas}
    ending = tuple(
        _seen(before.get(r.uid), r, now_s) for r in replicas if r.phase is ReplicaPhase.TERMINATING
    )
    return ending, tuple(e for e in known if e.uid not in present)


def _seen(known: Ending | None, replica: Replica, now_s: float) -> Ending:
    if known is None:
        known = Ending(replica.name, replica.uid, now_s, replica.killed_at_s, None, None)
    known = replace(known, killed_at_s=replica.killed_at_s)
    if known.is_empty or replica.running_requests is None or replica.running_measured_s is None:
        return known
    return replace(known, running=replica.running_requests, measured_s=replica.running_measured_s)


def told(pool: ObjectKey, gone: Iterable[Ending], now_s: float) -> Iterator[Verdict]:
    """What became of the requests of replicas that are gone."""
    for ending in gone:
        yield _verdict(pool, ending, now_s)


def _verdict(pool: ObjectKey, ending: Ending, now_s: float) -> Verdict:
    pod = f"pod {pool.namespace}/{ending.pod} of pool {pool}"
    lasted = f"{now_s - ending.since_s:.0f} s after its end began"
    if ending.is_empty:
        return Verdict(reasons.DRAINED, f"{pod} was gone {lasted}, with no request running")
    seen = _last_seen(ending, now_s)
    if ending.killed_at_s is not None and now_s >= ending.killed_at_s - _KILLED_WITHIN_S:
        # What was idle before its end began may have been sent requests since, or may have waited for nothing.
        return Verdict(
            reasons.DRAIN_UNSEEN if ending.running == 0 else reasons.REQUESTS_LOST,
            f"{pod} was killed at the end of its grace period, {lasted}, {seen}; raise "
            "terminationGracePeriodSeconds in its pod template, or find what it waited for",
        )
    return Verdict(reasons.DRAIN_UNSEEN, f"{pod} was gone {lasted}, within its grace period, {seen}")


def _last_seen(ending: Ending, now_s: float) -> str:
    if ending.running is None or ending.measured_s is None:
        return "and its running requests were never measured"
    return (
        f"with {ending.running} requests running when last measured {now_s - ending.measured_s:.0f} s before"
    )

"""The operator's heartbeat, timed by when it was seen to change: no two machines' clocks are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseWatch:
    """The last `renewTime` and the local monotonic second at which it was first seen."""

    changed_at_s: float
    renew_time: str | None = None

    def seen(self, renew_time: str | None, now_s: float) -> LeaseWatch:
        """After reading the Lease; the same text again, or no Lease, changes nothing."""
        if renew_time is None or renew_time == self.renew_time:
            return self
        return LeaseWatch(now_s, renew_time)

    def age_s(self, now_s: float) -> float:
        """Seconds since the last change, or since the agent began to look."""
        return max(0.0, now_s - self.changed_at_s)

    def is_stale(self, now_s: float, timeout_s: float) -> bool:
        """Whether this node's tables are to be trusted no more; so too before the first sight."""
        return self.renew_time is None or self.age_s(now_s) > timeout_s

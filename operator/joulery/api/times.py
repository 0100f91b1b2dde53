"""Seconds since the epoch, as the domain counts, and the times of API objects."""

from __future__ import annotations

from datetime import UTC, datetime


def time_of(seconds: float) -> datetime:
    """The time in UTC, to the microsecond."""
    return datetime.fromtimestamp(round(seconds, 6), UTC)


def whole_time_of(seconds: float) -> datetime:
    """The time in UTC, to the second: metav1.Time holds no more."""
    return datetime.fromtimestamp(int(seconds), UTC)


def seconds_of(time: datetime) -> float:
    """Seconds since the Unix epoch."""
    return time.timestamp()

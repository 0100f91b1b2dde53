"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(at_s: float) -> str:
    """A Unix time in UTC, to the second, as Kubernetes writes it."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

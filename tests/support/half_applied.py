"""Whether a plan stays applied in part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from live_centre import wait_for

# A plan is told in status before its scales are written: 0.05 to 0.12 s where it was watched, so that one that is
# made while this looks differs for a moment. What a busy machine makes of it is far less than this.
APPLIED_WITHIN_S = 5.0


def half_applied(differing: Callable[[], Sequence[str]], within_s: float = APPLIED_WITHIN_S) -> list[str]:
    """How what is asked differs from what is planned, if it goes on for longer than applying a plan takes."""
    last: Sequence[str] = ()

    def agree() -> bool:
        nonlocal last
        last = differing()
        return not last

    try:
        wait_for("all that is planned is asked", agree, within_s)
    except AssertionError:
        return list(last)
    return []

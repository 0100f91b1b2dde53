"""What a variant's profile is worth: its speed counts with a share learned from measured latency.

Pure: a derate and one judged window give the next derate. It falls in proportion to what was missed beyond the
promise and recovers slowly, within bounds; a window that says nothing about the profile changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from joulery.domain import reasons
from joulery.domain.latency import MINIMUM_REQUESTS, PROMISE_PERCENT
from joulery.domain.memory import Derate
from joulery.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class DerateRules:
    """How fast and how far a derate moves.

    Attributes:
        lowest: least share of a profile's speed; a profile that is further out is to be made again, not corrected.
        fall_per_miss: share given up per share of requests missed beyond the promise.
        longest_fall: most that one window may take.
        recovery: share regained by a window that kept the promise while it tested the profile.
        least_requests: requests below which a window is not judged.
        optimistic_below: share at which users are told that the profile is optimistic.
        confirmed_above: share at which they are told that it no longer is.
    """

    lowest: float = 0.7
    fall_per_miss: float = 3.0
    longest_fall: float = 0.03
    recovery: float = 0.0015
    least_requests: float = MINIMUM_REQUESTS
    optimistic_below: float = 0.97
    confirmed_above: float = 0.99


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured of a variant that served alone.

    Attributes:
        ends_s: when it ended.
        requests: how many ended in it.
        attained_percent: least share of them within their objectives; None where it cannot be told.
        unfit: why it says nothing about the profile (stale, edge, uneven, overloaded), else None.
        is_tested: whether instances were loaded up to what the profile grants them at some clock; what was
            attained with less load confirms nothing.
    """

    ends_s: float
    requests: float
    attained_percent: float | None
    unfit: str | None = None
    is_tested: bool = True


def judge(derate: Derate, window: Window, rules: DerateRules) -> tuple[Derate, Verdict]:
    """The derate after a window, and why."""
    attained = window.attained_percent
    skipped = _skipped(window, rules)
    if skipped is not None or attained is None:
        return derate, Verdict(reasons.WINDOW_SKIPPED, skipped or "no latency was measured")
    fall = min(rules.longest_fall, rules.fall_per_miss * missed_beyond_promise(attained, window.requests))
    told = f"{attained:.2f} % of {window.requests:.0f} requests attained"
    if fall > 0.0:
        lowered = _marked(replace(derate, share=max(rules.lowest, derate.share - fall)), window.ends_s, rules)
        return lowered, Verdict(reasons.WINDOW_MISSED, told)
    if not window.is_tested:
        return derate, Verdict(reasons.WINDOW_SKIPPED, f"{told}, with too little load to test the profile")
    raised = replace(derate, share=min(1.0, derate.share + rules.recovery))
    return _marked(raised, window.ends_s, rules), Verdict(reasons.WINDOW_KEPT, told)


def missed_beyond_promise(attained_percent: float, requests: float) -> float:
    """Share of requests missed beyond the promise and one standard deviation of what the promise lets happen."""
    allowed = 1.0 - PROMISE_PERCENT / 100.0
    noise = math.sqrt(allowed * (1.0 - allowed) / max(requests, 1.0))
    return max(0.0, 1.0 - attained_percent / 100.0 - allowed - noise)


def _skipped(window: Window, rules: DerateRules) -> str | None:
    if window.unfit is not None:
        return window.unfit
    if window.requests < rules.least_requests:
        return f"{window.requests:.0f} requests are too few to judge"
    return None


def _marked(derate: Derate, now_s: float, rules: DerateRules) -> Derate:
    """With the time since when it is optimistic; between the two thresholds it stays as it was told."""
    if derate.share < rules.optimistic_below:
        return replace(derate, optimistic_since_s=derate.optimistic_since_s or now_s)
    return replace(derate, optimistic_since_s=None) if derate.share >= rules.confirmed_above else derate

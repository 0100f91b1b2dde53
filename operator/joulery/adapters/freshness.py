"""Tells apart load that is zero from load that is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping

from joulery.domain import reasons
from joulery.domain.moments import utc
from joulery.domain.verdict import Verdict

# No cluster serves so much with one model; beyond it a counter or a clock is broken.
_ABSURD = 1e9
# How many scrapes in a row may be missed before samples count as stale.
STALE_SCRAPES = 4


def judge_age(age_s: float | None, scrape_interval_s: float, last_good_s: float | None) -> Verdict | None:
    """The verdict on the newest sample's age; None when it is fresh."""
    if age_s is None:
        if last_good_s is None:
            return Verdict(
                reasons.METRICS_MISSING,
                "Prometheus has no series of this pool; check that it scrapes the engines, and that "
                "namespace, served model name and matchers fit their labels",
            )
        text = f"the pool's series ended; last read at {utc(last_good_s)}: see that Prometheus scrapes the engines"
        return Verdict(reasons.METRICS_STALE, text)
    if not math.isfinite(age_s):
        return Verdict(reasons.METRICS_INVALID, f"the newest sample's age is {age_s}")
    limit_s = STALE_SCRAPES * scrape_interval_s
    if age_s > limit_s:
        text = (
            f"the newest sample is {age_s:.0f} s old; more than {limit_s:.0f} s is stale: see on Prometheus's page "
            "of targets why the engines are not scraped, and that its clock is right"
        )
        return Verdict(reasons.METRICS_STALE, text)
    return None


def judge_figures(figures: Mapping[str, float | None], queries: Mapping[str, str]) -> Verdict | None:
    """The verdict on figures by query name; None when all are sound."""
    for name, value in figures.items():
        if value is None:
            return Verdict(reasons.METRICS_MISSING, f"query {name} found no series: {queries[name]}")
        fault = _fault(value)
        if fault is not None:
            return Verdict(reasons.METRICS_INVALID, f"query {name} answered {fault}: {queries[name]}")
    return None


def _fault(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    if value < 0.0:
        return f"{value:g}, which is negative"
    return f"{value:g}, which is absurd" if value > _ABSURD else None

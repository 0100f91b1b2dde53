"""How bursty a pool's arrivals are: the index of dispersion, from rate samples that do not overlap.

Differences of samples one rate window apart tell noise from drift: a working day's rise changes a level
over hours, a burst changes it from one minute to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulery.planner.forecast import Sample
from joulery.planner.settings import PlannerSettings

# Indices of dispersion that operating points are computed for.
LEVELS: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


@dataclass(frozen=True, slots=True)
class Burstiness:
    """Averages over pairs of samples: half their squared difference, and their mean rate."""

    variance: float
    rate_rps: float
    since_s: float
    at_s: float

    def dispersion(self, settings: PlannerSettings) -> float:
        """Variance over mean of the arrivals, drawn to the assumed value while little was seen."""
        if self.rate_rps <= 0.0:
            return settings.prior_dispersion
        windows = (self.at_s - self.since_s) / settings.rate_window_s
        measured = self.variance * settings.rate_window_s / self.rate_rps
        weight = windows / (windows + settings.prior_weight)
        return max(1.0, weight * measured + (1.0 - weight) * settings.prior_dispersion)


def with_newest(
    past: Burstiness | None, samples: Sequence[Sample], settings: PlannerSettings
) -> Burstiness | None:
    """The averages with the newest sample and the one a rate window before it; plain at first."""
    now_s, rate = samples[-1]
    before = next((s for s in reversed(samples) if s[0] <= now_s - settings.rate_window_s), None)
    if before is None:
        return past
    variance, mean = 0.5 * (rate - before[1]) ** 2, 0.5 * (rate + before[1])
    if past is None:
        return Burstiness(variance, mean, before[0], now_s)
    keep = min(
        math.exp((past.at_s - now_s) / settings.mix_window_s),
        (past.at_s - past.since_s) / (now_s - past.since_s),
    )
    return Burstiness(
        keep * past.variance + (1.0 - keep) * variance,
        keep * past.rate_rps + (1.0 - keep) * mean,
        past.since_s,
        now_s,
    )


def accepted_dispersion(held: float | None, measured: Burstiness | None, settings: PlannerSettings) -> float:
    """The dispersion to plan for: the held one until the measured one has drifted beyond the threshold."""
    found = settings.prior_dispersion if measured is None else measured.dispersion(settings)
    if held is not None and abs(found / held - 1.0) <= settings.mix_drift:
        return held
    return found


def level_at(dispersion: float, instances: int) -> float:
    """Level of the arrivals at one of so many instances: random thinning leaves 1 + (D - 1) / n.

    Rounded down: points hold half a per cent more than is promised, and balancers thin more evenly than chance.
    """
    thinned = 1.0 + (dispersion - 1.0) / max(instances, 1)
    return max(level for level in LEVELS if level <= max(thinned, LEVELS[0]))

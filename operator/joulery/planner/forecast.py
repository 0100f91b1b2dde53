"""What a pool will be asked for: level, trend and spread of the recent request rate.

The mean prices a plan, the peak sizes it. Spread is taken from the samples themselves: code traffic is
thirteen times as bursty as Poisson, chat barely more than it, and a constant margin fits neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulery.planner.settings import PlannerSettings

Sample = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Requests per second of one pool.

    Attributes:
        level_rps: now, free of noise.
        trend_rps_per_s: of the fitted line; negative when load falls.
        spread_rps: standard deviation of the samples around their line.
        mean_rps: expected over the next plan epoch.
        peak_rps: high quantile within the horizon, what capacity must hold.
        peak_now_rps: high quantile without trend, what must be carried while replicas move.
        jump_rps: least of what a step of load comes to that two looks agree on; 0 where there is none.

    Both peaks include what waits, once it is told (`with_backlog`).
    """

    level_rps: float
    trend_rps_per_s: float
    spread_rps: float
    mean_rps: float
    peak_rps: float
    peak_now_rps: float
    jump_rps: float = 0.0


@dataclass(frozen=True, slots=True)
class _Jump:
    """What came in the last looks: the least of them less noise, and the newest as it is."""

    least_rps: float = 0.0
    newest_rps: float = 0.0


@dataclass(frozen=True, slots=True)
class _Fresh:
    """What came since a sample, as a rate; that of the whole window before, and the noise (a deviation)."""

    begins: int
    rate_rps: float
    before_rps: float
    noise_rps: float

    def least_rps(self, deviations: float) -> float:
        """What it is at least, by so many deviations."""
        return self.rate_rps - deviations * self.noise_rps

    @property
    def is_more(self) -> bool:
        """Whether more came than noise alone usually adds."""
        return self.rate_rps > self.before_rps + self.noise_rps


@dataclass(frozen=True, slots=True)
class _Line:
    end_rps: float
    slope: float
    variance: float


def forecast(
    samples: Sequence[Sample],
    *,
    epoch_s: float,
    startup_s: float,
    settings: PlannerSettings,
    dispersion: float | None = None,
) -> Forecast:
    """Forecast from `(time, rate)` samples, oldest first and at least one.

    The horizon is one plan epoch, until the next decision, plus the start-up that it would then need. `dispersion` is
    what is known of the arrivals' index of dispersion.
    """
    line = _fit(samples, settings.trend_window_s / 6.0)
    recent = _recent_mean(samples, settings.level_window_s)
    spread = math.sqrt(_variance(line.variance, len(samples), max(line.end_rps, recent), settings))
    # A step is believed as far as it exceeds what noise does to a mean over two minutes, or to one sample.
    newest = samples[-1][1] - settings.newest_deviations * spread
    jump = _jump(samples, dispersion or settings.prior_dispersion, settings)
    usual = max(line.end_rps, recent)
    # Believed by its least, planned for as what it looks like: the same order again a poll later comes too late.
    step = jump.newest_rps if jump.least_rps > usual else 0.0
    level = max(line.end_rps, recent - 0.5 * spread, newest, jump.least_rps, step, 0.0)
    peak_now = level + settings.peak_deviations * spread
    return Forecast(
        level_rps=level,
        trend_rps_per_s=line.slope,
        spread_rps=spread,
        mean_rps=max(0.0, level + line.slope * epoch_s / 2.0),
        peak_rps=peak_now + max(0.0, line.slope) * (epoch_s + startup_s),
        peak_now_rps=peak_now,
        jump_rps=max(jump.least_rps, 0.0),
    )


def _fit(samples: Sequence[Sample], least_span_s: float) -> _Line:
    """Least squares line through the samples, evaluated at the newest."""
    n = len(samples)
    newest_s = samples[-1][0]
    mean_t = sum(t - newest_s for t, _ in samples) / n
    mean_r = sum(r for _, r in samples) / n
    tt = tr = rr = 0.0
    for t, r in samples:
        dt, dr = t - newest_s - mean_t, r - mean_r
        tt += dt * dt
        tr += dt * dr
        rr += dr * dr
    # A slope from a handful of samples is all noise: none before a sixth of the window is filled.
    slope = tr / tt if n >= 3 and samples[-1][0] - samples[0][0] >= least_span_s else 0.0
    residual = max(0.0, rr - slope * tr)
    return _Line(mean_r - slope * mean_t, slope, residual)


def _jump(samples: Sequence[Sample], dispersion: float, settings: PlannerSettings) -> _Jump:
    """What came in the last two looks; nothing where it cannot be told.

    A rate window shows a step only in part until it is filled with it: planned for as it is shown, a step needs one
    plan per poll. What shows in one look alone is a burst, over before an instance could come for it; of two, the
    first may hold the step in part only.
    """
    newest = _since(samples, 1, dispersion, settings)
    both = _since(samples, 2, dispersion, settings)
    first = _since(samples[: newest.begins + 1], 1, dispersion, settings) if newest is not None else None
    if newest is None or both is None or first is None or not first.is_more:
        return _Jump()
    least_rps = min(fresh.least_rps(settings.jump_deviations) for fresh in (newest, both))
    return _Jump(least_rps, newest.rate_rps)


def _since(
    samples: Sequence[Sample], looks: int, dispersion: float, settings: PlannerSettings
) -> _Fresh | None:
    """What two overlapping windows differ by came between their ends, less what left with the other end."""
    window_s = settings.rate_window_s
    now_s, now_rps = samples[-1]
    begins = _before(samples, now_s - looks * settings.look_share * window_s)
    filled = _before(samples, now_s - window_s)
    if begins is None or filled is None or now_s - samples[begins][0] >= window_s:
        return None
    (last_s, last_rps), before = samples[begins], samples[filled][1]
    new_s = now_s - last_s
    # Of what came, what left, and what stands for the level before.
    noise = math.sqrt(dispersion * before * (2.0 / new_s + 1.0 / window_s))
    fresh = before + (now_rps - last_rps) * window_s / new_s
    return _Fresh(begins, fresh, before, noise)


def _before(samples: Sequence[Sample], at_s: float) -> int | None:
    """Which is the newest sample not after a time, the newest of all left out."""
    earlier = range(len(samples) - 2, -1, -1)
    return next((i for i in earlier if samples[i][0] <= at_s), None)


def _recent_mean(samples: Sequence[Sample], window_s: float) -> float:
    newest_s = samples[-1][0]
    recent = [r for t, r in samples if t > newest_s - window_s]
    return sum(recent) / len(recent)


def _variance(residual: float, n: int, level_rps: float, settings: PlannerSettings) -> float:
    """Variance of the samples, drawn towards the assumed dispersion while few; never below Poisson."""
    poisson = max(level_rps, 0.0) / settings.rate_window_s
    prior = settings.prior_dispersion * poisson
    blended = (settings.prior_weight * prior + residual) / (settings.prior_weight + max(n - 2, 0))
    return max(blended, poisson)

"""How far one engine can be driven at each of its clocks, from runs of one sample of requests.

Neighbouring clocks are alike: a clock is searched from where those above it point, with the slope between that
of the clock above and that of the lowest. Where another sample would give too different rates, one of twice the
size is taken, or for a clock alone a second one beside the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulery.serving.crossing import NOWHERE, Crossing
from joulery.serving.trial import Trial

# The sample is doubled where another one would move the rate at either end of the clocks by more than this (one
# relative standard deviation).
_MOST_DEVIATION = 0.032
# Of the rate in the clock, where none is known.
_USUAL_POWER = 0.65


@dataclass(frozen=True, slots=True)
class Limit:
    """The highest rate at a clock, with P99 of TTFT and TPOT near it; zeros where there is none."""

    crossing: Crossing
    p99_ms: tuple[float, float]

    @property
    def rate_rps(self) -> float:
        """Requests per second."""
        return self.crossing.rate_rps


_NONE = Limit(NOWHERE, (0.0, 0.0))


@dataclass(frozen=True, slots=True)
class Frontier:
    """The limit at each clock, a trial that found them, and how many requests were tried in all."""

    trial: Trial
    limits: tuple[Limit, ...]
    requests: int


def frontier(trial_of: Callable[[int, int], Trial], requests: int, clocks_mhz: Sequence[int]) -> Frontier:
    """The limit at each of some rising clocks. A lower clock never carries more than a higher one.

    `trial_of` makes a trial of so many requests, of which there is a first and a second draw, 0 and 1.
    """
    trial = trial_of(requests, 0)
    if len(clocks_mhz) == 1:
        return _lone(trial, trial_of, clocks_mhz[0])
    top = _limit(trial, clocks_mhz[-1])
    bottom = _bottom(trial, clocks_mhz, top)
    if max(top.crossing.deviation, bottom.crossing.deviation) > _MOST_DEVIATION:
        trial = trial_of(2 * requests, 0)
        top = _limit(trial, clocks_mhz[-1], top.rate_rps, top.crossing.slope)
        bottom = _bottom(trial, clocks_mhz, top, bottom)
    return Frontier(trial, _inner(trial, clocks_mhz, top, bottom), len(trial.sample))


def _lone(trial: Trial, trial_of: Callable[[int, int], Trial], clock_mhz: int) -> Frontier:
    """The limit of a clock that no other is compared with, from fewer runs.

    Where it spreads too much a second draw is searched from there, and the limit is between both.
    """
    found = _told(trial, trial.quick_crossing(clock_mhz))
    if found.crossing.deviation <= _MOST_DEVIATION:
        return Frontier(trial, (found,), len(trial.sample))
    other = trial_of(len(trial.sample), 1)
    again = _told(other, other.quick_crossing(clock_mhz, found.crossing))
    return Frontier(trial, (_between(found, again),), len(trial.sample) + len(other.sample))


def _between(one: Limit, other: Limit) -> Limit:
    """The limit of two draws: the mean of their rates, the longer of their tails; none where one has none."""
    if min(one.rate_rps, other.rate_rps) == 0.0:
        return _NONE
    mean = Crossing(
        math.sqrt(one.rate_rps * other.rate_rps),
        math.sqrt(one.crossing.slope * other.crossing.slope),
        0.5 * math.hypot(one.crossing.deviation, other.crossing.deviation),
    )
    ttft_ms, tpot_ms = (max(pair) for pair in zip(one.p99_ms, other.p99_ms, strict=True))
    return Limit(mean, (ttft_ms, tpot_ms))


def _bottom(trial: Trial, clocks_mhz: Sequence[int], top: Limit, before: Limit = _NONE) -> Limit:
    if top.rate_rps == 0.0:
        return top
    if before.rate_rps > 0.0:
        found = _limit(trial, clocks_mhz[0], before.rate_rps, before.crossing.slope)
    else:
        near_rps = top.rate_rps * (clocks_mhz[0] / clocks_mhz[-1]) ** _USUAL_POWER
        found = _limit(trial, clocks_mhz[0], near_rps)
    return _no_higher(found, top)


def _inner(trial: Trial, clocks_mhz: Sequence[int], top: Limit, bottom: Limit) -> tuple[Limit, ...]:
    """All limits, from those at the ends, downward."""
    found = [bottom, *[_NONE] * (len(clocks_mhz) - 2), top]
    power = _USUAL_POWER
    if bottom.rate_rps > 0.0:
        power = _power(bottom, clocks_mhz[0], top, clocks_mhz[-1])
    for i in range(len(clocks_mhz) - 2, 0, -1):
        above = found[i + 1]
        if above.rate_rps == 0.0:
            break
        near_rps = above.rate_rps * (clocks_mhz[i] / clocks_mhz[i + 1]) ** power
        slope = above.crossing.slope ** (i / (i + 1)) * bottom.crossing.slope ** (1 / (i + 1))
        found[i] = _no_higher(_limit(trial, clocks_mhz[i], near_rps, slope), above)
        if found[i].rate_rps > 0.0:
            power = _power(found[i], clocks_mhz[i], above, clocks_mhz[i + 1])
    return tuple(found)


def _limit(trial: Trial, clock_mhz: int, near_rps: float | None = None, slope: float | None = None) -> Limit:
    return _told(trial, trial.crossing(clock_mhz, near_rps=near_rps or None, slope=slope))


def _told(trial: Trial, found: Crossing) -> Limit:
    """With the tails of the last run, which is the one nearest to the crossing."""
    return Limit(found, trial.last_ms(0.99)) if found.rate_rps > 0.0 else _NONE


def _no_higher(limit: Limit, above: Limit) -> Limit:
    return limit if limit.rate_rps <= above.rate_rps else above


def _power(slow: Limit, slow_mhz: int, fast: Limit, fast_mhz: int) -> float:
    return math.log(slow.rate_rps / fast.rate_rps) / math.log(slow_mhz / fast_mhz)

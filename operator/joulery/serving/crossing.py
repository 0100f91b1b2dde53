"""The rate at which a load begins to miss its objective, from as few runs as may be.

A run at a rate says how many times more requests miss than may. The logarithm of that is near a straight line
in the logarithm of the rate, so one or two runs near the crossing and a slope place it; where there is no line
(a chunk longer than a token interval may be, say) the bracket is halved instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Runs up to here tell a slope; fewer misses are noise, more are a queue that only grows.
_TELLING_EXCESS = 3.0
# Between runs nearer than this in both the slope is that of chance.
_TELLING_RATE, _TELLING_RISE = 0.015, 0.5
_LEAST_SLOPE, _USUAL_SLOPE, _MOST_SLOPE = 1.5, 12.0, 300.0
_PRECISION = 1.015  # ratio of the bracket at which the search ends
_MOST_RUNS = 60
_SHORTEST_STRIDE, _STRIDE, _WIDEST_STRIDE = 1.03, 1.1, 3.0
# No nearer to an end of the bracket than this share of it, or a wrong line would creep.
_MARGIN = 0.15


@dataclass(frozen=True, slots=True)
class Near:
    """How near to the crossing a run must be to end the search, in the logarithms of its excess and its rate.

    Beyond this `deviation` the search goes on until it has a slope of its own, as one told by few may be flat.
    """

    excess: float
    rate: float
    deviation: float = math.inf


# A line whose slope is off by half moves the crossing by half a percent from a run as near as this.
NEAR: Final = Near(0.5, 0.01)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `excess` is misses over those allowed, `deviation` its relative one over samples.

    A run that was stopped as hopeless is not `whole`; its excess is at least the one given.
    """

    rate_rps: float
    excess: float
    deviation: float
    whole: bool

    @property
    def attains(self) -> bool:
        """Whether no more miss than may."""
        return self.whole and self.excess <= 1.0

    @property
    def tells(self) -> bool:
        """Whether the excess is one that a slope can be told from."""
        return self.whole and abs(self.height) < _TELLING_EXCESS

    @property
    def height(self) -> float:
        """Logarithm of the excess, as far as it tells anything."""
        bound = math.exp(_TELLING_EXCESS)
        return math.log(min(max(self.excess, 1.0 / bound), bound))


@dataclass(frozen=True, slots=True)
class Crossing:
    """The highest rate that attains, 0 where none does.

    Attributes:
        slope: Of the logarithm of the excess against that of the rate.
        deviation: Relative standard deviation of the rate over samples like this one.
    """

    rate_rps: float
    slope: float
    deviation: float


NOWHERE = Crossing(0.0, _USUAL_SLOPE, 0.0)


def crossing(
    run: Callable[[float], Run],
    near_rps: float,
    *,
    slope: float | None = None,
    least_rps: float,
    near: Near = NEAR,
) -> Crossing:
    """The crossing, searched from a rate near it; 0 where not even `least_rps` attains.

    The last run is the one nearest to it. `slope` is what a like search found; None finds it.
    """
    low: Run | None = None
    high: Run | None = None
    telling: list[Run] = []
    rate, stride = near_rps, _STRIDE
    for _ in range(_MOST_RUNS):
        last = run(rate)
        low, high = (last, high) if last.attains else (low, last)
        telling += [last] if last.tells else []
        own = _slope(telling)
        slope = own or slope
        if slope is not None and _is_near(last, slope, near, is_own=own is not None):
            return Crossing(_shifted_rps(last, slope), slope, last.deviation / slope)
        if low is not None and high is not None and high.rate_rps <= _PRECISION * low.rate_rps:
            return _between(low if low is last else run(low.rate_rps), high, slope or _USUAL_SLOPE)
        rate = _next_rate(last, low, high, slope or _USUAL_SLOPE, stride)
        stride = min(stride**1.5, _WIDEST_STRIDE)
        if rate < least_rps:
            break
    return NOWHERE


def _is_near(last: Run, slope: float, near: Near, *, is_own: bool) -> bool:
    is_sure = is_own or last.deviation <= near.deviation * slope
    return is_sure and last.tells and abs(last.height) <= min(near.excess, near.rate * slope)


def _shifted_rps(last: Run, slope: float) -> float:
    """Where the line through a run crosses."""
    return last.rate_rps * math.exp(-last.height / slope)


def _between(low: Run, high: Run, slope: float) -> Crossing:
    """The crossing in a narrow bracket; its lower end where the upper one is beyond a cliff."""
    rate = (
        low.rate_rps * math.exp(_crossing_share(low, high) * _width(low, high))
        if high.tells
        else low.rate_rps
    )
    return Crossing(rate, slope, low.deviation / slope)


def _width(low: Run, high: Run) -> float:
    return math.log(high.rate_rps / low.rate_rps)


def _crossing_share(low: Run, high: Run) -> float:
    """Where in the bracket the line through its ends crosses."""
    return -low.height / max(high.height - low.height, 1e-9)


def _slope(telling: list[Run]) -> float | None:
    """Slope of the line through the ends of all runs that tell; None where they are too near each other.

    The ends, because near the crossing a single burst of misses makes the line flat.
    """
    if len(telling) < 2:
        return None
    one, other = min(telling, key=_rate_rps), max(telling, key=_rate_rps)
    width, rise = _width(one, other), other.height - one.height
    if width < _TELLING_RATE and rise < _TELLING_RISE:
        return None
    return min(max(rise / max(width, 1e-9), _LEAST_SLOPE), _MOST_SLOPE)


def _rate_rps(run: Run) -> float:
    return run.rate_rps


def _next_rate(last: Run, low: Run | None, high: Run | None, slope: float, stride: float) -> float:
    """The next rate: where the line crosses, kept inside the bracket; a growing stride on where none is yet."""
    if low is not None and high is not None:
        share = min(max(_crossing_share(low, high), _MARGIN), 1.0 - _MARGIN)
        return low.rate_rps * math.exp(share * _width(low, high))
    if last.tells:
        stride = min(stride, max(math.exp(abs(last.height) / slope), _SHORTEST_STRIDE))
    return last.rate_rps * stride if last.attains else last.rate_rps / stride

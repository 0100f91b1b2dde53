"""The crossing is found on any rising curve, in few runs where it is near a line, and never missed by much."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.serving.crossing import NEAR, Crossing, Near, Run, crossing

HOPELESS = 8.0


class Curve:
    """Runs on a curve of excess over rate; those beyond hope are given up."""

    def __init__(self, excess_of: Callable[[float], float], deviation: float = 0.1) -> None:
        self.rates_rps: list[float] = []
        self._excess_of, self._deviation = excess_of, deviation

    def __call__(self, rate_rps: float) -> Run:
        self.rates_rps.append(rate_rps)
        excess = self._excess_of(rate_rps)
        if excess > HOPELESS:
            return Run(rate_rps, HOPELESS, 0.0, whole=False)
        return Run(rate_rps, excess, self._deviation, whole=True)

    def search(self, near_rps: float, slope: float | None = None, near: Near = NEAR) -> Crossing:
        return crossing(self, near_rps, slope=slope, least_rps=0.01, near=near)


def power_law(crossing_rps: float, slope: float) -> Curve:
    return Curve(lambda rate: (rate / crossing_rps) ** slope)


@given(st.floats(0.1, 100.0), st.floats(2.0, 100.0), st.floats(-1.0, 1.0))
def test_a_power_law_is_crossed_where_it_crosses_from_wherever_the_search_starts(
    crossing_rps: float, slope: float, log_off: float
) -> None:
    curve = power_law(crossing_rps, slope)
    found = curve.search(crossing_rps * math.exp(log_off))
    assert found.rate_rps == pytest.approx(crossing_rps, rel=0.02)
    assert len(curve.rates_rps) <= 25


@given(st.floats(5.0, 40.0), st.floats(-0.009, 0.009))
def test_near_the_crossing_with_a_slope_one_run_is_enough(slope: float, off: float) -> None:
    curve = power_law(7.0, slope)
    found = curve.search(7.0 * math.exp(off), slope)
    assert found.rate_rps == pytest.approx(7.0, rel=1e-9)
    assert found.deviation == pytest.approx(0.1 / slope)
    assert len(curve.rates_rps) == 1


@given(st.floats(5.0, 15.0), st.floats(-0.029, 0.029), st.floats(0.75, 1.5))
def test_a_run_further_away_is_enough_where_that_is_asked_for(slope: float, off: float, wrong: float) -> None:
    curve = power_law(7.0, slope)
    found = curve.search(7.0 * math.exp(off), slope * wrong, Near(0.5, 0.03 / min(wrong, 1.0)))
    assert found.rate_rps == pytest.approx(7.0, rel=0.012)
    assert len(curve.rates_rps) == 1


@given(st.floats(4.0, 10.0), st.floats(-0.2, 0.2))
def test_a_slope_told_by_few_is_found_anew_where_it_would_tell_too_wide_a_spread(
    slope: float, height: float
) -> None:
    curve = power_law(7.0, 5.0 * slope)
    near = Near(0.5, 0.03, deviation=0.09 / slope)
    found = curve.search(7.0 * math.exp(height / (5.0 * slope)), slope, near)
    assert len(curve.rates_rps) > 1
    assert found.slope == pytest.approx(5.0 * slope)
    assert found.deviation == pytest.approx(0.1 / found.slope)


@given(st.floats(0.0, 0.9), st.floats(0.1, 50.0), st.floats(-1.5, 1.5))
def test_at_a_cliff_the_rate_attains_and_little_more_does_not(
    floor: float, cliff_rps: float, log_off: float
) -> None:
    curve = Curve(lambda rate: floor if rate <= cliff_rps else 1000.0)
    found = curve.search(cliff_rps * math.exp(log_off))
    assert cliff_rps / 1.016 <= found.rate_rps <= cliff_rps


def test_the_last_run_is_near_the_crossing() -> None:
    for curve in (power_law(3.0, 8.0), Curve(lambda rate: 0.0 if rate <= 3.0 else 1000.0)):
        found = curve.search(11.0)
        assert curve.rates_rps[-1] == pytest.approx(found.rate_rps, rel=0.02)


def test_where_no_rate_attains_there_is_none_and_the_search_ends() -> None:
    curve = Curve(lambda _: 3.0)
    assert curve.search(10.0).rate_rps == 0.0
    assert len(curve.rates_rps) < 40

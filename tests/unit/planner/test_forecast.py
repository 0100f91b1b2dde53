"""Level, trend and spread of the recent rate."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.planner.forecast import Forecast, forecast
from joulery.planner.settings import PlannerSettings

POLL_S = 15.0
SETTINGS = PlannerSettings()


def ahead(rates: list[float], *, startup_s: float = 120.0) -> Forecast:
    samples = [(POLL_S * i, rate) for i, rate in enumerate(rates)]
    return forecast(samples, epoch_s=300.0, startup_s=startup_s, settings=SETTINGS)


def test_steady_load_has_no_trend_and_a_poisson_margin() -> None:
    found = ahead([9.0] * 120)
    assert found.trend_rps_per_s == pytest.approx(0.0, abs=1e-12)
    assert found.mean_rps == pytest.approx(9.0)
    # Poisson over a minute: the square root of 9/60, blended with the assumed dispersion of 2.
    assert 1.5 * 0.387 <= found.peak_rps - 9.0 <= 1.5 * 0.41


def test_rising_load_is_planned_for_the_epoch_and_the_start_up() -> None:
    found = ahead([10.0 + 0.01 * POLL_S * i for i in range(120)], startup_s=360.0)
    assert found.trend_rps_per_s == pytest.approx(0.01, rel=0.01)
    assert found.peak_rps == pytest.approx(found.peak_now_rps + 0.01 * 660.0, rel=0.01)


def test_falling_load_lowers_the_mean_and_not_the_peak() -> None:
    found = ahead([30.0 - 0.01 * POLL_S * i for i in range(120)])
    assert found.mean_rps < found.level_rps
    assert found.peak_rps == found.peak_now_rps


def test_bursty_load_gets_the_wider_margin() -> None:
    generator = random.Random(1)
    calm = ahead([10.0 + generator.gauss(0.0, 0.4) for _ in range(120)])
    wild = ahead([10.0 + generator.gauss(0.0, 1.5) for _ in range(120)])
    assert wild.peak_rps - wild.level_rps > 2.5 * (calm.peak_rps - calm.level_rps)


def test_a_doubled_load_counts_at_the_poll_that_shows_it() -> None:
    assert ahead([10.0] * 119 + [20.0]).peak_now_rps >= 20.0 - 1e-9


def test_a_step_is_told_from_the_second_poll_that_holds_a_part_of_it() -> None:
    """A window of four polls shows half of the step; what noise may add is held back from the least of it."""
    found = ahead([35.0] * 118 + [43.75, 52.5])
    assert found.level_rps == pytest.approx(70.0), "what is believed at all is planned for as it looks"
    noise = (2.0 * 35.0 * (2.0 / 15.0 + 1.0 / 60.0)) ** 0.5
    assert found.jump_rps == pytest.approx(70.0 - 3.0 * noise)


def test_the_first_of_two_polls_may_hold_a_step_in_part() -> None:
    """Five of its fifteen seconds: by itself no more than noise, with all of the next poll behind it a step."""
    found = ahead([35.0] * 118 + [37.9, 46.65])
    assert found.level_rps == pytest.approx(70.0)
    assert 35.0 < found.jump_rps < 60.0


def test_what_is_no_more_than_noise_is_planned_for_as_before() -> None:
    found = ahead([35.0] * 118 + [35.6, 36.2])
    assert found.jump_rps < 35.0
    assert found.level_rps < 36.2


def test_a_burst_between_two_polls_is_no_step() -> None:
    burst = ahead([35.0] * 118 + [43.75, 43.75])
    assert burst.level_rps < 43.75


def test_a_burst_in_the_newest_poll_is_no_step_yet() -> None:
    assert ahead([35.0] * 119 + [70.0]).jump_rps == 0.0


@pytest.mark.parametrize("poll_s", [1.0, 3.0, 5.0, 15.0])
def test_polls_that_come_faster_do_not_make_a_step_of_a_moment(poll_s: float) -> None:
    """Six seconds of three times the load, and a step that lasts, by a window of a minute."""

    def highest(lasts_s: float) -> float:
        def rate(at_s: float) -> float:
            return 35.0 + 70.0 * min(max(at_s, 0.0), lasts_s) / SETTINGS.rate_window_s

        samples = [
            (poll_s * i, rate(poll_s * i))
            for i in range(-math.ceil(200.0 / poll_s), math.ceil(30.0 / poll_s) + 1)
        ]
        told = [
            forecast(samples[:n], epoch_s=300.0, startup_s=120.0, settings=SETTINGS)
            for n in range(2, len(samples) + 1)
        ]
        return max(found.jump_rps for found in told)

    # What came in those six seconds is a mean over two looks, if both hold some of it.
    looks_s = 2.0 * SETTINGS.look_share * SETTINGS.rate_window_s
    assert highest(lasts_s=6.0) <= 35.0 + 70.0 * 6.0 / looks_s
    assert highest(lasts_s=60.0) > 80.0


def test_a_step_is_told_no_later_for_being_told_again() -> None:
    levels = [ahead([35.0] * 110 + [43.75, 52.5, 61.25, 70.0][:polls]).level_rps for polls in (2, 3, 4)]
    assert levels == [pytest.approx(70.0)] * 3


def test_noise_is_no_jump() -> None:
    """Windows of four polls sliding over Poisson arrivals of 10 requests/s."""
    polls = np.random.default_rng(2).poisson(10.0 * POLL_S, 400) / POLL_S
    windows = np.convolve(polls, np.full(4, 0.25), mode="valid")
    highest = [ahead(list(windows[: end + 1])).level_rps for end in range(20, len(windows))]
    assert max(highest) < 1.15 * 10.0


def test_one_sample_is_enough_and_leaves_room_for_sessions() -> None:
    found = ahead([10.0])
    assert found.trend_rps_per_s == 0.0
    assert found.peak_rps == pytest.approx(10.0 + 1.5 * (2.0 * 10.0 / 60.0) ** 0.5)


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60), st.floats(1.0, 3.0))
def test_more_load_never_gives_a_lower_peak(rates: list[float], factor: float) -> None:
    assert ahead([r * factor for r in rates]).peak_rps >= ahead(rates).peak_rps - 1e-9


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60))
def test_the_peak_is_never_below_the_mean_of_the_last_minutes(rates: list[float]) -> None:
    found = ahead(rates)
    assert found.peak_now_rps >= sum(rates[-8:]) / len(rates[-8:]) - 1e-9
    assert found.mean_rps >= 0.0

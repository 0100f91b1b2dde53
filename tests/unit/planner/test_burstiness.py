"""How bursty arrivals are, told from rate samples."""

from __future__ import annotations

import numpy as np
import pytest

from fleets import CHAT, Cluster, poll, pool
from joulery.planner.burstiness import Burstiness, accepted_dispersion, level_at, with_newest
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings

POLL_S = 15.0
SETTINGS = PlannerSettings()


def told(counts_per_s: np.ndarray) -> Burstiness:
    """What polls of a one-minute rate tell of counts per second."""
    minute = np.convolve(counts_per_s, np.ones(60) / 60.0, mode="valid")[:: int(POLL_S)]
    samples = [(POLL_S * i, float(rate)) for i, rate in enumerate(minute)]
    found: Burstiness | None = None
    for newest in range(1, len(samples) + 1):
        found = with_newest(found, samples[:newest][-8:], SETTINGS)
    assert found is not None
    return found


def negative_binomial(mean: np.ndarray, dispersion: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.poisson(rng.gamma(mean / (dispersion - 1.0), dispersion - 1.0))


@pytest.mark.parametrize("dispersion", [1.2, 2.5, 6.0])
def test_dispersion_of_a_day_is_found(dispersion: float) -> None:
    found = told(negative_binomial(np.full(43_200, 8.0), dispersion))
    assert found.dispersion(SETTINGS) == pytest.approx(dispersion, rel=0.3)


def test_a_rising_day_is_not_taken_for_bursts() -> None:
    found = told(np.random.default_rng(1).poisson(np.linspace(2.0, 40.0, 21_600)))
    assert found.dispersion(SETTINGS) < 1.4


def test_until_samples_tell_the_assumed_dispersion_holds() -> None:
    assert with_newest(None, [(0.0, 5.0)], SETTINGS) is None
    assert accepted_dispersion(None, None, SETTINGS) == SETTINGS.prior_dispersion


def test_a_held_dispersion_stays_until_it_has_drifted() -> None:
    steady = Burstiness(variance=2.0 * 9.0 / 60.0, rate_rps=9.0, since_s=0.0, at_s=86_400.0)
    measured = steady.dispersion(SETTINGS)
    assert accepted_dispersion(measured * 1.1, steady, SETTINGS) == measured * 1.1
    assert accepted_dispersion(measured * 1.3, steady, SETTINGS) == measured


def test_more_instances_thin_the_bursts() -> None:
    levels = [level_at(2.46, n) for n in range(1, 8)]
    assert levels == sorted(levels, reverse=True)
    assert (levels[0], levels[1], levels[-1]) == (2.0, 1.5, 1.0)
    assert level_at(1.12, 1) == 1.0


def test_a_sample_barely_beyond_capacity_waits_for_a_second_one() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 3)
    first = poll(cluster, 12.0, History.empty())
    capacity = first.plan.pools[0].capacity_rps
    for rate, plans in ((1.02 * capacity, False), (2.0 * capacity, True)):
        cluster_after = Cluster([pool()]).run(CHAT, "tp4", first.plan.pools[0].replicas)
        cluster_after.pass_time(POLL_S)
        again = poll(cluster_after, rate, first.history)
        assert (again.plan.id != first.plan.id) is plans

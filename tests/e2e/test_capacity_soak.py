"""The capacity loop live: load that doubles between epochs, and a profile that is too optimistic.

At true times: default cadences and windows, scrapes every 15 s, engines that start in two minutes and are slow for
their first twenty answers. Load is a Poisson process. Half an hour and an hour.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from capacity_run import (
    PROMISE,
    PoissonLoad,
    Requests,
    StatusTrail,
    figures,
    ready_times,
    stored,
    told,
    true_rhythm,
)
from cluster import REPOSITORY
from joulery.domain import reasons
from joulery.domain.pool import Pool
from live_centre import LiveCentre, capacity_rps, live_centre, live_pool, wait_for

pytestmark = pytest.mark.soak

DOUBLED = live_pool("doubled", 4)
OPTIMISTIC = live_pool("optimistic", 4)
SOAK = REPOSITORY / "build" / "soak.json"
LEAD_IN_EPOCHS = 2.0
EPOCHS_TO_SETTLE = 5
# Rate windows full of the load that there is: to be attached to is no step.
STEADY_S = 150.0
# Answers to what arrived last.
SETTLE_S = 10.0


@contextmanager
def running(
    folder: Path, pool: Pool, replicas: int, time_factor: float
) -> Iterator[tuple[LiveCentre, PoissonLoad]]:
    rhythm = true_rhythm()
    with live_centre(folder, [pool.key], nodes=5, rhythm=rhythm, time_factor=time_factor) as live:
        live.run_engines(pool, {"tp4": replicas})
        with PoissonLoad(live, pool, seed=1) as load:
            yield live, load


def attached_under(live: LiveCentre, pool: Pool, load: PoissonLoad, rate_rps: float) -> int:
    """Instances, all of them serving, of a pool attached to what runs under a steady load, right after an epoch."""
    load.step_to(rate_rps)
    time.sleep(STEADY_S)
    live.attach(pool)
    time.sleep(LEAD_IN_EPOCHS * live.rhythm.cadence.plan_epoch_s)
    for _ in range(EPOCHS_TO_SETTLE):
        right_after_an_epoch(live)
        replicas = live.replicas(pool)["tp4"]
        if len(ready_times(live, pool, 0.0)) == replicas:
            return replicas
    raise AssertionError(f"instances still come or go after {EPOCHS_TO_SETTLE} epochs of a steady load")


def right_after_an_epoch(live: LiveCentre) -> None:
    """Until a plan has just been made: the next one that comes by itself is a whole epoch away."""
    made = live.plan_id()
    wait_for("the next plan", lambda: live.plan_id() != made, 3.0 * live.rhythm.cadence.plan_epoch_s)


def overloaded_by_its_profile(pool: Pool, replicas: int) -> float:
    """A rate that so many instances carry by the profile, and not if each is 15 % slower."""
    return 0.92 * replicas * capacity_rps(pool, "tp4")


def served(live: LiveCentre, pool: Pool, load: PoissonLoad, seconds: float) -> Requests:
    """What arrived until so many seconds from now, answered or late."""
    time.sleep(seconds)
    until_s = load.step_to(0.0)
    time.sleep(max(0.0, until_s - time.time()) + SETTLE_S)
    return Requests.of(live.control.outcomes(), pool, until_s)


def lowest_window_after_two_start_ups(found: Mapping[str, Any]) -> float:
    """In percent; by windows, because one share over all that follows would hide a bad window behind good ones."""
    return float(min(found["attainmentPerStartUpPercent"][2:]))


def test_load_that_doubles_between_epochs_is_carried_within_two_start_ups(tmp_path: Path) -> None:
    rate_rps = 3.0 * capacity_rps(DOUBLED, "tp4")
    with running(tmp_path, DOUBLED, 4, 1.0) as (live, load):
        before = attached_under(live, DOUBLED, load, rate_rps)
        step_s = load.step_to(2.0 * rate_rps)
        requests = served(live, DOUBLED, load, 6.0 * live.rhythm.startup_s)
        found = {
            "requestsPerSecond": [round(rate_rps, 1), round(2.0 * rate_rps, 1)],
            "replicas": [before, live.replicas(DOUBLED)["tp4"]],
            **figures(live, DOUBLED, requests, step_s),
            "secondsWithoutLoad": load.skipped_s,
        }
    stored(SOAK, "loadDoubled", found)
    assert found["secondsToUpOnlyPlan"] < 0.5 * live.rhythm.cadence.plan_epoch_s, "between two epochs"
    assert lowest_window_after_two_start_ups(found) >= 100.0 * PROMISE


def test_profile_that_is_15_percent_too_optimistic_is_made_up_for(tmp_path: Path) -> None:
    with running(tmp_path, OPTIMISTIC, 4, 1.15) as (live, load):
        before = attached_under(live, OPTIMISTIC, load, 2.0 * capacity_rps(OPTIMISTIC, "tp4"))
        rate_rps = overloaded_by_its_profile(OPTIMISTIC, before)
        step_s = load.step_to(rate_rps)
        with StatusTrail(live, OPTIMISTIC) as trail:
            requests = served(live, OPTIMISTIC, load, 20.0 * live.rhythm.startup_s)
        found = {
            "timeFactorOfTruth": 1.15,
            "requestsPerSecond": round(rate_rps, 1),
            "replicas": [before, live.replicas(OPTIMISTIC)["tp4"]],
            **figures(live, OPTIMISTIC, requests, step_s),
            "secondsWithoutLoad": load.skipped_s,
            "derates": trail.derates(step_s),
            "heldAtHighestClock": len(told(live, OPTIMISTIC, reasons.HELD_AT_HIGHEST_CLOCK)),
        }
    stored(SOAK, "profileOptimistic", found)
    assert found["derates"], "the status was read"
    assert found["secondsToUpOnlyPlan"] is not None
    assert lowest_window_after_two_start_ups(found) >= 100.0 * PROMISE

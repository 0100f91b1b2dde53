"""Running requests by pod become the choice of who goes."""

from __future__ import annotations

import math

from fakes import CHAT, observation
from joulery.adapters.pod_load import with_running_requests
from joulery.planner.victims import victims

FLEET = observation(desired=3).fleet


def busy(running: dict[str, float]) -> list[int | None]:
    fleet = with_running_requests(FLEET, {(CHAT.namespace, pod): n for pod, n in running.items()})
    return [r.running_requests for r in fleet.pools[0].variants[0].replicas]


def test_least_busy_ready_pod_goes_first() -> None:
    running = {"tp4-0": 9.0, "tp4-1": 2.0, "tp4-2": 5.0}
    fleet = with_running_requests(FLEET, {(CHAT.namespace, pod): n for pod, n in running.items()})
    assert victims(fleet.pools[0].variants[0], 2) == ("tp4-1",)
    assert victims(fleet.pools[0].variants[0], 1) == ("tp4-1", "tp4-2")


def test_pod_without_a_series_is_unknown_and_not_idle() -> None:
    assert busy({"tp4-0": 9.0, "tp4-1": 0.0}) == [9, 0, None]


def test_nonsense_is_unknown() -> None:
    assert busy({"tp4-0": math.nan, "tp4-1": math.inf, "tp4-2": -1.0}) == [None, None, 0]


def test_pods_of_that_name_in_other_namespaces_do_not_count() -> None:
    assert with_running_requests(FLEET, {("other", "tp4-0"): 9.0}) == FLEET


def test_without_figures_the_fleet_is_as_it_was() -> None:
    assert with_running_requests(FLEET, {}) is FLEET

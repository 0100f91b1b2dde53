"""Running requests by pod become the choice of who goes, request rates the shares of the traffic."""

from __future__ import annotations

import math

from fakes import CHAT, observation
from joulery.adapters.pod_load import PodLoads, with_pod_loads
from joulery.planner.victims import victims

FLEET = observation(desired=3).fleet


def busy(running: dict[str, float]) -> list[int | None]:
    fleet = with_pod_loads(FLEET, PodLoads({(CHAT.namespace, pod): n for pod, n in running.items()}))
    return [r.running_requests for r in fleet.pools[0].variants[0].replicas]


def test_least_busy_ready_pod_goes_first() -> None:
    running = {"tp4-0": 9.0, "tp4-1": 2.0, "tp4-2": 5.0}
    fleet = with_pod_loads(FLEET, PodLoads({(CHAT.namespace, pod): n for pod, n in running.items()}))
    assert victims(fleet.pools[0].variants[0], 2) == ("tp4-1",)
    assert victims(fleet.pools[0].variants[0], 1) == ("tp4-1", "tp4-2")


def test_pod_without_a_series_is_unknown_and_not_idle() -> None:
    assert busy({"tp4-0": 9.0, "tp4-1": 0.0}) == [9, 0, None]


def test_nonsense_is_unknown() -> None:
    assert busy({"tp4-0": math.nan, "tp4-1": math.inf, "tp4-2": -1.0}) == [None, None, 0]


def test_pods_of_that_name_in_other_namespaces_do_not_count() -> None:
    assert with_pod_loads(FLEET, PodLoads({("other", "tp4-0"): 9.0})) == FLEET


def test_without_figures_the_fleet_is_as_it_was() -> None:
    assert with_pod_loads(FLEET, PodLoads()) == FLEET


def test_when_they_were_measured_comes_beside_running_requests() -> None:
    measured = {(CHAT.namespace, "tp4-0"): 90.0, (CHAT.namespace, "tp4-1"): 95.0}
    loads = PodLoads({(CHAT.namespace, "tp4-0"): 2.0, (CHAT.namespace, "tp4-2"): 2.0}, measured_s=measured)
    found = [r.running_measured_s for r in with_pod_loads(FLEET, loads).pools[0].variants[0].replicas]
    assert found == [90.0, None, None], "a time without a figure tells nothing, nor a figure without a time"


def test_request_rates_come_beside_running_requests() -> None:
    key = (CHAT.namespace, "tp4-1")
    fleet = with_pod_loads(FLEET, PodLoads({key: 3.0}, {key: 0.25}))
    found = [(r.running_requests, r.requests_per_s) for r in fleet.pools[0].variants[0].replicas]
    assert found == [(None, None), (3, 0.25), (None, None)]


def test_answers_begun_come_beside_them_as_whole_numbers() -> None:
    loads = PodLoads(answers={(CHAT.namespace, "tp4-0"): 19.0, (CHAT.namespace, "tp4-1"): math.nan})
    found = [r.answers for r in with_pod_loads(FLEET, loads).pools[0].variants[0].replicas]
    assert found == [19, None, None]

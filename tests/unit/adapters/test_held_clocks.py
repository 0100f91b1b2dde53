"""Who is held at the highest clock, timed by the agent's own clock and the age of its report."""

from __future__ import annotations

from typing import Any

from fleets import pool, replica
from joulery.adapters.agent_heartbeats import AgentHeartbeats
from joulery.adapters.held_clocks import held_since_s, with_held_clocks
from joulery.domain.fleet import PoolState, Replica, ReplicaPhase, VariantState
from joulery.domain.keys import ObjectKey

NOW_S = 1_000_000.0
EARLY, LATE, REPORT = "2026-11-21T09:00:00Z", "2026-11-21T09:00:20Z", "2026-11-21T09:01:00Z"
HELD = ObjectKey("team", "a")


def gpu(pod: str | None = "a", since: str | None = EARLY) -> dict[str, Any]:
    owner = {"ownerNamespace": "team", "ownerPod": pod} if pod else {}
    return {**owner, **({"highestClockSinceTime": since} if since else {})}


def gpu_node(*gpus: dict[str, Any], report: str | None = REPORT) -> dict[str, Any]:
    status: dict[str, Any] = {"gpus": list(gpus)}
    return {"metadata": {"name": "n0"}, "status": {**status, **({"reportTime": report} if report else {})}}


def test_time_held_is_the_agents_and_the_age_of_its_report_is_ours() -> None:
    assert held_since_s({"n0": gpu_node(gpu())}, {"n0": 10.0}, NOW_S) == {HELD: NOW_S - 70.0}


def test_pod_on_several_gpus_is_held_since_the_last_of_them() -> None:
    found = held_since_s({"n0": gpu_node(gpu(), gpu(since=LATE), gpu())}, {}, NOW_S)
    assert found == {HELD: NOW_S - 40.0}


def test_clock_that_runs_backwards_holds_nobody_in_the_future() -> None:
    ahead = gpu_node(gpu(since="2026-11-21T09:05:00Z"))
    assert held_since_s({"n0": ahead}, {}, NOW_S) == {HELD: NOW_S}


def test_gpus_without_pod_time_or_report_are_not_held() -> None:
    nodes = {"n0": gpu_node(gpu(pod=None), gpu(since=None)), "n1": gpu_node(gpu(), report=None), "n2": {}}
    assert held_since_s(nodes, {}, NOW_S) == {}


def test_age_of_a_report_counts_from_when_it_was_first_seen() -> None:
    now_s = [5.0]
    heartbeats = AgentHeartbeats(lambda: now_s[0])
    for report, at_s in ((EARLY, 10.0), (LATE, 20.0), (LATE, 45.0)):
        now_s[0] = at_s
        heartbeats.reporting({"n0": gpu_node(report=report)})
    assert heartbeats.ages_s() == {"n0": 25.0}


def test_each_replica_gets_its_own_time_and_others_none() -> None:
    replicas = tuple(replica("chat", i, ReplicaPhase.READY, node="n0") for i in range(2))
    state = PoolState(pool(), (VariantState("tp4", 2, replicas), VariantState("tp2", 0)))
    ours = ObjectKey("team", "chat-1")
    (seen,) = with_held_clocks([state], {ours: NOW_S, ObjectKey("other", "chat-0"): NOW_S})
    found: dict[str, Replica] = {r.name: r for r in seen.variant("tp4").replicas}
    assert {name: r.highest_since_s for name, r in found.items()} == {"chat-0": None, "chat-1": NOW_S}

"""A variant that found no room is asked for again once there is some; where it had room and no pod came, much later."""

from __future__ import annotations

from dataclasses import replace

from fleets import CHAT, Cluster, MadeUpCatalog, demand, poll, pool, variant
from joulery.domain.fleet import ReplicaPhase
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings

EPOCH_S, POLL_S = 300.0, 15.0
CLOSED = "node-1"


def played(cluster: Cluster, history: History, seconds: float) -> History:
    catalog = MadeUpCatalog()
    for _ in range(round(seconds / POLL_S)):
        decision = poll(cluster, {CHAT: demand(12.0, at_s=cluster.now_s)}, history, catalog=catalog)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(POLL_S)
    return history


def asked_for_in_vain() -> tuple[Cluster, History]:
    """One instance serves two thirds of its load, and the other node was closed as soon as a second was asked for."""
    cluster = Cluster([pool(variants=(variant(8),))], nodes=2).run(CHAT, "tp8", 1)
    decision = poll(cluster, {CHAT: demand(12.0, at_s=cluster.now_s)}, History.empty())
    cluster.apply(decision)
    assert cluster.desired[CHAT, "tp8"] == 2
    cluster.cordoned.add(CLOSED)
    return cluster, decision.history


def blocked(history: History) -> set[str]:
    return {name for name, _ in history.pools[CHAT].blocked}


def test_room_that_was_missing_is_used_as_soon_as_it_is_there() -> None:
    cluster, history = asked_for_in_vain()
    history = played(cluster, history, 2.0 * EPOCH_S)
    assert blocked(history) == {"tp8"}
    cluster.cordoned.clear()
    history = played(cluster, history, EPOCH_S + 2.0 * POLL_S)
    assert blocked(history) == set()
    assert cluster.desired[CHAT, "tp8"] == 2
    assert len([r for r in cluster.pods[CHAT, "tp8"] if r.node is not None]) == 2


def test_pods_that_find_no_node_in_spite_of_room_are_not_asked_for_again_and_again() -> None:
    """What keeps them from it is not known, so that there is room says nothing."""
    cluster, history = asked_for_in_vain()
    settings = PlannerSettings()
    writes = 0
    cluster.cordoned.clear()
    asked = cluster.desired[CHAT, "tp8"]
    for _ in range(round((settings.blocked_s - 2.0 * settings.unschedulable_s) / POLL_S)):
        pods = cluster.pods[CHAT, "tp8"]
        cluster.pods[CHAT, "tp8"] = [
            r if r.node == "node-0" else replace(r, phase=ReplicaPhase.UNSCHEDULED, node=None, address=None)
            for r in pods
        ]
        decision = poll(cluster, {CHAT: demand(12.0, at_s=cluster.now_s)}, history)
        history = decision.history
        cluster.apply(decision)
        cluster.now_s += POLL_S
        writes += cluster.desired[CHAT, "tp8"] != asked
        asked = cluster.desired[CHAT, "tp8"]
    assert blocked(history) == {"tp8"}
    assert writes <= 1

"""N+1: the peak is held with instances lost, before energy and after every pool's load."""

from __future__ import annotations

import pytest

from fleets import CHAT, RATES_RPS, START_S, Cluster, MadeUpCatalog, demand, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import PlanKind
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding
from joulery.planner.decide import Decision
from joulery.planner.explain import explain
from joulery.planner.history import History

CODE = ObjectKey("team", "code")


def played(
    cluster: Cluster, rates: dict[ObjectKey, float], polls: int, history: History | None = None
) -> Decision:
    history, catalog = history or History.empty(), MadeUpCatalog()
    for _ in range(polls):
        load = {key: demand(rate, at_s=cluster.now_s, key=key) for key, rate in rates.items()}
        decision = poll(cluster, load, history, catalog=catalog)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
    return decision


def feasible(decision: Decision, key: ObjectKey = CHAT) -> Finding:
    return next(f for f in decision.findings[key] if f.condition is ConditionType.FEASIBLE)


@pytest.mark.parametrize("spares", [0, 1, 2])
def test_the_peak_is_held_with_that_many_lost(spares: int) -> None:
    cluster = Cluster([pool(spare_instances=spares)]).run(CHAT, "tp4", 6)
    decision = played(cluster, {CHAT: 9.0}, 100)
    part = decision.plan.pool(CHAT)
    assert part is not None
    left = (part.replicas - spares) * RATES_RPS[int(part.variant[2:])]
    assert left >= part.planned_rate_rps
    assert part.capacity_rps == pytest.approx(left)
    assert feasible(decision).status is ConditionStatus.TRUE


def test_redundancy_costs_instances_and_only_where_asked() -> None:
    gpus = []
    for spares in (0, 1):
        cluster = Cluster([pool(variants=(variant(4),), spare_instances=spares)]).run(CHAT, "tp4", 3)
        played(cluster, {CHAT: 9.0}, 100)
        gpus.append(cluster.desired[CHAT, "tp4"])
    assert gpus[1] == gpus[0] + 1


def test_a_pool_without_load_keeps_its_spare() -> None:
    cluster = Cluster([pool(variants=(variant(4),), spare_instances=1)]).run(CHAT, "tp4", 4)
    decision = played(cluster, {CHAT: 4.0}, 3)
    played(cluster, {CHAT: 0.0}, 300, decision.history)
    assert cluster.desired[CHAT, "tp4"] == 2


def test_a_load_that_eats_the_spare_is_answered_between_epochs() -> None:
    cluster = Cluster([pool(variants=(variant(4),), spare_instances=1)]).run(CHAT, "tp4", 4)
    before = played(cluster, {CHAT: 8.0}, 4)
    assert cluster.desired[CHAT, "tp4"] == 4
    decision = played(cluster, {CHAT: 15.0}, 2, before.history)  # three of four carry 13.5
    assert decision.plan.kind is PlanKind.UP_ONLY
    assert cluster.desired[CHAT, "tp4"] >= 5


def test_the_load_of_one_pool_comes_before_the_spare_of_another() -> None:
    pools = [pool(variants=(variant(8),), spare_instances=1), pool(CODE, variants=(variant(8),))]
    cluster = Cluster(pools, nodes=3).run(CHAT, "tp8", 1).run(CODE, "tp8", 1)
    decision = played(cluster, {CHAT: 5.0, CODE: 11.0}, 60)
    assert (cluster.desired[CHAT, "tp8"], cluster.desired[CODE, "tp8"]) == (1, 2)
    told = feasible(decision)
    assert (told.status, told.verdict.reason) == (ConditionStatus.FALSE, reasons.INSUFFICIENT_GPUS)
    assert "but not with 1 instance lost; 8 GPUs of H100-SXM-80GB missing" in told.verdict.message
    assert feasible(decision, CODE).status is ConditionStatus.TRUE


def test_the_explanation_says_that_redundancy_was_asked_for() -> None:
    cluster = Cluster([pool(spare_instances=1)]).run(CHAT, "tp4", 4)
    text = explain(played(cluster, {CHAT: 5.0}, 2), cluster.fleet(), {CHAT: demand(5.0, at_s=START_S)})
    assert "to be held with 1 lost" in text
    assert "with 1 instance lost" in text

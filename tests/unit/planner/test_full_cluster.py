"""Where no GPUs are free: no back and forth, no way that ends half-way, and words for what is short."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from fleets import CHAT, PROFILES, START_S, MadeUpCatalog, demand, policy, pool, variant
from joulery.domain import reasons
from joulery.domain.fleet import Fleet
from joulery.domain.keys import ObjectKey
from joulery.domain.limits import Limits
from joulery.domain.plan import ScaleChange
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding
from joulery.planner.decide import Decision, decide
from joulery.planner.history import History
from rough_cluster import RoughCluster, carried_rps

CODE = ObjectKey("team", "code")
POLL_S, DWELL_S = 15.0, 600.0
Written = list[tuple[float, ScaleChange]]


def played(
    cluster: RoughCluster, rates: list[float], history: History | None = None
) -> tuple[Decision, Written]:
    history, catalog, written = history or History.empty(), MadeUpCatalog(), []
    for rate in rates:
        load = {CHAT: demand(rate, at_s=cluster.now_s, key=CHAT)}
        decision = decide(cluster.fleet(), load, (policy(),), PROFILES, history, catalog=catalog)  # type: ignore[arg-type]
        history = decision.history
        written += [(cluster.now_s, c) for c in decision.changes]
        cluster.carry_out(decision.changes)
        cluster.pass_time(POLL_S)
    return decision, written


def closed_to_all(fleet: Fleet) -> Fleet:
    """Every node refuses every variant's pods, as a taint on all of them would."""
    barred = Limits(barred=frozenset(n.name for n in fleet.nodes))
    states = (replace(p, variants=tuple(replace(v, limits=barred) for v in p.variants)) for p in fleet.pools)
    return replace(fleet, pools=tuple(states))


def turns(written: Written) -> list[tuple[ScaleChange, ScaleChange]]:
    """Writes of a variant that take back what one within the dwell before gave, or the other way round."""
    found = []
    for name in {c.variant for _, c in written}:
        own = [(at_s, c) for at_s, c in written if c.variant == name]
        for (before_s, before), (at_s, after) in pairwise(own):
            if (before.want > before.seen) != (after.want > after.seen) and at_s - before_s < DWELL_S:
                found.append((before, after))
    return found


def finding(decision: Decision, condition: ConditionType) -> Finding:
    return next(f for f in decision.findings[CHAT] if f.condition is condition)


@pytest.mark.parametrize(
    ("sizes", "running", "foreign", "rates"),
    [
        ((2, 4), ("tp4", 2), 0, (7.0, 3.0)),
        ((2, 4), ("tp4", 1), 0, (7.0, 3.0)),
        ((2, 8), ("tp2", 3), 2, (2.0, 5.0)),
        ((2, 4, 8), ("tp2", 4), 0, (5.0, 5.0)),
        ((4, 8), ("tp8", 1), 0, (5.0, 2.0)),
    ],
)
def test_a_full_node_with_a_spare_asked_for_sees_no_back_and_forth(
    sizes: tuple[int, ...], running: tuple[str, int], foreign: int, rates: tuple[float, float]
) -> None:
    spec = pool(CHAT, variants=tuple(variant(tp) for tp in sizes), spare_instances=1)
    cluster = RoughCluster((spec,), ("node-0",), START_S, foreign={"node-0": foreign})
    cluster.begin(CHAT, *running)
    _, written = played(cluster, [rates[0]] * 60 + [rates[1]] * 180)
    assert not turns(written)


def test_weak_ones_that_hold_strong_ones_back_go_even_where_the_goal_has_no_spare() -> None:
    """Equal shares: two of TP8 with four of TP2 carry six times the weakest, 12; without those, 16."""
    variants = tuple(variant(tp) for tp in (2, 8))
    spec = pool(CHAT, variants=variants, spare_instances=1)
    cluster = RoughCluster((spec,), ("node-0", "node-1", "node-2"), START_S)
    cluster.begin(CHAT, "tp8", 2)
    cluster.begin(CHAT, "tp2", 2)
    cluster.foreign = {"node-2": 4}
    decision, _ = played(cluster, [13.0] * 160)
    assert carried_rps(cluster.ready(CHAT)) >= 13.0, cluster.ready(CHAT)
    assert finding(decision, ConditionType.FEASIBLE).status is ConditionStatus.FALSE


def test_a_pool_that_falls_short_goes_half_the_way_where_that_carries_its_load() -> None:
    """Beside its TP8 two of TP4 find room: together 13.5 requests/s; the old one may not go, and so stays."""
    spec = pool(CHAT, variants=(variant(4), variant(8)), spare_instances=1)
    cluster = RoughCluster((spec,), ("node-0", "node-1", "node-2"), START_S)
    cluster.begin(CHAT, "tp8", 1)
    cluster.foreign = {"node-1": 4, "node-2": 4}
    decision, written = played(cluster, [11.0] * 160)
    assert carried_rps(cluster.ready(CHAT)) >= 11.0, cluster.ready(CHAT)
    assert not turns(written)
    told = finding(decision, ConditionType.FEASIBLE)
    assert (told.status, told.verdict.reason) == (ConditionStatus.FALSE, reasons.INSUFFICIENT_GPUS)


def test_weak_ones_go_where_the_rest_carries_as_much_without_them() -> None:
    """One of TP8 with three of TP2 carries 8 requests/s, and so does the one alone, on six GPUs fewer."""
    spec = pool(CHAT, variants=(variant(2), variant(8)), spare_instances=1)
    cluster = RoughCluster((spec,), ("node-0", "node-1"), START_S)
    cluster.begin(CHAT, "tp8", 1)
    cluster.begin(CHAT, "tp2", 3)
    cluster.foreign = {"node-1": 2}
    played(cluster, [13.0] * 160)
    assert carried_rps(cluster.ready(CHAT)) >= 8.0, cluster.ready(CHAT)
    assert cluster.ready(CHAT)["tp2"] in (0, 4), cluster.ready(CHAT)


def test_gpus_that_suffice_in_number_and_not_where_they_are_are_told_as_a_shortage() -> None:
    """Four GPUs free on each of two nodes do not take a TP8."""
    spec = pool(CHAT, variants=(variant(8),))
    cluster = RoughCluster((spec,), ("node-0", "node-1", "node-2"), START_S)
    cluster.begin(CHAT, "tp8", 1)
    cluster.foreign = {"node-1": 4, "node-2": 4}
    decision, _ = played(cluster, [13.0] * 100)
    told = finding(decision, ConditionType.FEASIBLE)
    assert (told.status, told.verdict.reason) == (ConditionStatus.FALSE, reasons.INSUFFICIENT_GPUS)
    assert "8 GPUs of H100-SXM-80GB" in told.verdict.message


def test_pods_without_a_node_are_told_with_what_they_need_since_when_and_the_cure() -> None:
    spec = pool(CHAT, variants=(variant(4),))
    cluster = RoughCluster((spec,), ("node-0", "node-1"), START_S)
    cluster.begin(CHAT, "tp4", 1)
    cluster.barred.add((CHAT, "tp4"))  # a foreign taint, say
    decision, _ = played(cluster, [7.0] * 16)
    told = finding(decision, ConditionType.ACTUATED)
    assert told.status is ConditionStatus.FALSE
    assert "of tp4 found no node with 4 free GPUs of H100-SXM-80GB since 20" in told.verdict.message
    assert "kubectl describe pod" in told.verdict.message


def test_pods_that_do_not_become_ready_are_told_with_their_node() -> None:
    spec = pool(CHAT, variants=(variant(4),))
    cluster = RoughCluster((spec,), ("node-0", "node-1"), START_S, starts_s=1e9)
    cluster.begin(CHAT, "tp4", 1)
    decision, _ = played(cluster, [7.0] * 120)
    told = finding(decision, ConditionType.ACTUATED)
    assert told.status is ConditionStatus.FALSE
    assert "of tp4 on node-" in told.verdict.message
    assert "did not become ready since 20" in told.verdict.message


@pytest.mark.parametrize(("foreign", "lost_after"), [(2, 0), (2, 4), (4, 4), (4, 8)])
def test_what_never_serves_goes_only_when_something_else_is_asked_for(foreign: int, lost_after: int) -> None:
    """On the way from 2 x TP2 to a TP4 the node is made anew, and no pod of TP2 becomes ready there."""
    spec = pool(CHAT, variants=(variant(2), variant(4)))
    cluster = RoughCluster((spec,), ("node-0",), START_S, foreign={"node-0": foreign})
    cluster.begin(CHAT, "tp2", 2)
    decision, _ = played(cluster, [0.5] * (lost_after + 1))
    cluster.starts_s = 1e9
    cluster.lose("node-0")
    cluster.lost.clear()
    asked = []
    for _ in range(90):
        decision, _ = played(cluster, [0.5], decision.history)
        asked.append(sum(cluster.desired.values()))
    assert min(asked) >= 1


@pytest.mark.parametrize("spares", [0, 1])
def test_the_last_one_that_serves_stays_while_what_is_to_follow_finds_no_node(spares: int) -> None:
    """That nothing is carried with one instance lost, neither now nor then, makes the last one no spare."""
    spec = pool(CHAT, variants=(variant(4), variant(8)), spare_instances=spares)
    cluster = RoughCluster((spec,), ("node-0", "node-1", "node-2", "node-3"), START_S)
    cluster.begin(CHAT, "tp4", 1)
    cluster.barred = {(CHAT, "tp4"), (CHAT, "tp8")}
    history = None
    for _ in range(60):
        decision, _ = played(cluster, [3.0], history)
        history = decision.history
        assert cluster.ready(CHAT)["tp4"] == 1


def test_two_pools_on_a_full_cluster_both_keep_an_instance() -> None:
    variants = tuple(variant(tp) for tp in (4, 8))
    pools = tuple(pool(key, variants=variants) for key in (CHAT, CODE))
    cluster = RoughCluster(pools, ("node-0",), START_S)
    cluster.begin(CHAT, "tp4", 1)
    cluster.begin(CODE, "tp4", 1)
    history, catalog = History.empty(), MadeUpCatalog()
    for _ in range(160):
        load = {
            CHAT: demand(14.0, at_s=cluster.now_s, key=CHAT),
            CODE: demand(1.0, at_s=cluster.now_s, key=CODE),
        }
        decision = decide(cluster.fleet(), load, (policy(),), PROFILES, history, catalog=catalog)  # type: ignore[arg-type]
        history = decision.history
        cluster.carry_out(decision.changes)
        cluster.pass_time(POLL_S)
        ready = Counter({key: sum(cluster.ready(key).values()) for key in (CHAT, CODE)})
        assert ready[CHAT] >= 1
        assert ready[CODE] >= 1


def test_a_pod_that_waits_for_a_node_is_not_taken_away_where_all_nodes_are_closed() -> None:
    """Or nothing would be left that a node is added for."""
    spec = pool(CHAT, variants=(variant(4),))
    cluster = RoughCluster((spec,), ("node-0", "node-1"), START_S, barred={(CHAT, "tp4")})
    cluster.desired[CHAT, "tp4"] = 1
    cluster.pass_time(0.0)
    history, catalog = History.empty(), MadeUpCatalog()
    for _ in range(40):
        fleet = closed_to_all(cluster.fleet())
        load = {CHAT: demand(3.0, at_s=cluster.now_s, key=CHAT)}
        decision = decide(fleet, load, (policy(),), PROFILES, history, catalog=catalog)  # type: ignore[arg-type]
        history = decision.history
        assert not decision.changes
        cluster.pass_time(POLL_S)
    told = finding(decision, ConditionType.FEASIBLE)
    assert told.status is ConditionStatus.FALSE
    assert "2 nodes are closed to tp4" in told.verdict.message
    assert "maxReplicas" not in told.verdict.message


def test_own_bounds_are_named_only_where_nothing_else_binds() -> None:
    spec = pool(CHAT, variants=(replace(variant(4), max_replicas=1),))
    cluster = RoughCluster((spec,), ("node-0", "node-1"), START_S)
    cluster.begin(CHAT, "tp4", 1)
    decision, _ = played(cluster, [9.0] * 4)
    told = finding(decision, ConditionType.FEASIBLE).verdict
    assert told.reason == reasons.INSUFFICIENT_REPLICAS
    assert "raise maxReplicas" in told.message

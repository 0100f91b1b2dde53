"""Shares per pod: what counts as uneven, what it costs in capacity, and what users are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleets import CHAT, START_S, Cluster, MadeUpCatalog, poll, pool, replica, variant
from joulery.domain import reasons
from joulery.domain.fleet import SHARE_WINDOW_S, PoolState, ReplicaPhase, VariantState
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding
from joulery.planner.decide import Decision
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings
from joulery.planner.traffic import Traffic, traffic_of

SETTINGS = PlannerSettings()


def shares(*rates: float | None, ready_for_s: float = 3600.0, past: Traffic | None = None) -> Traffic | None:
    pods = tuple(
        replace(
            replica("chat-tp4", i, ReplicaPhase.READY, node="node-0"),
            requests_per_s=rate,
            ready_since_s=START_S - ready_for_s,
        )
        for i, rate in enumerate(rates)
    )
    spec = pool(variants=(variant(4),))
    state = PoolState(spec, (VariantState("tp4", len(pods), pods),))
    return traffic_of(state, past, START_S, SETTINGS)


def test_even_shares_cost_nothing() -> None:
    found = shares(3.0, 3.0, 3.0)
    assert found is not None
    assert found.unevenness == 1.0


@pytest.mark.parametrize("seed", range(20))
def test_chance_costs_nothing(seed: int) -> None:
    """Shares by lot, as kube-proxy deals connections, stay within what counts as even."""
    requests = np.random.default_rng(seed).multinomial(1500, [0.2] * 5)
    found = shares(*(float(n) / SHARE_WINDOW_S for n in requests))
    assert found is not None
    assert (found.unevenness, found.idle) == (1.0, ())


def test_a_pod_with_half_of_all_requests_halves_what_four_carry() -> None:
    found = shares(6.0, 2.0, 2.0, 2.0)
    assert found is not None
    assert found.busiest == "chat-tp4-0"
    assert found.busiest_share == pytest.approx(0.5)
    assert found.unevenness == pytest.approx(2.0, abs=0.15)


def test_a_pod_that_gets_nothing_counts_as_not_serving() -> None:
    found = shares(3.0, 3.0, 3.0, 0.0)
    assert found is not None
    assert found.idle == ("chat-tp4-3",)
    assert found.unevenness == pytest.approx(4.0 / 3.0)


def test_capacity_is_at_most_halved() -> None:
    found = shares(9.0, *[0.0] * 5)
    assert found is not None
    assert found.unevenness == SETTINGS.most_uneven


def test_young_pods_are_not_compared() -> None:
    assert shares(6.0, 0.0, ready_for_s=SHARE_WINDOW_S - 1.0) is None


def test_too_few_requests_tell_nothing() -> None:
    assert shares(0.05, 0.0, 0.0) is None


def test_pods_that_nobody_measures_tell_nothing() -> None:
    assert shares(None, None, 3.0) is None


def test_one_pod_has_nobody_to_share_with() -> None:
    assert shares(9.0) is None


def test_a_spread_is_held_until_it_has_drifted() -> None:
    first = shares(6.0, 2.0, 2.0, 2.0)
    assert first is not None
    near, far = shares(5.7, 2.1, 2.1, 2.1, past=first), shares(3.0, 3.0, 3.0, 3.0, past=first)
    assert near is not None
    assert far is not None
    assert near.unevenness == first.unevenness
    assert far.unevenness == 1.0


def played(parts: tuple[float, ...], polls: int = 4) -> tuple[Cluster, Decision]:
    """Three instances of TP 4 at nine requests a second, which they get in these parts."""
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 3)
    history, catalog = History.empty(), MadeUpCatalog()
    rates = dict(zip((p.name for p in cluster.pods[CHAT, "tp4"]), parts, strict=False))
    for _ in range(polls):
        cluster.pods[CHAT, "tp4"] = [
            replace(p, requests_per_s=9.0 * rates[p.name]) if p.name in rates else p
            for p in cluster.pods[CHAT, "tp4"]
        ]
        decision = poll(cluster, 9.0, history, catalog=catalog)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
    return cluster, decision


def told(decision: Decision) -> Finding | None:
    return next((f for f in decision.findings[CHAT] if f.condition is ConditionType.TRAFFIC_BALANCED), None)


def test_uneven_traffic_asks_for_more_instances_and_names_pod_share_and_cure() -> None:
    even, same = played((1 / 3, 1 / 3, 1 / 3))
    uneven, decision = played((0.6, 0.2, 0.2))
    assert uneven.desired[CHAT, "tp4"] > even.desired[CHAT, "tp4"]
    finding = told(decision)
    assert finding is not None
    assert (finding.status, finding.verdict.reason) == (ConditionStatus.FALSE, reasons.UNEVEN_TRAFFIC)
    for part in ("60 %", "keep-alive", "pod chat-tp4-1 "):
        assert part in finding.verdict.message
    fine = told(same)
    assert fine is not None
    assert (fine.status, fine.verdict.reason) == (ConditionStatus.TRUE, reasons.TRAFFIC_EVEN)


def test_the_plan_is_the_same_with_even_shares_as_without_any_measured() -> None:
    measured, decision = played((1 / 3, 1 / 3, 1 / 3))
    unmeasured, plain = played(())
    assert measured.desired == unmeasured.desired
    assert decision.plan == plain.plan
    assert told(plain) is None


def test_instances_that_get_nothing_do_not_multiply() -> None:
    """New pods stay empty behind keep-alive: asking for ever more of them has to end at twice the need."""
    cluster = Cluster([pool(variants=(variant(4, max_replicas=40),))], nodes=30).run(CHAT, "tp4", 2)
    history, catalog = History.empty(), MadeUpCatalog()
    old = {p.name for p in cluster.pods[CHAT, "tp4"]}
    for _ in range(400):
        pods = cluster.pods[CHAT, "tp4"]
        cluster.pods[CHAT, "tp4"] = [replace(p, requests_per_s=4.0 if p.name in old else 0.0) for p in pods]
        decision = poll(cluster, 8.0, history, catalog=catalog)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
    assert cluster.desired[CHAT, "tp4"] <= 5

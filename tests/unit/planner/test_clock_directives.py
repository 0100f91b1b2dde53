"""What node agents are told, and what an explanation says."""

from __future__ import annotations

from dataclasses import replace

from fleets import CHAT, H100, Cluster, demand, policy, poll, pool, variant
from joulery.domain.clock_table import EngineSample, wanted_clock_mhz
from joulery.domain.fleet import ReplicaPhase
from joulery.domain.policy import ClockBounds
from joulery.planner.explain import explain
from joulery.planner.history import History


def test_every_ready_or_starting_replica_with_an_address_is_bound() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 3)
    pods = cluster.pods[CHAT, "tp4"]
    pods[1] = replace(pods[1], phase=ReplicaPhase.STARTING, ready_since_s=None)
    pods[2] = replace(pods[2], phase=ReplicaPhase.TERMINATING)
    decision = poll(cluster, 9.0, History.empty())
    assert {b.pod for d in decision.directives for b in d.bindings} == {pods[0].name, pods[1].name}
    assert {d.node for d in decision.directives} == {n.name for n in cluster.fleet().nodes}
    for directive in decision.directives:
        assert {b.table for b in directive.bindings} == {t.name for t in directive.tables}


def test_a_table_keeps_its_name_while_its_content_stays() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 4)
    first = poll(cluster, 12.0, History.empty())
    cluster.pass_time(300.0)
    second = poll(cluster, 12.5, first.history)
    assert first.plan.id != second.plan.id
    assert first.plan.pools[0].tables == second.plan.pools[0].tables


def test_bounds_of_the_policy_bound_every_row() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 4)
    bounded = policy(clocks=(ClockBounds(H100, 1300, 1800),))
    decision = poll(cluster, 12.0, History.empty(), policies=(bounded,))
    tables = [t for d in decision.directives for t in d.tables]
    assert tables
    for table in tables:
        assert (table.lowest_mhz, table.highest_mhz) == (1395, 1785)
        assert all(1395 <= row.clock_mhz <= 1785 for row in table.rows)


def test_more_load_never_wants_a_lower_clock() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 4)
    (table,) = {t for d in poll(cluster, 12.0, History.empty()).directives for t in d.tables}
    wanted = [
        wanted_clock_mhz(table, EngineSample(0.0, 1000.0 * r, 200.0 * r, 10.0, 0.0, 0.1))
        for r in (0.1 * i for i in range(60))
    ]
    assert wanted == sorted(wanted)
    assert wanted[0] < wanted[-1] == table.highest_mhz


def test_an_explanation_names_choice_alternatives_and_rules() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp8", 3)
    decision = poll(cluster, 12.0, History.empty())
    text = explain(decision, cluster.fleet(), {CHAT: demand(12.0)})
    assert f"plan {decision.plan.id}" in text
    assert "* 3 x tp8" in text
    assert " x tp4 at " in text
    assert "rule Dwell: " in text
    assert "MetricsAvailable=True" in text

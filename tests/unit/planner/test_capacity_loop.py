"""The loop poll by poll: up-only plans, pods without a node, stale metrics, modes, holds, restarts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleets import CHAT, START_S, Cluster, MadeUpCatalog, demand, policy, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.fleet import ReplicaPhase
from joulery.domain.memory import PoolMemory
from joulery.domain.plan import PlanKind
from joulery.domain.pool import Knob, Mode
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.decide import Decision
from joulery.planner.history import History

STALE = Verdict(reasons.METRICS_STALE, "no sample for 90 s")


def finding(decision: Decision, condition: ConditionType) -> Finding:
    return next(f for f in decision.findings[CHAT] if f.condition is condition)


def played(cluster: Cluster, rates: list[float], history: History | None = None) -> tuple[Decision, History]:
    history = history or History.empty()
    for rate in rates:
        decision = poll(cluster, rate, history)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
    return decision, history


def test_demand_beyond_the_plan_is_answered_at_the_same_poll() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 3)
    _, history = played(cluster, [9.0] * 5)
    decision = poll(cluster, 20.0, history)
    assert decision.plan.kind is PlanKind.UP_ONLY
    assert [(c.seen, c.reason) for c in decision.changes] == [(3, reasons.SCALE_UP)]


def test_a_step_is_answered_at_the_poll_that_confirms_it() -> None:
    """From 12 to 26 requests/s, by a rate window of four polls; four instances carry 18."""
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 4)
    _, history = played(cluster, [12.0] * 8 + [15.5])
    assert cluster.desired[CHAT, "tp4"] == 4, "one poll alone is a burst"
    decision, _ = played(cluster, [19.0], history)
    assert decision.plan.kind is PlanKind.UP_ONLY
    assert cluster.desired[CHAT, "tp4"] > 4


def test_what_is_starting_is_not_asked_for_twice() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 3)
    _, history = played(cluster, [9.0] * 5 + [20.0])
    asked = cluster.desired[CHAT, "tp4"]
    decision, _ = played(cluster, [20.0], history)
    assert not decision.changes
    assert cluster.desired[CHAT, "tp4"] == asked > 3


def test_another_variant_is_chosen_where_pods_find_no_node() -> None:
    cluster = Cluster([pool(variants=(variant(2), variant(8)))], nodes=3).run(CHAT, "tp8", 1)
    cluster.run(CHAT, "tp2", 0)
    _, history = played(cluster, [6.0] * 3)
    # A foreign taint: pods of TP8 stay without a node though GPUs are free.
    cluster.desired[CHAT, "tp8"] = 2
    cluster._create(CHAT, "tp8", cluster.now_s)
    stuck = cluster.pods[CHAT, "tp8"][-1]
    surged = []
    for _ in range(30):
        decision = poll(cluster, 13.0, history)
        history = decision.history
        surged += [c.variant for c in decision.changes if c.want > c.seen]
        cluster.now_s += 15.0
        cluster.pods[CHAT, "tp8"][-1] = replace(stuck, phase=ReplicaPhase.UNSCHEDULED)
    assert "tp2" in surged


@pytest.mark.parametrize("kept", [1, 40])
def test_stale_metrics_hold_plan_goal_and_replicas(kept: int) -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 6)
    decision, history = played(cluster, [20.0] * 3)
    before, running = decision.plan.pools, dict(cluster.desired)
    for _ in range(kept):
        silent = {CHAT: demand(0.0, at_s=cluster.now_s, problem=STALE)}
        decision = poll(cluster, silent, history)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
    assert decision.plan.pools == before
    assert cluster.desired == running
    assert any(d.bindings for d in decision.directives)
    assert finding(decision, ConditionType.METRICS_AVAILABLE).verdict == STALE


def test_silence_at_the_start_changes_nothing() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 6)
    decision = poll(cluster, {CHAT: demand(0.0, problem=STALE)}, History.empty())
    assert decision.plan.pools == ()
    assert decision.changes == ()
    assert finding(decision, ConditionType.PLANNED).verdict.reason == reasons.METRICS_STALE


def test_zero_load_keeps_one_replica_to_be_heard_of_again() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 4)
    played(cluster, [4.0] * 3 + [0.0] * 400)
    assert sum(cluster.desired.values()) == 1


def test_observe_reports_and_plans_nothing() -> None:
    cluster = Cluster([pool(mode=Mode.OBSERVE)]).run(CHAT, "tp4", 6)
    decision, _ = played(cluster, [5.0] * 3)
    assert decision.plan.pools == ()
    assert decision.changes == ()
    assert not any(d.bindings for d in decision.directives)
    assert finding(decision, ConditionType.METRICS_AVAILABLE).status is ConditionStatus.TRUE
    assert finding(decision, ConditionType.PLANNED).verdict.reason == reasons.OBSERVING


def test_leaving_act_drops_clocks_and_goal_and_keeps_replicas() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 6)
    decision, history = played(cluster, [20.0] * 3)
    assert any(d.bindings for d in decision.directives)
    running = dict(cluster.desired)
    cluster.pools[0] = replace(cluster.pools[0], mode=Mode.RECOMMEND, generation=2)
    decision, history = played(cluster, [20.0] * 2, history)
    assert not any(d.bindings for d in decision.directives)
    assert history.pools[CHAT].memory.goal_variant is None
    assert cluster.desired == running


def test_a_reshard_left_half_way_is_finished_upwards_when_capacity_is_missing() -> None:
    cluster = Cluster([pool(mode=Mode.RECOMMEND)]).run(CHAT, "tp8", 1).run(CHAT, "tp4", 1)
    memory = PoolMemory(plan_id="p", goal_variant="tp4", goal_replicas=4)
    decision = poll(cluster, 14.0, History.restored({CHAT: memory}))
    assert [(c.variant, c.seen, c.want) for c in decision.changes] == [("tp4", 1, 4)]


def test_the_policy_is_a_ceiling_and_says_so() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 6)
    decision = poll(cluster, 5.0, History.empty(), policies=(policy(max_mode=Mode.RECOMMEND),))
    assert decision.changes == ()
    assert finding(decision, ConditionType.ACTUATED).verdict.reason == reasons.MODE_CEILING


def test_without_shards_the_variant_stays() -> None:
    knobs = frozenset({Knob.REPLICAS, Knob.CLOCKS})
    cluster = Cluster([pool(knobs=knobs)]).run(CHAT, "tp8", 4)
    decision, _ = played(cluster, [5.0] * 100)
    assert {p.variant for p in decision.plan.pools} == {"tp8"}
    assert cluster.desired == {(CHAT, "tp8"): 1}


def test_without_clocks_the_highest_clock_is_planned_and_nobody_is_bound() -> None:
    knobs = frozenset({Knob.REPLICAS, Knob.SHARDS})
    cluster = Cluster([pool(knobs=knobs)]).run(CHAT, "tp4", 2)
    decision, _ = played(cluster, [5.0] * 3)
    assert {p.clock_mhz for p in decision.plan.pools} == {1980}
    assert not any(d.bindings for d in decision.directives)


def test_a_missing_profile_is_named_and_the_pool_held() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 2)
    decision = poll(cluster, 5.0, History.empty(), profiles={})
    told = finding(decision, ConditionType.PROFILE_AVAILABLE).verdict
    assert told.reason == reasons.PROFILE_MISSING
    assert "joulery profile" in told.message
    assert decision.changes == ()


def test_a_lost_profile_keeps_the_last_plan() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 4)
    decision, history = played(cluster, [9.0] * 3)
    after = poll(cluster, 9.0, history, profiles={})
    assert after.plan.pools == decision.plan.pools
    assert after.directives[0].bindings == decision.directives[0].bindings


def test_an_unreachable_objective_names_the_best_latency() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 4)
    catalog = MadeUpCatalog(rates_rps={2: 0.0, 4: 0.0, 8: 0.0})
    decision = poll(cluster, 9.0, History.empty(), catalog=catalog)
    told = finding(decision, ConditionType.FEASIBLE).verdict
    assert told.reason == reasons.OBJECTIVE_UNREACHABLE
    assert "best is tp8 with TTFT 250 ms" in told.message
    tables = [t for d in decision.directives for t in d.tables]
    assert {(t.lowest_mhz, t.highest_mhz) for t in tables} == {(1980, 1980)}


def test_missing_gpus_are_counted_by_accelerator() -> None:
    cluster = Cluster([pool(variants=(variant(4),))], nodes=1).run(CHAT, "tp4", 2)
    decision = poll(cluster, 17.0, History.empty())
    told = finding(decision, ConditionType.FEASIBLE).verdict
    assert told.reason == reasons.INSUFFICIENT_GPUS
    assert "GPUs of H100-SXM-80GB missing" in told.message


def test_a_bound_that_binds_is_not_blamed_on_gpus() -> None:
    cluster = Cluster([pool(variants=(variant(4, max_replicas=2),))]).run(CHAT, "tp4", 2)
    decision = poll(cluster, 17.0, History.empty())
    assert finding(decision, ConditionType.FEASIBLE).verdict.reason == reasons.INSUFFICIENT_REPLICAS


def test_a_minimum_is_kept_and_reached() -> None:
    cluster = Cluster([pool(variants=(variant(4, min_replicas=3),))]).run(CHAT, "tp4", 1)
    played(cluster, [1.0] * 200)
    assert cluster.desired == {(CHAT, "tp4"): 3}


def test_a_cordoned_node_gets_nothing_new() -> None:
    cluster = Cluster([pool(variants=(variant(8),))], nodes=3).run(CHAT, "tp8", 1)
    cluster.cordoned = {"node-1", "node-2"}
    decision = poll(cluster, 14.0, History.empty())
    assert decision.changes == ()


def test_a_start_up_time_is_learned_and_remembered() -> None:
    cluster = Cluster([pool(variants=(variant(4, startup_s=120.0),))], startup_s=200.0).run(CHAT, "tp4", 1)
    _, history = played(cluster, [3.0] * 2 + [12.0] * 20)
    assert history.pools[CHAT].memory.variant("tp4").startup_s == pytest.approx(200.0, abs=1.0)


def test_memory_says_what_was_set_and_when() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 1)
    _, history = played(cluster, [3.0, 12.0])
    memory = history.pools[CHAT].memory
    assert memory.variant("tp4").last_set_replicas == cluster.desired[CHAT, "tp4"]
    assert memory.variant("tp4").last_up_s == START_S + 15.0
    assert (memory.goal_variant, memory.goal_replicas) == ("tp4", cluster.desired[CHAT, "tp4"])


def test_ups_of_large_instances_go_first_and_downs_before_all() -> None:
    small, large = CHAT, replace(CHAT, name="zeta")
    pools = [pool(small, variants=(variant(2),)), pool(large, variants=(variant(8),))]
    cluster = Cluster(pools).run(small, "tp2", 1).run(large, "tp8", 1)
    both = {key: demand(rate, key=key) for key, rate in ((small, 4.0), (large, 15.0))}
    decision = poll(cluster, both, History.empty())
    assert [c.variant for c in decision.changes] == ["tp8", "tp2"]

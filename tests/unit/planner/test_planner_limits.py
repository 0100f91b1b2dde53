"""Quotas and closed nodes bound what is planned; updates, drains and budgets what is taken away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from fleets import CHAT, H100, Cluster, demand, poll, pool, replica, variant
from joulery.domain import reasons
from joulery.domain.fleet import Fleet, NodeState, PoolState, ReplicaPhase, VariantState
from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.limits import Budget, Limits, Provisioner, Quota
from joulery.domain.plan import ScaleChange
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.decide import Decision
from joulery.planner.history import History
from joulery.planner.limits import patient, respected, rooms
from joulery.planner.replicas import count
from joulery.planner.settings import PlannerSettings
from joulery.planner.supply import FreeGpus

KEEP = Verdict(reasons.ROLLOUT_IN_PROGRESS, "being updated")
ONE_SIZE = pool(variants=(variant(4),))


@dataclass(slots=True)
class Bounded(Cluster):
    """A cluster whose variants have limits."""

    limits: dict[str, Limits] = field(default_factory=dict)
    quotas: tuple[Quota, ...] = ()
    provisioner: Provisioner | None = None

    def fleet(self) -> Fleet:
        plain = Cluster.fleet(self)
        pools = tuple(replace(p, variants=tuple(self._limited(v) for v in p.variants)) for p in plain.pools)
        return replace(plain, pools=pools, quotas=self.quotas, provisioner=self.provisioner)

    def _limited(self, state: VariantState) -> VariantState:
        return replace(state, limits=self.limits.get(state.variant, Limits()))


def found(decision: Decision, condition: ConditionType) -> Finding:
    return next(f for f in decision.findings[CHAT] if f.condition is condition)


def planned(decision: Decision) -> int:
    part = decision.plan.pool(CHAT)
    assert part is not None
    return part.replicas


def settled(cluster: Bounded, rate_rps: float) -> Decision:
    """Polls under one load until a first epoch after everything has settled has passed."""
    history = History.empty()
    for _ in range(50):
        decision = poll(cluster, rate_rps, history)
        cluster.apply(decision)
        history = decision.history
        cluster.pass_time(15.0)
    return decision


def test_quota_bounds_what_is_planned_and_is_named_with_its_cure() -> None:
    quota = Quota(CHAT.namespace, "gpus", 12, 8)
    cluster = Bounded([ONE_SIZE], quotas=(quota,)).run(CHAT, "tp4", 2)
    free = poll(Bounded([ONE_SIZE]).run(CHAT, "tp4", 2), 20.0, History.empty())
    assert planned(free) > 3
    decision = poll(cluster, 20.0, History.empty())
    assert planned(decision) == 3
    assert [c.want for c in decision.changes] == [3]
    message = found(decision, ConditionType.FEASIBLE).verdict.message
    assert "ResourceQuota team/gpus allows 12 GPUs, 8 are used: raise it" in message


def test_quota_below_what_runs_takes_nothing_away() -> None:
    quota = Quota(CHAT.namespace, "gpus", 4, 16)
    cluster = Bounded([ONE_SIZE], quotas=(quota,)).run(CHAT, "tp4", 4)
    assert planned(poll(cluster, 16.0, History.empty())) == 4


def test_quota_of_another_namespace_bounds_nothing() -> None:
    cluster = Bounded([ONE_SIZE], quotas=(Quota("other", "gpus", 0, 0),)).run(CHAT, "tp4", 2)
    assert planned(poll(cluster, 20.0, History.empty())) > 3


def test_closed_nodes_bound_a_variant_and_are_named() -> None:
    closed = Limits(barred=frozenset({"node-1", "node-2", "node-3", "node-4", "node-5"}))
    cluster = Bounded([ONE_SIZE], limits={"tp4": closed}).run(CHAT, "tp4", 1)
    decision = poll(cluster, 20.0, History.empty())
    assert planned(decision) == 2
    message = found(decision, ConditionType.FEASIBLE).verdict.message
    assert "5 nodes are closed to tp4 by taint, selector or affinity" in message
    assert "tolerate the taint" in message


def test_goal_that_lost_its_room_is_given_up() -> None:
    cluster = Bounded([ONE_SIZE]).run(CHAT, "tp4", 2)
    decision = poll(cluster, 20.0, History.empty())
    assert planned(decision) > 3
    cluster.quotas = (Quota(CHAT.namespace, "gpus", 12, 8),)
    cluster.pass_time(600.0)
    later = poll(cluster, 20.0, decision.history)
    assert planned(later) == 3
    assert found(later, ConditionType.FEASIBLE).status is ConditionStatus.FALSE


def test_rooms_hold_only_variants_with_bounds_of_their_own() -> None:
    assert rooms(Bounded([pool()]).fleet()) == {}
    bounded = Bounded([pool()], limits={"tp8": Limits(barred=frozenset({"node-0", "node-1"}))})
    assert rooms(bounded.fleet()) == {(CHAT, "tp8"): 4}


def test_free_gpus_are_seen_under_the_quota_and_taints_of_a_pool() -> None:
    state = VariantState("tp4", 0, limits=Limits(barred=frozenset({"a"})))
    of_pool = PoolState(ONE_SIZE, (state,))
    nodes = (NodeState("a", H100, 8, 8), NodeState("b", H100, 8, 8), NodeState("c", H100, 8, 4))
    free = FreeGpus.of(Fleet(0.0, (of_pool,), nodes, (Quota(CHAT.namespace, "gpus", 8, 0),)))
    seen = free.seen_from(of_pool)
    assert (free.slots(variant(4)), seen.slots(variant(4))) == (5, 2)
    left = seen.taken(variant(4), 1)
    assert left.slots(variant(4)) == 1
    assert {node: gpus for _, node, gpus in left.nodes} == {"a": 8, "b": 8, "c": 0}


def change(seen: int, want: int, victims: tuple[str, ...] = ()) -> ScaleChange:
    target = TargetRef("apps/v1", "Deployment", "chat-tp4")
    return ScaleChange(CHAT, "tp4", target, seen, want, reasons.SCALE_DOWN, "goal", victims)


def limited(**limits: object) -> PoolState:
    return PoolState(ONE_SIZE, (VariantState("tp4", 4, limits=Limits(**limits)),))  # type: ignore[arg-type]


def test_nothing_is_taken_away_in_the_middle_of_an_update_but_more_may_come() -> None:
    assert respected(limited(keep=KEEP), (change(4, 2, ("a", "b")),)) == ((), (KEEP,))
    up = change(4, 5)
    assert respected(limited(keep=KEEP), (up,)) == ((up,), ())


@pytest.mark.parametrize(
    ("allowed", "want", "victims"),
    [(3, 2, ("a", "b")), (2, 2, ("a", "b")), (1, 3, ("a",)), (0, None, ())],
)
def test_way_down_goes_no_faster_than_the_tightest_budget(
    allowed: int, want: int | None, victims: tuple[str, ...]
) -> None:
    budgets = (Budget("wide", 9, "maxUnavailable 9"), Budget("keep", allowed, "minAvailable 3"))
    changes, told = respected(limited(budgets=budgets), (change(4, 2, ("a", "b")),))
    assert [(c.want, c.victims) for c in changes] == ([] if want is None else [(want, victims)])
    assert [v.reason for v in told] == ([reasons.DISRUPTION_BUDGET] if want != 2 else [])
    assert all("keep" in v.message and "minAvailable 3" in v.message for v in told)


def test_pods_that_are_not_ready_go_against_no_budget() -> None:
    down = change(4, 2)
    assert respected(limited(budgets=(Budget("keep", 0, "minAvailable 3"),)), (down,)) == ((down,), ())


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(keep=KEEP), reasons.ROLLOUT_IN_PROGRESS),
        (Limits(budgets=(Budget("keep", 0, "minAvailable 4"),)), reasons.DISRUPTION_BUDGET),
    ],
    ids=["update", "budget"],
)
def test_replicas_too_many_stay_and_the_pool_says_why(limits: Limits, reason: str) -> None:
    free = Bounded([ONE_SIZE]).run(CHAT, "tp4", 6)
    settled(free, 4.0)
    bounded = Bounded([ONE_SIZE], limits={"tp4": limits}).run(CHAT, "tp4", 6)
    decision = settled(bounded, 4.0)
    assert free.desired[CHAT, "tp4"] < 6
    assert bounded.desired[CHAT, "tp4"] == 6
    assert planned(decision) < 6
    actuated = found(decision, ConditionType.ACTUATED)
    assert (actuated.status, actuated.verdict.reason) == (ConditionStatus.FALSE, reason)


def test_refused_pods_count_as_absent_once_they_are_overdue() -> None:
    ready = tuple(replica("chat", i, ReplicaPhase.READY, node="node-0") for i in range(2))
    refused = VariantState("tp4", 4, ready, limits=Limits(uncreated_since_s=1000.0))
    settings = PlannerSettings()

    def at(now_s: float) -> tuple[int, int]:
        counts = count(refused, now_s=now_s, startup_s=120.0, settings=settings)
        return counts.coming, counts.absent

    assert at(1000.0 + settings.unschedulable_s) == (2, 0)
    assert at(1001.0 + settings.unschedulable_s) == (0, 2)


@pytest.mark.parametrize(
    ("provisioner", "wait_s"),
    [
        (None, 120.0),
        (Provisioner("Karpenter"), 120.0),
        (Provisioner("Karpenter", None, 300.0), 360.0),
        (Provisioner("Karpenter", 0, 300.0), 120.0),
        (Provisioner("cluster-autoscaler", None, 10.0), 120.0),
        (Provisioner("cluster-autoscaler", None, 5000.0), 900.0),
    ],
    ids=["nobody", "no node seen yet", "seen", "at its limit", "fast", "stuck"],
)
def test_pending_pods_are_waited_for_as_long_as_a_node_took(
    provisioner: Provisioner | None, wait_s: float
) -> None:
    assert patient(PlannerSettings(), provisioner).unschedulable_s == wait_s


def test_stale_profile_is_told_where_profiles_are() -> None:
    stale = Verdict(reasons.PROFILE_STALE, "Deployment chat-tp4 starts --max-num-seqs 512")
    cluster = Bounded([ONE_SIZE], holds={(CHAT, "tp4"): stale}).run(CHAT, "tp4", 2)
    decision = poll(cluster, 20.0, History.empty())
    assert decision.changes == ()
    for condition in (ConditionType.PROFILE_AVAILABLE, ConditionType.ACTUATED):
        finding = found(decision, condition)
        assert (finding.status, finding.verdict.reason) == (ConditionStatus.FALSE, reasons.PROFILE_STALE)


def test_another_variant_compensates_for_one_that_is_held() -> None:
    stale = Verdict(reasons.PROFILE_STALE, "changed")
    two = pool(variants=(variant(4), variant(8)))
    cluster = Bounded([two], holds={(CHAT, "tp4"): stale}).run(CHAT, "tp4", 1)
    settled(cluster, 20.0)
    assert cluster.desired[CHAT, "tp4"] == 1
    assert cluster.desired[CHAT, "tp8"] > 0


def test_pods_that_find_no_node_are_told_in_the_schedulers_words() -> None:
    note = Verdict(reasons.UNSCHEDULABLE, "pod x finds no node: 2 Insufficient nvidia.com/gpu")
    cluster = Bounded(
        [ONE_SIZE], nodes=1, limits={"tp4": Limits(notes=(note,))}, provisioner=Provisioner("Karpenter", 0)
    ).run(CHAT, "tp4", 3)
    actuated = found(settled(cluster, 8.0), ConditionType.ACTUATED)
    assert actuated.verdict.reason == reasons.UNSCHEDULABLE
    assert "2 Insufficient nvidia.com/gpu" in actuated.verdict.message
    assert "Karpenter is at its limit: raise spec.limits of its NodePools" in actuated.verdict.message


CODE = ObjectKey(CHAT.namespace, "code")


def sharing_a_quota(gpus: int) -> Bounded:
    """Two pools of one namespace, each on two replicas of TP4."""
    pools = [replace(ONE_SIZE, key=key, uid=f"uid-{key.name}") for key in (CHAT, CODE)]
    cluster = Bounded(pools, quotas=(Quota(CHAT.namespace, "gpus", gpus, 16),))
    cluster.run(CHAT, "tp4", 2).run(CODE, "tp4", 2)
    return cluster


def test_pools_of_one_namespace_share_its_quota() -> None:
    loads = {key: demand(20.0, key=key) for key in (CHAT, CODE)}
    free = poll(sharing_a_quota(48), loads, History.empty())
    assert sum(part.replicas for part in free.plan.pools) > 6
    cluster = sharing_a_quota(24)
    decision = poll(cluster, loads, History.empty())
    assert sum(part.replicas for part in decision.plan.pools) == 6
    assert sum(c.want - c.seen for c in decision.changes) == 2
    message = found(decision, ConditionType.FEASIBLE).verdict.message
    assert "GPUs of quota team missing" in message
    assert "ResourceQuota team/gpus allows 24 GPUs, 16 are used: raise it" in message


def test_under_one_quota_the_pool_of_higher_weight_is_served_first() -> None:
    cluster = sharing_a_quota(24)
    cluster.pools = [replace(cluster.pools[0], weight=5), cluster.pools[1]]
    loads = {key: demand(20.0, key=key) for key in (CHAT, CODE)}
    plan = poll(cluster, loads, History.empty()).plan
    assert {part.pool: part.replicas for part in plan.pools} == {CHAT: 4, CODE: 2}


def test_a_quota_lowered_below_what_runs_takes_nothing_away_from_two_pools() -> None:
    loads = {key: demand(8.0, key=key) for key in (CHAT, CODE)}
    plan = poll(sharing_a_quota(8), loads, History.empty()).plan
    assert [part.replicas for part in plan.pools] == [2, 2]

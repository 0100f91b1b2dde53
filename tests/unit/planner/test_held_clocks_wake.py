"""An instance held at its highest clock brings about an up-only plan at once, told, and seldom again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleets import CHAT, Cluster, demand, policy, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.fleet import ReplicaPhase
from joulery.domain.plan import PlanKind
from joulery.domain.policy import Guardrails
from joulery.domain.pool import Knob, Mode
from joulery.domain.verdict import Verdict
from joulery.planner.decide import Decision
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings

HELD_S = PlannerSettings().held_highest_s
QUIET_RPS = 8.0


def stage(**changes: object) -> tuple[Cluster, History]:
    """Two instances in a settled plan that was made within the last minute."""
    cluster = Cluster([pool(variants=(variant(4),), **changes)]).run(CHAT, "tp4", 2)
    history = History.empty()
    for _ in range(26):
        history = step(cluster, history).history
    assert history.last_epoch_s is not None
    while cluster.now_s - history.last_epoch_s > 60.0:
        history = step(cluster, history).history
    return cluster, history


def step(cluster: Cluster, history: History, rate_rps: float = QUIET_RPS) -> Decision:
    decision = poll(cluster, rate_rps, history)
    cluster.apply(decision)
    cluster.pass_time(15.0)
    return decision


def hold(cluster: Cluster, index: int = 0, seconds: float = HELD_S + 1.0) -> None:
    pods = cluster.pods[CHAT, "tp4"]
    pods[index] = replace(pods[index], highest_since_s=cluster.now_s - seconds)


def calls(decision: Decision) -> list[Verdict]:
    return [v for v in decision.notices[CHAT] if v.reason == reasons.HELD_AT_HIGHEST_CLOCK]


def is_called(decision: Decision) -> bool:
    return bool(calls(decision))


def test_instance_held_for_longer_than_the_set_time_is_an_occasion_at_once() -> None:
    cluster, history = stage()
    hold(cluster, seconds=HELD_S - 1.0)
    early = step(cluster, history)
    assert not is_called(early)
    assert is_called(step(cluster, early.history)), "15 s later it has lasted"


def test_message_names_pool_pod_node_and_since_when() -> None:
    cluster, history = stage()
    hold(cluster, 1, 90.0)
    hold(cluster, 0, 70.0)
    decision = step(cluster, history)
    (verdict,) = calls(decision)
    pod = cluster.pods[CHAT, "tp4"][1]
    for said in (
        f"pool {CHAT}",
        pod.name,
        "variant tp4",
        str(pod.node),
        "Z, 90 s",
        "1 more of its instances",
    ):
        assert said in verdict.message
    assert verdict in decision.decisions[CHAT], "in status as well as in Events"


def test_plan_of_that_occasion_only_adds_and_keeps_the_plan_where_the_profile_has_room() -> None:
    cluster, history = stage()
    before = history.plan
    hold(cluster)
    decision = step(cluster, history)
    assert is_called(decision)
    assert decision.plan == before, "no demand and no other evidence asks for more"
    assert decision.changes == ()


def test_plan_of_that_occasion_adds_what_demand_inside_the_envelope_asks_for() -> None:
    """Peak just above capacity, within the 5 % that are no reason of their own."""
    cluster, history = stage()
    for _ in range(3):
        history = step(cluster, history, 9.0).history
    assert history.plan is not None
    assert (history.plan.kind, history.pools[CHAT].outside_polls) == (PlanKind.EPOCH, 0)
    hold(cluster)
    decision = step(cluster, history, 9.0)
    assert decision.plan.kind is PlanKind.UP_ONLY
    assert [(c.seen, c.want) for c in decision.changes] == [(2, 3)]


def test_wake_up_that_found_nothing_does_not_delay_the_answer_to_demand() -> None:
    cluster, history = stage()
    hold(cluster)
    decision = step(cluster, history)
    assert is_called(decision)
    assert decision.history.pools[CHAT].futile_s is None
    rise = step(cluster, decision.history, 20.0)
    assert rise.plan.kind is PlanKind.UP_ONLY
    assert rise.changes


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"knobs": frozenset({Knob.CLOCKS})}, "no knob could add any"),
        ({"mode": Mode.RECOMMEND}, "nothing may be written"),
    ],
)
def test_pool_that_cannot_grow_is_not_planned_anew(changes: dict[str, object], why: str) -> None:
    cluster, history = stage(**changes)
    hold(cluster)
    assert not is_called(step(cluster, history)), why


def test_instances_on_their_way_are_waited_for() -> None:
    cluster, history = stage()
    cluster.desired[CHAT, "tp4"] = 3
    cluster._create(CHAT, "tp4", cluster.now_s)
    hold(cluster)
    assert not is_called(step(cluster, history))


def test_terminating_instance_at_its_highest_clock_says_nothing() -> None:
    cluster, history = stage()
    hold(cluster)
    pods = cluster.pods[CHAT, "tp4"]
    pods[0] = replace(pods[0], phase=ReplicaPhase.TERMINATING)
    assert not is_called(poll(cluster, QUIET_RPS, history))


def test_nothing_is_planned_on_stale_metrics() -> None:
    cluster, history = stage()
    hold(cluster)
    silent = demand(0.0, at_s=cluster.now_s, problem=Verdict(reasons.METRICS_STALE, "no sample for 90 s"))
    assert not is_called(poll(cluster, {CHAT: silent}, history))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=30, max_size=120), st.sampled_from([30.0, 300.0, 600.0, 900.0]))
def test_wake_ups_are_no_nearer_than_dwell_and_epoch_however_long_it_lasts(
    held: list[bool], dwell_s: float
) -> None:
    cluster, history = stage()
    guarded = (policy(guardrails=Guardrails(dwell_s=dwell_s)),)
    times: list[float] = []
    for is_held in held:
        pods = cluster.pods[CHAT, "tp4"]
        since_s = cluster.now_s - HELD_S - 30.0 if is_held else None
        cluster.pods[CHAT, "tp4"] = [replace(p, highest_since_s=since_s) for p in pods]
        decision = poll(cluster, QUIET_RPS, history, policies=guarded)
        history = decision.history
        times += [cluster.now_s] if is_called(decision) else []
        cluster.apply(decision)
        cluster.pass_time(15.0)
    assert all(b - a >= max(dwell_s, 300.0) for a, b in pairwise(times))


def test_what_lasts_for_hours_is_looked_at_once_per_dwell() -> None:
    cluster, history = stage()
    hold(cluster)
    times: list[float] = []
    for _ in range(4 * 60 * 2):
        decision = step(cluster, history)
        history = decision.history
        times += [decision.history.last_poll_s or 0.0] if is_called(decision) else []
    dwell_s = Guardrails().dwell_s
    assert len(times) >= 10
    assert all(dwell_s <= b - a <= dwell_s + 30.0 for a, b in pairwise(times))

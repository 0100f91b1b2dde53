"""No answer is lost on the way down: what cannot drain stays, and what ends is followed until it is gone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fleets import CHAT, Cluster, poll, pool, replica, variant
from joulery.domain import reasons
from joulery.domain.drain import Drain, EndOrder, longest_answer_s, longest_class
from joulery.domain.fleet import Replica, ReplicaPhase, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Mode
from joulery.domain.request_class import DEFAULT_CLASSES
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.decide import Decision
from joulery.planner.drain import drain_problem
from joulery.planner.draining import Ending, followed, told
from joulery.planner.history import History
from joulery.planner.victims import victims

GOOD = Drain(900.0, math.inf, EndOrder.BY_COST, "the pod template of Deployment/chat-tp4", "ReplicaSet")
NO_HOOK = replace(GOOD, waits_s=0.0)
SHORT = replace(GOOD, grace_s=30.0)
ORDINAL = replace(GOOD, order=EndOrder.HIGHEST_ORDINAL, owner="StatefulSet")
STRANGE = replace(GOOD, order=EndOrder.UNKNOWN, owner="Cluster")
TP4 = (CHAT, "tp4")


def day(cluster: Cluster, load_rps: float, polls: int = 200) -> list[Decision]:
    """What is decided over fifty minutes of constant load."""
    history = History.empty()
    decisions: list[Decision] = []
    for _ in range(polls):
        decision = poll(cluster, load_rps, history)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
        decisions.append(decision)
    return decisions


def downs(decisions: list[Decision]) -> list[ScaleChange]:
    return [c for d in decisions for c in d.changes if c.want < c.seen]


def drain_safe(decision: Decision) -> Finding:
    return next(f for f in decision.findings[CHAT] if f.condition is ConditionType.DRAIN_SAFE)


def test_longest_answer_is_the_largest_class_at_its_objective() -> None:
    assert longest_answer_s(DEFAULT_CLASSES) == pytest.approx(2.0 + 8192 * 0.1)
    assert longest_class(DEFAULT_CLASSES).name == "LL"


@pytest.mark.parametrize("drain", [GOOD, ORDINAL])
def test_replicas_that_drain_are_taken_away(drain: Drain) -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(*TP4, 6)
    cluster.drains[TP4] = drain
    decisions = day(cluster, 2.0)
    assert cluster.desired[TP4] < 6
    assert drain_safe(decisions[-1]).status is ConditionStatus.TRUE
    named = [c.victims for c in downs(decisions)]
    assert all(named) if drain is GOOD else not any(named)


@pytest.mark.parametrize(
    ("drain", "reason", "cure"),
    [
        (NO_HOOK, reasons.NO_DRAIN, "preStop hook"),
        (replace(GOOD, waits_s=15.0), reasons.NO_DRAIN, "--shutdown-timeout 822"),
        (SHORT, reasons.GRACE_TOO_SHORT, "set it to at least 822"),
        (STRANGE, reasons.VICTIM_UNKNOWN, "Cluster"),
    ],
)
def test_replicas_that_would_lose_answers_stay_and_the_cure_is_named(
    drain: Drain, reason: str, cure: str
) -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(*TP4, 6)
    cluster.drains[TP4] = drain
    decisions = day(cluster, 2.0)
    assert downs(decisions) == []
    finding = drain_safe(decisions[-1])
    assert (finding.status, finding.verdict.reason) == (ConditionStatus.FALSE, reason)
    assert cure in finding.verdict.message
    assert "Deployment/chat-tp4" in finding.verdict.message
    assert reason in {v.reason for d in decisions for v in d.decisions[CHAT]}


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.RECOMMEND])
def test_a_missing_drain_is_named_before_the_first_act(mode: Mode) -> None:
    cluster = Cluster([pool(variants=(variant(4),), mode=mode)]).run(*TP4, 2)
    cluster.drains[TP4] = NO_HOOK
    assert drain_safe(poll(cluster, 2.0, History.empty())).verdict.reason == reasons.NO_DRAIN


def test_ways_up_are_taken_without_a_drain() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(*TP4, 1)
    cluster.drains[TP4] = NO_HOOK
    decisions = day(cluster, 12.0)
    assert cluster.desired[TP4] >= 3
    assert downs(decisions) == []


def test_a_variant_that_cannot_drain_is_not_resharded_away_for_energy() -> None:
    def after(drain: Drain) -> int:
        cluster = Cluster([pool(variants=(variant(4), variant(8)))]).run(CHAT, "tp8", 2)
        cluster.drains[CHAT, "tp8"] = drain
        day(cluster, 3.0)
        return cluster.desired[CHAT, "tp8"]

    assert (after(GOOD), after(NO_HOOK)) == (0, 2)


def test_a_ready_ordinal_does_not_go_while_a_lower_one_does_not_serve() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(*TP4, 6)
    cluster.drains[TP4] = ORDINAL
    pods = cluster.pods[TP4]
    pods[:] = [replace(p, name=f"chat-tp4-{i}") for i, p in enumerate(pods)]
    pods[0] = replace(pods[0], phase=ReplicaPhase.STARTING, created_s=-1e6, ready_since_s=None)
    cluster.startup_s = math.inf
    decisions = day(cluster, 2.0)
    assert downs(decisions) == []
    assert reasons.VICTIM_NOT_READY in {v.reason for d in decisions for v in d.decisions[CHAT]}


def test_nothing_is_held_where_nothing_is_known() -> None:
    spec = pool(variants=(variant(4),))
    assert drain_problem(spec, spec.variants[0], VariantState("tp4", 1)) is None


def test_the_least_busy_ready_pod_is_the_victim_and_new_ones_go_unmarked() -> None:
    ready = [replica("chat", i, ReplicaPhase.READY, node="node-0") for i in (3, 1, 2)]
    starting = replica("chat", 9, ReplicaPhase.STARTING, node="node-1")
    state = VariantState("tp4", 4, (*ready, starting), drain=GOOD)
    assert victims(state, 2) == ("chat-1",)
    assert victims(state, 3) == (), "our own surge goes first, whatever a mark says"


# ------------------------------------------------------------------ followed to the end


def ending(running: int | None, measured_s: float) -> Replica:
    return Replica(
        "chat-1",
        "u",
        ReplicaPhase.TERMINATING,
        0.0,
        running_requests=running,
        running_measured_s=None if running is None else measured_s,
        killed_at_s=130.0,
    )


def end_of(*seen: tuple[float, int | None], gone_s: float, lag_s: float = 0.0) -> Verdict:
    """What is told of a pod seen at these times with so many requests, measured a lag before."""
    known: tuple[Ending, ...] = ()
    for at_s, running in seen:
        known, gone = followed(known, (ending(running, at_s - lag_s),), now_s=at_s)
        assert gone == ()
    known, gone = followed(known, (), now_s=gone_s)
    (verdict,) = told(ObjectKey("llm", "chat"), gone, gone_s)
    assert "llm/chat-1" in verdict.message
    return verdict


def life(*seen: tuple[float, int | None], gone_s: float) -> str:
    """The reason told of a pod measured whenever it was seen."""
    return end_of(*seen, gone_s=gone_s).reason


def test_a_victim_seen_at_zero_has_drained() -> None:
    assert life((100.0, 3), (110.0, 1), (120.0, 0), gone_s=122.0) == reasons.DRAINED


def test_idle_before_the_end_began_is_not_yet_drained() -> None:
    assert life((100.0, 0), gone_s=101.0) == reasons.DRAIN_UNSEEN


def test_a_victim_killed_with_requests_running_is_named_with_their_number() -> None:
    verdict = end_of((100.0, 3), (125.0, 2), gone_s=130.4)
    assert verdict.reason == reasons.REQUESTS_LOST
    assert "2 requests running when last measured 5 s before" in verdict.message


def test_idle_when_scraped_before_the_end_began_is_not_drained_however_late_it_is_read() -> None:
    assert end_of((100.0, 0), (110.0, 0), gone_s=115.0, lag_s=12.0).reason == reasons.DRAIN_UNSEEN
    assert end_of((100.0, 0), (110.0, 0), gone_s=115.0, lag_s=9.0).reason == reasons.DRAINED
    assert (
        end_of((100.0, 0), (110.0, 0), (120.0, 4), gone_s=130.4, lag_s=12.0).reason == reasons.REQUESTS_LOST
    )


def test_a_victim_killed_that_was_idle_before_its_end_began_is_not_said_to_have_gone_by_itself() -> None:
    verdict = end_of((100.0, 0), gone_s=130.4)
    assert verdict.reason == reasons.DRAIN_UNSEEN
    assert "was killed at the end of its grace period" in verdict.message
    assert "within its grace period" not in verdict.message


def test_a_victim_gone_within_its_grace_but_not_seen_at_zero_is_named() -> None:
    assert life((100.0, 3), (110.0, 1), gone_s=115.0) == reasons.DRAIN_UNSEEN


def test_a_victim_never_measured_is_named_when_killed() -> None:
    assert life((100.0, None), gone_s=131.0) == reasons.REQUESTS_LOST


def test_a_decision_tells_of_a_victim_that_is_gone() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(*TP4, 2)
    pods = cluster.pods[TP4]
    pods[1] = replace(pods[1], phase=ReplicaPhase.TERMINATING, killed_at_s=cluster.now_s + 900.0)
    cluster.desired[TP4] = 1
    first = poll(cluster, 2.0, History.empty())
    assert first.notices[CHAT] == ()
    del pods[1]
    cluster.pass_time(15.0)
    second = poll(cluster, 2.0, first.history)
    assert [v.reason for v in second.notices[CHAT]] == [reasons.DRAIN_UNSEEN]
    cluster.pass_time(15.0)
    assert poll(cluster, 2.0, second.history).notices[CHAT] == ()

"""Ready is told apart from warm: in the counts, in reshards, and in the start-up times that are learned."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleets import CHAT, START_S, Cluster, poll, pool, replica, variant
from joulery.domain.fleet import Replica, ReplicaPhase, VariantState
from joulery.planner.history import History
from joulery.planner.replicas import Counts, count, is_warm, warm_after_s
from joulery.planner.settings import PlannerSettings

SETTINGS = PlannerSettings()
FEW, ENOUGH = SETTINGS.warm_answers - 1, SETTINGS.warm_answers


def ready(answers: int | None, ready_for_s: float, index: int = 0) -> Replica:
    """A replica that took two minutes to become ready."""
    pod = replica("chat-tp4", index, ReplicaPhase.READY, node="node-0")
    ready_s = START_S - ready_for_s
    return replace(pod, created_s=ready_s - 120.0, ready_since_s=ready_s, answers=answers)


def counted(desired: int, *pods: Replica) -> Counts:
    state = VariantState("tp4", desired, pods)
    return count(state, now_s=START_S, startup_s=120.0, settings=SETTINGS)


def test_replica_that_has_just_become_ready_is_coming_and_not_serving() -> None:
    old = ready(10_000, 3600.0)
    assert counted(2, old, ready(FEW, 5.0, 1)) == Counts(desired=2, serving=1, coming=1, absent=0)
    assert counted(2, old, ready(None, 5.0, 1)) == Counts(desired=2, serving=1, coming=1, absent=0)


def test_replica_is_warm_after_some_answers_or_a_minute_without_them() -> None:
    assert counted(1, ready(ENOUGH, 5.0)).serving == 1
    assert counted(1, ready(FEW, SETTINGS.warm_up_s)).serving == 1
    assert counted(1, ready(None, SETTINGS.warm_up_s)).serving == 1


def test_replica_whose_time_of_readiness_is_unknown_is_not_held_back() -> None:
    assert is_warm(replace(ready(None, 0.0), ready_since_s=None), START_S, SETTINGS)


PODS = st.builds(
    ready,
    answers=st.none() | st.integers(0, 100),
    ready_for_s=st.floats(0.0, 300.0),
    index=st.integers(0, 9),
)


@given(PODS, st.integers(0, 100), st.floats(0.0, 300.0))
def test_warm_replica_stays_warm_as_time_and_answers_go_on(pod: Replica, more: int, later_s: float) -> None:
    then = replace(pod, answers=None if pod.answers is None else pod.answers + more)
    assert is_warm(then, START_S + later_s, SETTINGS) >= is_warm(pod, START_S, SETTINGS)
    assert is_warm(then, START_S + SETTINGS.warm_up_s, SETTINGS), "never longer than the set time"


@given(st.lists(PODS, max_size=8), st.integers(0, 10))
def test_warming_only_moves_replicas_from_coming_to_serving(pods: list[Replica], desired: int) -> None:
    found = counted(desired, *pods)
    hot = counted(desired, *(replace(p, answers=ENOUGH) for p in pods))
    assert found.serving <= hot.serving == min(desired, len(pods))
    assert (found.expected, found.absent) == (hot.expected, hot.absent) == (desired, 0)


@given(st.integers(ENOUGH, 100_000), st.floats(0.0, 300.0))
def test_learned_start_lies_between_readiness_and_now(answers: int, ready_for_s: float) -> None:
    took_s = warm_after_s(ready(answers, ready_for_s), START_S, SETTINGS)
    assert 120.0 - 1e-3 <= took_s <= 120.0 + ready_for_s + 1e-3


def test_start_of_a_replica_with_too_few_requests_to_tell_is_that_of_its_readiness() -> None:
    assert warm_after_s(ready(3, 100.0), START_S, SETTINGS) == pytest.approx(120.0)
    assert warm_after_s(ready(None, 100.0), START_S, SETTINGS) == pytest.approx(120.0)


def test_start_is_learned_to_the_answer_that_made_it_warm() -> None:
    """Ready after 120 s, then a slow minute: its 20th answer comes half a minute later."""
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 2)
    history = History.empty()
    for second in range(0, 240, 15):
        decision = poll(cluster, 6.0, history)
        history = decision.history
        if second == 0:
            cluster.desired[CHAT, "tp4"] = 3
            cluster._create(CHAT, "tp4", cluster.now_s)
        cluster.pass_time(15.0)
        pods = cluster.pods[CHAT, "tp4"]
        since_s = pods[-1].ready_since_s
        if since_s is not None and len(pods) == 3:
            answers = round((cluster.now_s - since_s) * ENOUGH / 30.0)
            pods[-1] = replace(pods[-1], answers=answers)
    assert history.pools[CHAT].memory.variant("tp4").startup_s == pytest.approx(150.0, abs=2.0)
    assert history.pools[CHAT].cold == ()


def test_old_variant_serves_until_the_new_one_is_warm() -> None:
    """A reshard from TP8 to TP4 whose new replicas are ready at once, and warm only later."""
    cluster = Cluster([pool(variants=(variant(4), variant(8)))], startup_s=0.0).run(CHAT, "tp8", 4)
    history = History.empty()
    shrunk_while_cold, shrunk = [], []
    for _ in range(80):
        decision = poll(cluster, 4.0, history)
        history = decision.history
        is_cold = bool(history.pools[CHAT].cold)
        downs = [c for c in decision.changes if c.variant == "tp8" and c.want < c.seen]
        (shrunk_while_cold if is_cold and cluster.desired.get((CHAT, "tp4")) else shrunk).extend(downs)
        cluster.apply(decision)
        cluster.pass_time(15.0)
        young = [
            replace(p, answers=3)
            if p.ready_since_s is not None and cluster.now_s - p.ready_since_s < 50.0
            else p
            for p in cluster.pods.get((CHAT, "tp4"), [])
        ]
        cluster.pods[CHAT, "tp4"] = young
    assert shrunk
    assert not shrunk_while_cold

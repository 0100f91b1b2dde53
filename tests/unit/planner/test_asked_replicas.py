"""Pools whose replicas an autoscaler sets: what is asked for, for how long, and what is told of one that lags."""

from __future__ import annotations

from fleets import CHAT, Cluster, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.ownership import Claim
from joulery.domain.pool import Mode, ReplicaActuator
from joulery.domain.verdict import ConditionType, Verdict
from joulery.planner.decide import Decision
from joulery.planner.history import History

FOLLOWED = Claim(autoscaler="HorizontalPodAutoscaler team/chat")
TP4 = (CHAT, "tp4")
NEEDS_FOUR = 16.0  # requests/s at 4.5 per instance


class Stage:
    """One pool that publishes what it wants, polled every 15 s; `follow` is its autoscaler's turn."""

    def __init__(self, replicas: int, claim: Claim = FOLLOWED) -> None:
        self.cluster = Cluster([pool(variants=(variant(4),), actuator=ReplicaActuator.METRIC)])
        self.cluster.run(CHAT, "tp4", replicas)
        self.cluster.claims[TP4] = claim
        self.history = History.empty()

    def poll(self, load_rps: float) -> Decision:
        decision = poll(self.cluster, load_rps, self.history)
        self.history = decision.history
        self.cluster.pass_time(15.0)
        return decision

    def follow(self, decision: Decision) -> None:
        asked = decision.asked[TP4]
        self.cluster.desired[TP4] = asked
        pods = self.cluster.pods[TP4]
        del pods[asked:]
        while len(pods) < asked:
            self.cluster._create(CHAT, "tp4", self.cluster.now_s)


def _actuated(decision: Decision) -> Verdict:
    found = decision.findings[CHAT]
    return next(f.verdict for f in found if f.condition is ConditionType.ACTUATED)


def test_replicas_are_asked_for_and_none_is_written() -> None:
    stage = Stage(1)
    decisions = [stage.poll(NEEDS_FOUR) for _ in range(3)]
    assert decisions[-1].asked[TP4] >= 4
    assert [d.changes for d in decisions] == [(), (), ()]


def test_way_down_stays_asked_for_while_the_autoscaler_takes_its_time() -> None:
    stage = Stage(8)
    asked = [stage.poll(4.0).asked[TP4] for _ in range(80)]
    assert asked[0] == 8
    assert asked[-1] < 8
    assert asked == sorted(asked, reverse=True)
    assert stage.cluster.desired[TP4] == 8


def test_rise_of_load_is_asked_for_at_once_before_a_way_down_was_followed() -> None:
    stage = Stage(8)
    for _ in range(80):
        low = stage.poll(4.0).asked[TP4]
    asked = [stage.poll(24.0).asked[TP4] for _ in range(3)]
    assert low < 6 <= asked[-1]


def test_restart_goes_on_asking() -> None:
    stage = Stage(1)
    for _ in range(3):
        asked = stage.poll(NEEDS_FOUR).asked[TP4]
    stage.history = History.restored({k: p.memory for k, p in stage.history.pools.items()})
    assert stage.poll(NEEDS_FOUR).asked[TP4] == asked


def test_autoscaler_that_does_not_follow_is_named_with_what_to_look_at() -> None:
    stage = Stage(1)
    for _ in range(8):
        told = _actuated(stage.poll(NEEDS_FOUR))
    assert told.reason == reasons.AUTOSCALER_LAGS
    assert "HorizontalPodAutoscaler team/chat keeps 1" in told.message
    assert "kubectl describe hpa" in told.message


def test_autoscaler_that_follows_is_no_trouble() -> None:
    stage = Stage(1)
    for _ in range(30):
        decision = stage.poll(NEEDS_FOUR)
        stage.follow(decision)
    assert _actuated(decision).reason == reasons.ACTUATED


def test_missing_autoscaler_is_named() -> None:
    stage = Stage(1, Claim())
    assert _actuated(stage.poll(NEEDS_FOUR)).reason == reasons.NO_AUTOSCALER


def test_nothing_is_asked_outside_act_and_the_last_ask_is_forgotten() -> None:
    stage = Stage(1)
    for _ in range(3):
        stage.poll(NEEDS_FOUR)
    spec = stage.cluster.pools[0]
    stage.cluster.pools[0] = pool(
        variants=(variant(4),),
        actuator=ReplicaActuator.METRIC,
        mode=Mode.RECOMMEND,
        generation=spec.generation + 1,
    )
    decision = stage.poll(NEEDS_FOUR)
    assert decision.asked == {}
    assert stage.history.pools[CHAT].memory.variant("tp4").asked_replicas is None

"""Holds on replicas that are somebody else's: what is written, what never is, and what is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleets import CHAT, Cluster, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.ownership import Claim, Owner
from joulery.domain.pool import Adopt, Mode
from joulery.domain.verdict import ConditionType, Verdict
from joulery.planner.decide import Decision
from joulery.planner.history import History

SERVER_SIDE = Claim((Owner("kubectl", "Apply", since="2026-11-21T10:00:00Z"),))
CLIENT_SIDE = Claim((Owner("kubectl-client-side-apply", "Update"),), annotated=True)
HELM_3 = Claim((Owner("helm", "Update"),))
PERSON = Claim((Owner("kubectl", "Update", "scale"),))
OURS = Claim((Owner("joulery", "Update", "scale"),))
TP4 = (CHAT, "tp4")
NEEDS_FOUR = 16.0  # requests/s at 4.5 per instance


class Stage:
    """One pool of one variant, polled every 15 s; writes are carried out and change the owner."""

    def __init__(self, replicas: int, claim: Claim, load_rps: float = NEEDS_FOUR, **spec: object) -> None:
        only = variant(4, **{k: spec.pop(k) for k in ("max_replicas",) if k in spec})
        self.cluster = Cluster([pool(variants=(only,), **spec)])
        self.cluster.run(CHAT, "tp4", replicas)
        self.cluster.claims[TP4] = claim
        self.load_rps = load_rps
        self.history = History.empty()

    def poll(self, *, lands: bool = True) -> Decision:
        decision = poll(self.cluster, self.load_rps, self.history)
        self.history = decision.history
        if lands and decision.changes:
            self.cluster.apply(decision)
            self.cluster.claims[TP4] = replace(self.cluster.claims[TP4], owners=OURS.owners)
        self.cluster.pass_time(15.0)
        return decision

    def restart(self) -> None:
        self.history = History.restored({k: p.memory for k, p in self.history.pools.items()})

    def set(self, replicas: int, claim: Claim) -> None:
        """Somebody else sets replicas."""
        pods = self.cluster.pods[TP4]
        self.cluster.desired[TP4] = replicas
        del pods[replicas:]
        while len(pods) < replicas:
            self.cluster._create(CHAT, "tp4", self.cluster.now_s)
        self.cluster.claims[TP4] = claim

    def change_spec(self, **changes: object) -> None:
        spec = self.cluster.pools[0]
        self.cluster.pools[0] = replace(spec, generation=spec.generation + 1, **changes)  # type: ignore[arg-type]

    @property
    def desired(self) -> int:
        return self.cluster.desired[TP4]

    def hold(self, decision: Decision) -> str | None:
        held = decision.holds.get(TP4)
        return held.reason if held is not None else None


@pytest.mark.parametrize("claim", [SERVER_SIDE, CLIENT_SIDE])
def test_declared_replicas_above_need_are_left_alone(claim: Claim) -> None:
    stage = Stage(8, claim)
    decisions = [stage.poll() for _ in range(3)]
    assert [d.changes for d in decisions] == [(), (), ()]
    assert stage.hold(decisions[-1]) == reasons.REPLICAS_DECLARED
    actuated = next(f for f in decisions[-1].findings[CHAT] if f.condition is ConditionType.ACTUATED)
    assert actuated.verdict.reason == reasons.REPLICAS_DECLARED


@pytest.mark.parametrize("claim", [SERVER_SIDE, CLIENT_SIDE, PERSON])
def test_held_replicas_below_need_are_raised_once_and_stay_held(claim: Claim) -> None:
    stage = Stage(1, claim)
    first, *later = [stage.poll() for _ in range(5)]
    assert [(c.seen, c.want, c.reason) for c in first.changes] == [(1, 4, reasons.REPLICAS_RAISED)]
    assert [c for d in later for c in d.changes] == []
    assert stage.hold(later[-1]) in (reasons.REPLICAS_DECLARED, reasons.REPLICAS_HELD)


def test_raise_respects_max_replicas() -> None:
    stage = Stage(1, SERVER_SIDE, max_replicas=2)
    assert [c.want for c in stage.poll().changes] == [2]


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.RECOMMEND])
def test_nothing_is_raised_outside_act(mode: Mode) -> None:
    stage = Stage(1, PERSON, mode=mode)
    assert [stage.poll().changes for _ in range(3)] == [(), (), ()]


def test_adopt_declared_lets_replicas_be_scaled() -> None:
    stage = Stage(1, SERVER_SIDE, adopt=Adopt.DECLARED)
    decision = stage.poll()
    assert [c.reason for c in decision.changes] == [reasons.SCALE_UP]
    assert stage.hold(decision) is None


def test_unknown_owner_is_adopted_once_with_a_word_and_held_when_it_sets_back() -> None:
    stage = Stage(1, HELM_3)
    decision = stage.poll()
    assert decision.adoptions[TP4].reason == reasons.REPLICAS_ADOPTED
    assert stage.poll().adoptions == {}
    stage.set(8, HELM_3)
    again = stage.poll()
    assert stage.hold(again) == reasons.REPLICAS_DECLARED
    assert again.changes == ()


def test_crash_between_memory_and_write_looks_like_nobody() -> None:
    stage = Stage(1, HELM_3)
    first = stage.poll(lands=False)
    stage.restart()
    again = stage.poll()
    assert first.changes
    assert stage.hold(again) is None
    assert [c.want for c in again.changes] == [c.want for c in first.changes]


def test_hold_by_hand_survives_a_restart_and_ends_with_a_change_of_the_spec() -> None:
    stage = Stage(8, OURS)
    stage.poll()
    stage.set(7, PERSON)
    assert stage.hold(stage.poll()) == reasons.REPLICAS_HELD
    stage.restart()
    assert stage.hold(stage.poll()) == reasons.REPLICAS_HELD
    stage.change_spec()
    assert stage.hold(stage.poll()) is None
    stage.set(6, PERSON)
    assert stage.hold(stage.poll()) == reasons.REPLICAS_HELD


def test_three_set_backs_in_an_hour_end_all_writing_until_the_spec_changes() -> None:
    stage = Stage(1, PERSON)
    wants = []
    for _ in range(3):
        wants += [c.want for c in (*stage.poll().changes, *stage.poll().changes)]
        stage.set(1, PERSON)
    contested = stage.poll()
    assert wants == [4, 4, 4]
    assert contested.changes == ()
    assert stage.hold(contested) == reasons.REPLICAS_CONTESTED
    stage.cluster.now_s += 7200.0
    stage.restart()
    assert stage.hold(stage.poll()) == reasons.REPLICAS_CONTESTED
    stage.change_spec()
    assert stage.hold(stage.poll()) != reasons.REPLICAS_CONTESTED


def test_set_backs_faster_than_snapshots_are_contested_too() -> None:
    """As many writes as where every one of them is seen before it is set back."""
    stage = Stage(1, SERVER_SIDE)
    decisions = [stage.poll(lands=False) for _ in range(6)]
    assert stage.hold(decisions[-1]) == reasons.REPLICAS_CONTESTED
    assert [len(d.changes) for d in decisions] == [1, 1, 1, 0, 0, 0]
    stage.restart()
    stage.cluster.now_s += 7200.0
    assert stage.hold(stage.poll()) == reasons.REPLICAS_CONTESTED


def test_a_snapshot_that_lags_behind_a_write_makes_no_lasting_contest() -> None:
    stage = Stage(1, OURS)
    for _ in range(2):
        stage.poll()
        stage.poll()
        stage.set(1, OURS)
    assert [c.want for c in stage.poll(lands=False).changes] == [4]
    assert stage.hold(stage.poll()) == reasons.REPLICAS_CONTESTED
    stage.set(4, OURS)
    assert stage.hold(stage.poll()) is None


def test_target_of_an_autoscaler_is_never_written() -> None:
    stage = Stage(1, Claim(OURS.owners, autoscaler="chat"))
    stage.cluster.holds[TP4] = Verdict(reasons.FOREIGN_SCALER, "scaled by HorizontalPodAutoscaler team/chat")
    assert [stage.poll().changes for _ in range(3)] == [(), (), ()]


@pytest.mark.parametrize(
    ("claim", "cure"),
    [
        (SERVER_SIDE, "adopt: Declared"),
        (CLIENT_SIDE, "set-last-applied"),
        (Claim((Owner("argocd-controller", "Apply"),)), "ignoreDifferences"),
        (Claim((Owner("helm", "Apply"),)), "fails with a conflict"),
        (PERSON, "change the pool's spec"),
    ],
)
def test_hold_names_object_owner_and_the_cure_of_its_applier(claim: Claim, cure: str) -> None:
    message = Stage(8, claim).poll().holds[TP4].message
    assert cure in message
    assert str(CHAT) in message
    assert "Deployment/chat-tp4" in message
    assert claim.owners[0].manager in message


def test_who_held_replicas_is_told_after_a_raise_and_a_restart() -> None:
    stage = Stage(1, SERVER_SIDE)
    for _ in range(3):
        decision = stage.poll()
    assert stage.desired > 1
    stage.restart()
    decision = stage.poll()
    held = decision.holds[TP4]
    assert held.reason == reasons.REPLICAS_DECLARED
    assert "kubectl (Apply) since 2026-11-21T10:00:00Z declares them" in held.message
    assert "the next apply by kubectl fails" in held.message


def test_what_a_deleted_autoscaler_left_is_no_persons_choice() -> None:
    """An HPA's writes leave no owner where replicas had none, as `kubectl scale` does."""
    stage = Stage(2, Claim())
    assert stage.poll().changes
    written = stage.desired
    stage.poll()
    stage.set(written + 2, Claim(autoscaler="chat"))
    stage.poll()
    stage.set(written + 2, Claim())
    assert stage.hold(stage.poll()) is None


def test_the_cure_is_for_the_applier_even_where_a_person_scaled() -> None:
    argo = Claim(PERSON.owners, annotated=True, annotator=Owner("argocd-controller", "Update"))
    stage = Stage(8, argo)
    held = stage.poll().holds[TP4]
    assert held.reason == reasons.REPLICAS_DECLARED
    assert "RespectIgnoreDifferences=true" in held.message


def test_a_write_that_was_set_back_is_made_again_under_another_name() -> None:
    stage = Stage(1, SERVER_SIDE, adopt=Adopt.DECLARED)
    names = []
    for _ in range(2):
        decision = stage.poll()
        assert decision.changes
        names.append(decision.step_id)
        stage.poll()
        stage.set(1, SERVER_SIDE)
    assert len(set(names)) == 2

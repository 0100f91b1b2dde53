"""Each count answers its own question."""

from __future__ import annotations

from fleets import START_S, replica
from joulery.domain.fleet import Replica, ReplicaPhase, VariantState
from joulery.planner.replicas import Counts, count
from joulery.planner.settings import PlannerSettings
from joulery.planner.victims import victims


def pod(index: int, phase: ReplicaPhase, age_s: float = 60.0, node: str | None = "node-0") -> Replica:
    return replica("chat-tp4", index, phase, node=node, since_s=START_S - age_s)


def counted(desired: int, *pods: Replica) -> Counts:
    state = VariantState("tp4", desired, pods)
    return count(state, now_s=START_S, startup_s=120.0, settings=PlannerSettings())


def test_starting_pods_are_coming_and_not_serving() -> None:
    found = counted(2, pod(0, ReplicaPhase.READY), pod(1, ReplicaPhase.STARTING))
    assert found == Counts(desired=2, serving=1, coming=1, absent=0)


def test_pods_asked_for_and_not_created_yet_are_coming() -> None:
    assert counted(3, pod(0, ReplicaPhase.READY)) == Counts(desired=3, serving=1, coming=2, absent=0)


def test_ready_pods_beyond_what_is_asked_for_are_leaving() -> None:
    pods = [pod(i, ReplicaPhase.READY) for i in range(4)]
    assert counted(1, *pods) == Counts(desired=1, serving=1, coming=0, absent=0)


def test_terminating_pods_serve_nobody() -> None:
    assert counted(1, pod(0, ReplicaPhase.TERMINATING)).serving == 0


def test_a_pod_long_without_a_node_is_absent() -> None:
    pods = (pod(0, ReplicaPhase.UNSCHEDULED, 60.0, None), pod(1, ReplicaPhase.UNSCHEDULED, 121.0, None))
    assert counted(2, *pods) == Counts(desired=2, serving=0, coming=1, absent=1)


def test_a_pod_that_starts_far_beyond_its_time_is_absent() -> None:
    assert counted(1, pod(0, ReplicaPhase.STARTING, 359.0)).coming == 1
    assert counted(1, pod(0, ReplicaPhase.STARTING, 361.0)).absent == 1


def test_the_least_busy_ready_pod_goes() -> None:
    state = VariantState("tp4", 3, tuple(pod(i, ReplicaPhase.READY) for i in (2, 0, 1)))
    assert victims(state, 1) == ("chat-tp4-0", "chat-tp4-1")


def test_unready_pods_go_before_any_that_is_named() -> None:
    state = VariantState("tp4", 2, (pod(0, ReplicaPhase.READY), pod(1, ReplicaPhase.STARTING)))
    assert victims(state, 1) == ()

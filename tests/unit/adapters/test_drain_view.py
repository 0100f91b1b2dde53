"""How replicas end, from template and pods."""

from __future__ import annotations

import math
from typing import Any

from joulery.adapters.drain_view import drain_of
from joulery.domain.drain import EndOrder
from joulery.domain.keys import TargetRef

DEPLOYMENT = TargetRef("apps/v1", "Deployment", "chat")
GROUPS = TargetRef("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "chat")


def spec(grace_s: int = 900, sleep_s: int | None = None) -> dict[str, Any]:
    hook = {"exec": {"command": ["wait-until-idle"]}} if sleep_s is None else {"sleep": {"seconds": sleep_s}}
    container = {"name": "engine", "lifecycle": {"preStop": hook}}
    return {"terminationGracePeriodSeconds": grace_s, "containers": [container]}


def pod(name: str, owner: str | None, pod_spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    owners = [{"kind": owner, "controller": True}] if owner else []
    return {"metadata": {"name": name, "ownerReferences": owners, **metadata}, "spec": pod_spec}


def test_template_tells_before_there_are_pods() -> None:
    drain = drain_of(DEPLOYMENT, {"spec": spec(600)}, ())
    assert drain is not None
    assert (drain.grace_s, drain.waits_s, drain.order) == (600.0, math.inf, EndOrder.BY_COST)
    assert drain.where == "the pod template of Deployment/chat"


def test_pods_of_an_older_revision_end_by_their_own_specification() -> None:
    old = pod("chat-old", "ReplicaSet", spec(30))
    drain = drain_of(DEPLOYMENT, {"spec": spec(900)}, (pod("chat-new", "ReplicaSet", spec(900)), old))
    assert drain is not None
    assert (drain.grace_s, drain.where) == (30.0, "pod chat-old")


def test_pods_that_end_already_are_not_asked() -> None:
    ending = pod("chat-old", "ReplicaSet", spec(30), deletionTimestamp="2026-01-01T00:00:00Z")
    drain = drain_of(DEPLOYMENT, {"spec": spec(900)}, (ending,))
    assert drain is not None
    assert drain.grace_s == 900.0


def test_leaders_of_groups_end_like_their_stateful_set() -> None:
    drain = drain_of(GROUPS, None, (pod("chat-0", "StatefulSet", spec()),))
    assert drain is not None
    assert drain.order is EndOrder.HIGHEST_ORDINAL


def test_pods_of_another_owner_end_in_an_unknown_order() -> None:
    drain = drain_of(GROUPS, None, (pod("chat-0", "StatefulSet", spec(1)), pod("chat-1", "Cluster", spec())))
    assert drain is not None
    assert (drain.order, drain.owner) == (EndOrder.UNKNOWN, "Cluster")
    lone = drain_of(GROUPS, None, (pod("chat-0", None, spec()),))
    assert lone is not None
    assert lone.owner == "no controller"


def test_nothing_is_known_without_template_and_pods() -> None:
    assert drain_of(GROUPS, None, ()) is None

"""Ways down that would lose answers are not taken on a real cluster, and are once the cure is applied."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller_cluster import apply, condition, deployment, eventually, pool, read
from controller_stage import Stage
from joulery.domain import reasons

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

Manifest = dict[str, Any]


def without_drain(manifest: Manifest) -> Manifest:
    """As most people write it: no hook, and Kubernetes' own grace period."""
    spec = manifest["spec"]["template"]["spec"]
    del spec["terminationGracePeriodSeconds"], spec["containers"][0]["lifecycle"]
    return manifest


def ordered(stage: Stage, replicas: int) -> tuple[Manifest, Manifest]:
    made = deployment(stage.name, "chat-tp4", replicas=replicas)
    workload = {**made, "kind": "StatefulSet", "spec": made["spec"] | {"serviceName": "chat"}}
    wanted = pool(stage.name)
    wanted["spec"]["variants"][0]["scaleTargetRef"]["kind"] = "StatefulSet"
    return workload, wanted


def pods(stage: Stage) -> list[Manifest]:
    found: list[Manifest] = json.loads(
        stage.cluster.kubectl("get", "pods", f"-n={stage.name}", "-o=json").stdout
    )["items"]
    return found


async def test_a_missing_drain_is_named_before_the_first_act(stage: Stage) -> None:
    apply(stage.cluster, without_drain(deployment(stage.name, "chat-tp4")), pool(stage.name, mode="Observe"))
    await eventually(lambda: stage.stands("DrainSafe", "False", reasons.NO_DRAIN))
    told = stage.message("DrainSafe")
    for part in ("Deployment/chat-tp4", "preStop", "terminationGracePeriodSeconds to at least 822"):
        assert part in told
    assert stage.stands("Ready", "True"), "nothing that Observe needs is missing"


async def test_replicas_without_a_drain_stay_until_the_cure_is_applied(stage: Stage) -> None:
    workload = deployment(stage.name, "chat-tp4", replicas=3)
    apply(stage.cluster, without_drain(deployment(stage.name, "chat-tp4", replicas=3)), pool(stage.name))
    await eventually(lambda: _decided(stage, reasons.NO_DRAIN), within_s=60.0)
    assert stage.replicas() == 3
    del workload["spec"]["replicas"]
    apply_as_user = ("patch", "deployment", "chat-tp4", f"-n={stage.name}", "--type=merge")
    stage.cluster.kubectl(
        *apply_as_user, "-p", json.dumps({"spec": {"template": workload["spec"]["template"]}})
    )
    await eventually(lambda: stage.stands("DrainSafe", "True"), within_s=60.0)
    await eventually(lambda: stage.replicas() < 3, within_s=90.0)
    await eventually(lambda: len(pods(stage)) == stage.replicas())
    assert condition(stage.pool(), "DrainSafe")["reason"] == reasons.DRAINS


async def test_a_stateful_set_loses_its_highest_ordinal_without_marks(stage: Stage) -> None:
    apply(stage.cluster, *ordered(stage, 3))
    kind = "statefulset"

    def left() -> int:
        return int(read(stage.cluster, kind, stage.name, "chat-tp4")["spec"]["replicas"])

    await eventually(lambda: left() < 3, within_s=90.0)
    await eventually(lambda: len(pods(stage)) == left())
    assert {p["metadata"]["name"] for p in pods(stage)} == {f"chat-tp4-{i}" for i in range(left())}
    marks = [p["metadata"].get("annotations", {}) for p in pods(stage)]
    assert not any("controller.kubernetes.io/pod-deletion-cost" in m for m in marks)


def _decided(stage: Stage, reason: str) -> bool:
    return any(d["reason"] == reason for d in stage.pool().get("status", {}).get("decisions", ()))

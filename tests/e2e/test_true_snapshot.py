"""The controller under quotas, budgets, updates and closed nodes: what it does, and what the pool says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller_cluster import apply, eventually
from controller_stage import Stage
from joulery.domain import reasons

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

BUSY_RPS = 60.0


def edit(stage: Stage, patch: dict[str, Any]) -> None:
    body = f"--patch={json.dumps(patch)}"
    stage.cluster.kubectl("patch", "deployment", "chat-tp4", f"-n={stage.name}", "--type=strategic", body)


def template(stage: Stage, **pod: Any) -> None:
    edit(stage, {"spec": {"template": pod}})


def engine(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "vllm", **container}]}}


async def test_quota_caps_replicas_and_is_named_with_its_cure(stage: Stage) -> None:
    stage.cluster.kubectl("create", "quota", "gpus", f"-n={stage.name}", "--hard=requests.nvidia.com/gpu=8")
    stage.put()
    stage.load.requests_per_s = BUSY_RPS
    await eventually(lambda: stage.replicas() == 2)
    await eventually(lambda: stage.stands("Feasible", "False"))
    await eventually(lambda: f"ResourceQuota {stage.name}/gpus allows 8 GPUs" in stage.message("Feasible"))
    assert "raise it" in stage.message("Feasible")
    assert stage.replicas() == 2
    hard = json.dumps({"spec": {"hard": {"requests.nvidia.com/gpu": "40"}}})
    stage.cluster.kubectl("patch", "quota", "gpus", f"-n={stage.name}", f"--patch={hard}")
    await eventually(lambda: stage.replicas() > 2)


async def test_budget_and_update_are_respected_on_the_way_down(stage: Stage) -> None:
    apply(stage.cluster, _budget(stage.name, least=3))
    stage.put(replicas=3)
    await eventually(lambda: stage.stands("Actuated", "False", reasons.DISRUPTION_BUDGET))
    assert "PodDisruptionBudget keep lets 0 ready pods go now (minAvailable 3" in stage.message("Actuated")
    assert stage.replicas() == 3
    template(stage, metadata={"annotations": {"emulator.joulery.dev/startup-seconds": "2"}})
    await eventually(lambda: stage.stands("Actuated", "False", reasons.ROLLOUT_IN_PROGRESS))
    assert "of its pods are new" in stage.message("Actuated")
    apply(stage.cluster, _budget(stage.name, least=2))
    await eventually(lambda: stage.replicas() == 2, within_s=60.0)
    assert _old_pods(stage) == 0
    await eventually(lambda: stage.stands("Actuated", "False", reasons.DISRUPTION_BUDGET))
    assert stage.replicas() == 2


async def test_changed_flags_hold_the_variant_until_they_are_put_back(stage: Stage) -> None:
    stage.put()
    await eventually(lambda: stage.stands("Planned", "True"))
    template(stage, **engine(args=["--max-num-seqs=512"]))
    await eventually(lambda: stage.stands("ProfileAvailable", "False", reasons.PROFILE_STALE))
    message = stage.message("ProfileAvailable")
    assert "chat-tp4" in message
    assert "--max-num-seqs 512 where variant tp4 declares 256" in message
    assert "correct the template" in message
    stage.load.requests_per_s = BUSY_RPS
    await eventually(lambda: stage.pool()["status"].get("requestsPerMinute") == 60 * BUSY_RPS)
    assert stage.scale_writes() == []
    template(stage, **engine(args=["--max-num-seqs=256"]))
    await eventually(lambda: stage.stands("ProfileAvailable", "True"))
    await eventually(lambda: stage.replicas() > 1)


async def test_update_without_room_names_the_pod_and_the_cure(stage: Stage) -> None:
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    stage.put()
    edit(stage, {"spec": {"strategy": strategy}})
    await eventually(lambda: stage.stands("Actuated", "True"))
    template(stage, spec={"nodeSelector": {"kubernetes.io/hostname": "nowhere"}})
    await eventually(lambda: stage.stands("Actuated", "False", reasons.ROLLOUT_WITHOUT_ROOM))
    assert "finds no node" in stage.message("Actuated")
    assert "maxSurge: 0" in stage.message("Actuated")
    assert stage.replicas() == 1


async def test_nodes_closed_to_a_variant_are_no_supply(stage: Stage) -> None:
    stage.put()
    template(stage, spec={"nodeSelector": {"kubernetes.io/hostname": "emulated-gpu-0"}})
    stage.load.requests_per_s = BUSY_RPS
    await eventually(lambda: "5 nodes are closed to tp4" in stage.message("Feasible"))
    assert stage.replicas() <= 2


def _budget(namespace: str, *, least: int) -> dict[str, Any]:
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": "chat-tp4"}}}
    metadata = {"name": "keep", "namespace": namespace}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def _old_pods(stage: Stage) -> int:
    listed = stage.cluster.kubectl("get", "pods", f"-n={stage.name}", "-o=json").stdout
    living = [p for p in json.loads(listed)["items"] if "deletionTimestamp" not in p["metadata"]]
    marked = [p["metadata"]["annotations"]["emulator.joulery.dev/startup-seconds"] for p in living]
    return sum(seconds != "2" for seconds in marked)

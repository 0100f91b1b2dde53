"""The controller as its own process, with the ServiceAccount of manifests/, on a real API server."""

from __future__ import annotations

import asyncio
import random

import pytest

from controller_cluster import ControllerProcess, apply, condition, deployment, eventually, pool, read
from controller_stage import Stage
from fake_prometheus import FakePrometheus, Trouble
from joulery.domain import reasons

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


async def test_observe_reports_and_writes_nothing(stage: Stage) -> None:
    stage.put(mode="Observe")
    await eventually(lambda: stage.stands("Ready", "True"))
    status = stage.pool()["status"]
    assert status["requestsPerMinute"] == 30
    assert "attainmentPercent" in status
    stage.load.requests_per_s = 20.0
    await eventually(lambda: stage.pool()["status"]["requestsPerMinute"] == 1200)
    assert stage.replicas() == 1
    assert stage.scale_writes() == []


async def test_recommend_plans_and_writes_nothing(stage: Stage) -> None:
    stage.put(mode="Recommend")
    stage.load.requests_per_s = 20.0
    await eventually(lambda: stage.wanted() > 1)
    assert stage.replicas() == 1
    assert stage.scale_writes() == []


async def test_act_scales_by_tested_patch_under_a_plan_id(stage: Stage) -> None:
    stage.put()
    await eventually(lambda: stage.stands("Planned", "True"))
    stage.load.requests_per_s = 20.0
    await eventually(lambda: stage.replicas() > 1)
    write = stage.scale_writes()[-1]
    assert [op["op"] for op in write["requestObject"]] == ["test", "replace"]
    assert " plan/" in write["userAgent"]
    managers = read(stage.cluster, "deployment", stage.name, "chat-tp4")["metadata"].get("managedFields", [])
    assert all(m["operation"] == "Update" for m in managers if m["manager"] == "joulery")


async def test_target_of_an_autoscaler_is_never_written(stage: Stage) -> None:
    # Before the pool: one that came later may meet a write that was decided on just before.
    apply(stage.cluster, deployment(stage.name, "chat-tp4", gpus=4))
    stage.cluster.kubectl("autoscale", "deployment/chat-tp4", f"-n={stage.name}", "--min=1", "--max=2")
    stage.put()
    stage.load.requests_per_s = 20.0
    await eventually(lambda: stage.stands("Actuated", "False", reasons.FOREIGN_SCALER))
    assert "chat-tp4" in condition(stage.pool(), "Actuated")["message"]
    writes = [w for w in stage.scale_writes() if "plan/" in str(w["userAgent"])]
    assert writes == []


async def test_missing_target_is_named_with_its_cure(stage: Stage) -> None:
    apply(stage.cluster, pool(stage.name))
    await eventually(lambda: stage.stands("Actuated", "False", reasons.TARGET_NOT_FOUND))
    assert "create it" in condition(stage.pool(), "Actuated")["message"]


async def test_target_claimed_twice_belongs_to_the_older_pool(stage: Stage) -> None:
    stage.put(mode="Observe")
    # creationTimestamp has whole seconds.
    await asyncio.sleep(1.1)
    thief = pool(stage.name, "later", mode="Observe")
    thief["spec"]["variants"][0]["scaleTargetRef"]["name"] = "chat-tp4"
    apply(stage.cluster, thief)

    def refused() -> bool:
        found = read(stage.cluster, "inferencepools.joulery.dev", stage.name, "later")
        return bool(condition(found, "Accepted").get("reason") == reasons.TARGET_CONFLICT)

    await eventually(refused)
    assert stage.stands("Accepted", "True")


async def test_failing_metrics_hold_the_plan_and_are_named(stage: Stage, prometheus: FakePrometheus) -> None:
    stage.put()
    await eventually(lambda: stage.stands("MetricsAvailable", "True"))
    replicas = stage.replicas()
    prometheus.trouble = Trouble(500)
    try:
        await eventually(lambda: stage.stands("MetricsAvailable", "False", reasons.METRICS_QUERY_FAILED))
    finally:
        prometheus.trouble = Trouble()
    assert stage.replicas() == replicas
    await eventually(lambda: stage.stands("MetricsAvailable", "True"))


async def test_restart_block_survives_a_restart(stage: Stage, controller: ControllerProcess) -> None:
    stage.put()
    await eventually(lambda: stage.pool().get("status", {}).get("memory", {}).get("goalReplicas"))
    before = stage.pool()["status"]["memory"]
    assert controller.stop() == 0
    controller.start()
    await eventually(lambda: _cycles(controller) > 0)
    assert stage.pool()["status"]["memory"]["goalVariant"] == before["goalVariant"]
    await eventually(lambda: stage.stands("Ready", "True"))


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_controller_writes_each_step_once(
    stage: Stage, controller: ControllerProcess, seed: int
) -> None:
    stage.put()
    await eventually(lambda: stage.stands("Planned", "True"))
    chance = random.Random(seed)
    stage.load.requests_per_s = 20.0
    await asyncio.sleep(chance.uniform(0.2, 2.0))
    controller.kill()
    controller.start()
    await eventually(lambda: stage.replicas() > 1)
    await eventually(lambda: stage.stands("Actuated", "True"))
    ids = [w["userAgent"] for w in stage.scale_writes()]
    assert ids
    assert len(ids) == len(set(ids))


def _cycles(process: ControllerProcess) -> int:
    return sum(line["message"] == "cycle" for line in process.lines)

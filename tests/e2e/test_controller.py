"""The controller as its own process, with the ServiceAccount of manifests/, on a real API server."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cluster import cluster_fixture
from controller_cluster import (
    REPOSITORY,
    ControllerProcess,
    apply,
    bare_nodes,
    condition,
    deployment,
    eventually,
    namespace,
    policy,
    pool,
    profile,
    read,
)
from fake_prometheus import FakePrometheus, Load, Trouble
from joulery.domain import reasons
from joulery.emulator.cluster_access import Cluster, service_account_kubeconfig
from joulery.emulator.controlplane import ControlPlane

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

SYSTEM = "joulery-system"

cluster = cluster_fixture()


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Cluster:
    """What `kubectl apply -k manifests/` installs; the controller itself runs as our process."""
    cluster.kubectl("apply", "-k", str(REPOSITORY / "crds"), "--server-side")
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    cluster.kubectl("apply", "-k", str(REPOSITORY / "manifests"), "--server-side")
    cluster.kubectl("scale", f"--namespace={SYSTEM}", "deployment/joulery-controller", "--replicas=0")
    apply(cluster, profile(), policy())
    return cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(installed: Cluster) -> AsyncIterator[None]:
    async with bare_nodes(installed.kubeconfig, 6):
        yield


@pytest.fixture(scope="module")
def prometheus() -> Iterator[FakePrometheus]:
    with FakePrometheus() as server:
        yield server


@pytest.fixture(scope="module")
def controller(
    installed: Cluster, prometheus: FakePrometheus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControllerProcess]:
    account = service_account_kubeconfig(installed, SYSTEM, "joulery-controller")
    log: Path = tmp_path_factory.mktemp("controller") / "controller.log"
    with ControllerProcess(account, prometheus.url, log) as process:
        yield process


class Stage:
    """One namespace with one pool and its load."""

    def __init__(self, cluster: Cluster, prometheus: FakePrometheus, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.load = Load({"namespace": name, "model_name": f"{name}-chat"}, requests_per_s=0.5)
        prometheus.loads.append(self.load)
        apply(cluster, namespace(name))

    def put(self, *, replicas: int = 1, sizes: tuple[int, ...] = (4,), **fields: Any) -> None:
        workloads = [deployment(self.name, f"chat-tp{s}", gpus=s, replicas=replicas) for s in sizes]
        apply(self.cluster, *workloads, pool(self.name, sizes=sizes, **fields))

    def pool(self) -> Mapping[str, Any]:
        return read(self.cluster, "inferencepools.joulery.dev", self.name, "chat")

    def replicas(self, size: int = 4) -> int:
        found = read(self.cluster, "deployment", self.name, f"chat-tp{size}")
        return int(found["spec"]["replicas"])

    def wanted(self) -> int:
        """Replicas that the plan in status asks for."""
        variants = self.pool().get("status", {}).get("variants", ())
        return sum(v.get("targetReplicas", 0) for v in variants)

    def stands(self, kind: str, status: str, *wanted: str) -> bool:
        found = condition(self.pool(), kind)
        return found.get("status") == status and (not wanted or found["reason"] in wanted)

    def scale_writes(self) -> list[Mapping[str, Any]]:
        if not isinstance(self.cluster, ControlPlane):
            pytest.skip("another cluster's audit log is not ours to read")
        return [event for event in self.cluster.audit_events() if self._is_write(event)]

    def _is_write(self, event: Mapping[str, Any]) -> bool:
        ref = event.get("objectRef", {})
        ours = ref.get("subresource") == "scale" and ref.get("namespace") == self.name
        return ours and event.get("responseStatus", {}).get("code") == 200


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    installed: Cluster,
    prometheus: FakePrometheus,
    nodes: None,
    controller: ControllerProcess,
) -> Iterator[Stage]:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[-40:].strip("-")
    made = Stage(installed, prometheus, name)
    yield made
    prometheus.loads.remove(made.load)
    installed.kubectl("delete", "namespace", name, "--wait=false")


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
    stage.put()
    stage.cluster.kubectl("autoscale", "deployment/chat-tp4", f"-n={stage.name}", "--min=1", "--max=2")
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

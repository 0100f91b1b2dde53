"""Replicas set by a real HPA that follows joulery_desired_replicas: Joulery asks, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller_cluster import ControllerProcess, apply, condition, deployment, eventually, pool
from controller_stage import Stage
from external_metrics import ExternalMetrics, autoscaler
from joulery.domain import reasons
from joulery.emulator.cluster_access import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

HOME = "external-metrics"


@pytest.fixture(scope="module")
def metrics(
    installed: Cluster, controller: ControllerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExternalMetrics]:
    """The adapter, and the API server's way to it."""
    installed.kubectl("create", "namespace", HOME)
    folder: Path = tmp_path_factory.mktemp("adapter")
    with ExternalMetrics(controller.metrics, folder) as adapter:
        service, api_service = adapter.manifests(HOME)
        apply(installed, service, api_service)
        name = api_service["metadata"]["name"]
        installed.kubectl("wait", "--for=condition=Available", f"apiservice/{name}", "--timeout=30s")
        yield adapter
        # First of all: a dead APIService would keep every deleted namespace in Terminating.
        installed.kubectl("delete", f"apiservice/{name}")
    installed.kubectl("delete", "namespace", HOME, "--wait=false")


def _put(stage: Stage) -> None:
    """As a user would who lets an HPA have the replicas: the manifest declares none."""
    workload = deployment(stage.name, "chat-tp4")
    del workload["spec"]["replicas"]
    apply(stage.cluster, workload, pool(stage.name, scaling={"actuator": "Metric"}))


def _asked(controller: ControllerProcess, stage: Stage) -> str:
    labels = f'joulery_desired_replicas{{namespace="{stage.name}",pool="chat",variant="tp4"}} '
    return next(
        (line.removeprefix(labels) for line in controller.metrics().splitlines() if labels in line), ""
    )


async def test_hpa_follows_up_and_down_and_nothing_is_written(
    stage: Stage, controller: ControllerProcess, metrics: ExternalMetrics
) -> None:
    _put(stage)
    apply(stage.cluster, autoscaler(stage.name, "chat", "tp4", "chat-tp4"))
    stage.load.requests_per_s = 20.0
    await eventually(lambda: stage.replicas() > 1, within_s=60.0)
    await eventually(lambda: stage.stands("Actuated", "True"), within_s=60.0)
    high = stage.replicas()
    assert float(_asked(controller, stage)) == high
    stage.load.requests_per_s = 0.5
    await eventually(lambda: stage.replicas() < high, within_s=90.0)
    ours = [w for w in stage.scale_writes() if "plan/" in str(w["userAgent"])]
    assert ours == []


async def test_pool_that_no_autoscaler_follows_says_so(stage: Stage, controller: ControllerProcess) -> None:
    _put(stage)
    stage.load.requests_per_s = 20.0
    await eventually(lambda: float(_asked(controller, stage) or 0) > 1, within_s=30.0)
    await eventually(lambda: stage.stands("Actuated", "False", reasons.NO_AUTOSCALER))
    assert "create an HPA" in condition(stage.pool(), "Actuated")["message"]
    assert stage.replicas() == 1
    assert stage.scale_writes() == []


async def test_nothing_is_asked_of_an_autoscaler_outside_act(
    stage: Stage, controller: ControllerProcess
) -> None:
    _put(stage)
    await eventually(lambda: _asked(controller, stage) != "")
    apply(stage.cluster, pool(stage.name, mode="Recommend", scaling={"actuator": "Metric"}))
    await eventually(lambda: _asked(controller, stage) == "")
    assert stage.replicas() == 1

"""The cluster misbehaves under the controller: it says so in log and readiness, and recovers by itself.

A control plane of its own, since components are killed, CRDs deleted and rights revoked.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cluster import find_assets
from controller_cluster import REPOSITORY, ControllerProcess, apply, bare_nodes, eventually, policy, profile
from controller_stage import SYSTEM, Stage, install_crds
from cut_line import CutLine
from fake_prometheus import FakePrometheus
from joulery.domain import reasons
from joulery.emulator.cluster_access import service_account_kubeconfig
from joulery.emulator.controlplane import ControlPlane

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

POOLS_CRD = "inferencepools.joulery.dev"
ROLE = "clusterrole/joulery-controller"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Rights are granted; the CRDs are not there yet."""
    with ControlPlane(find_assets(), tmp_path_factory.mktemp("plane")) as running:
        for name in ("namespace.yaml", "controller-rbac.yaml"):
            running.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "manifests" / name))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CutLine]:
    account = service_account_kubeconfig(plane, SYSTEM, "joulery-controller")
    async with CutLine(account, tmp_path_factory.mktemp("line")) as running:
        yield running


@pytest.fixture(scope="module")
def controller(
    line: CutLine, prometheus: FakePrometheus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControllerProcess]:
    """One process through all faults."""
    log: Path = tmp_path_factory.mktemp("faults") / "controller.log"
    with ControllerProcess(line.kubeconfig, prometheus.url, log) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed_late(plane: ControlPlane, controller: ControllerProcess) -> AsyncIterator[None]:
    """CRDs come after the controller; then what it needs to act."""
    await eventually(lambda: controller.readiness().startswith(reasons.CRD_MISSING))
    install_crds(plane)
    apply(plane, profile(), policy())
    async with bare_nodes(plane.kubeconfig, 4):
        yield


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    plane: ControlPlane,
    prometheus: FakePrometheus,
    controller: ControllerProcess,
    installed_late: None,
) -> Iterator[Stage]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[-40:].strip("-")
    made = Stage(plane, prometheus, name)
    pid = controller.pid
    yield made
    assert controller.pid == pid
    prometheus.loads.remove(made.load)
    plane.kubectl("delete", "namespace", name, "--wait=false")


async def test_kind_missing_at_start_is_named_and_waited_for(
    stage: Stage, controller: ControllerProcess
) -> None:
    assert _was_held_up(controller, reasons.CRD_MISSING, "does not serve")
    await eventually(lambda: controller.readiness() == "Ready\n")
    stage.put()
    await _scales(stage)


async def test_deleted_kind_is_named_and_comes_back(
    stage: Stage, plane: ControlPlane, controller: ControllerProcess
) -> None:
    stage.put()
    await eventually(lambda: stage.stands("Planned", "True"))
    plane.kubectl("delete", "crd", POOLS_CRD)
    await eventually(lambda: controller.readiness().startswith(reasons.CRD_MISSING))
    assert POOLS_CRD in controller.readiness()
    assert stage.replicas() == 1
    install_crds(plane)
    stage.put()
    await _scales(stage)
    await eventually(lambda: controller.readiness() == "Ready\n")


async def test_revoked_right_is_named_and_used_again_when_granted(
    stage: Stage, plane: ControlPlane, controller: ControllerProcess
) -> None:
    stage.put()
    await eventually(lambda: stage.stands("Planned", "True"))
    granted = json.loads(plane.kubectl("get", ROLE, "-o=json").stdout)["rules"]
    _grant(plane, [rule for rule in granted if "energyprofiles" not in rule["resources"]])
    await eventually(lambda: controller.readiness().startswith(reasons.FORBIDDEN))
    assert "joulery.dev" in controller.readiness()
    assert "apply the RBAC of this release" in controller.readiness()
    assert _was_held_up(controller, reasons.FORBIDDEN, "joulery.dev")
    assert stage.replicas() == 1
    _grant(plane, granted)
    await eventually(lambda: controller.readiness() == "Ready\n")
    await _scales(stage)


async def test_revoked_right_to_scale_is_told_to_the_pool(stage: Stage, plane: ControlPlane) -> None:
    stage.put()
    await eventually(lambda: stage.stands("Planned", "True"))
    granted = json.loads(plane.kubectl("get", ROLE, "-o=json").stdout)["rules"]
    _grant(plane, [rule for rule in granted if "deployments/scale" not in rule["resources"]])
    stage.load.requests_per_s = 20.0
    await eventually(lambda: stage.stands("Actuated", "False", reasons.WRITE_REFUSED))
    assert "chat-tp4" in stage.message("Actuated")
    assert "grant the controller's ClusterRole" in stage.message("Actuated")
    _grant(plane, granted)
    await eventually(lambda: stage.replicas() > 1)


async def test_cut_line_is_named_and_mended(
    stage: Stage, line: CutLine, controller: ControllerProcess
) -> None:
    stage.put()
    await eventually(lambda: stage.stands("Planned", "True"))
    line.cut()
    # A cycle that is cut in the middle says what it could not write; the next one cannot even list.
    await eventually(lambda: _was_held_up(controller, reasons.API_UNAVAILABLE, "listing"))
    await eventually(lambda: controller.readiness().startswith(reasons.API_UNAVAILABLE))
    line.heal()
    await eventually(lambda: controller.readiness() == "Ready\n")
    await _scales(stage)


async def test_killed_api_server_is_waited_for(
    stage: Stage, plane: ControlPlane, controller: ControllerProcess
) -> None:
    stage.put()
    await eventually(lambda: stage.stands("Planned", "True"))
    plane.kill("kube-apiserver")
    await eventually(lambda: controller.readiness().startswith(reasons.API_UNAVAILABLE))
    plane.restart("kube-apiserver")
    await eventually(lambda: controller.readiness() == "Ready\n")
    await _scales(stage)


async def _scales(stage: Stage) -> None:
    stage.load.requests_per_s = 20.0
    await eventually(lambda: stage.replicas() > 1)


def _was_held_up(controller: ControllerProcess, reason: str, told: str) -> bool:
    lines = [line for line in controller.lines if line["message"] == "cycle held up"]
    return any(line.get("reason") == reason and told in line.get("detail", "") for line in lines)


def _grant(plane: ControlPlane, rules: list[object]) -> None:
    patch = json.dumps([{"op": "replace", "path": "/rules", "value": rules}])
    plane.kubectl("patch", ROLE, "--type=json", f"--patch={patch}")

"""The controller's surroundings, one set per module: GPU nodes without engines, Prometheus, a process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from controller_cluster import ControllerProcess, bare_nodes
from controller_stage import SYSTEM, Stage, install, remove_objects
from fake_prometheus import FakePrometheus
from joulery.emulator.cluster_access import Cluster, service_account_kubeconfig


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    """The session's cluster with Joulery installed; other modules find none of our objects."""
    install(cluster)
    yield cluster
    remove_objects(cluster)


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


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    installed: Cluster,
    prometheus: FakePrometheus,
    nodes: None,
    controller: ControllerProcess,
) -> Iterator[Stage]:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[-40:].strip("-")
    made = Stage(installed, prometheus, name)
    yield made
    if made.load in prometheus.loads:
        prometheus.loads.remove(made.load)
    installed.kubectl("delete", "namespace", name, "--wait=false")

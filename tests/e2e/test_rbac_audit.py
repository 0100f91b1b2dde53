"""Least privilege, proven: what the manifests grant is what controller and agent use, no more and no less.

A failure names the right: `granted and never used` wants a scenario here or a line less in the manifests,
`refused` wants a line more.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent_cases import binding, directive
from audited_rights import Right, granted, ungranted, unused, used
from controller_cluster import (
    REPOSITORY,
    ControllerProcess,
    apply,
    bare_nodes,
    deployment,
    eventually,
    namespace,
    pool,
    read,
)
from controller_stage import SYSTEM, install, remove_objects
from fake_node import NODE, FakeNode
from fake_prometheus import FakePrometheus, Load
from joulery.api.convert_node import gpu_node_manifest
from joulery.emulator.cluster_access import Cluster, service_account_kubeconfig
from joulery.emulator.controlplane import ControlPlane

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

MANIFESTS = REPOSITORY / "manifests"
NAMESPACE = "audited"
GROUPS_API = "leaderworkerset.x-k8s.io/v1"
Manifest = dict[str, Any]

# Discovered by its group alone; the upstream controller is not needed to read and write a scale.
GROUPS_CRD: Manifest = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "leaderworkersets.leaderworkerset.x-k8s.io",
        # The API server wants an approval for groups below x-k8s.io.
        "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
    },
    "spec": {
        "group": "leaderworkerset.x-k8s.io",
        "scope": "Namespaced",
        "names": {
            "kind": "LeaderWorkerSet",
            "plural": "leaderworkersets",
            "singular": "leaderworkerset",
            "listKind": "LeaderWorkerSetList",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.hpaPodSelector",
                    },
                },
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                            "status": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer"},
                                    "hpaPodSelector": {"type": "string"},
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def plane(cluster: Cluster) -> ControlPlane:
    if not isinstance(cluster, ControlPlane):
        pytest.skip("another cluster's audit log is not ours to read")
    return cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def controller_uses(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[ControlPlane, float]]:
    """A controller that has done all it can do, and when it began."""
    install(plane)
    plane.kubectl("apply", "-k", str(MANIFESTS / "leaderworkerset"))
    apply(plane, GROUPS_CRD)
    plane.kubectl(
        "wait", "--for=condition=Established", "--timeout=60s", f"crd/{GROUPS_CRD['metadata']['name']}"
    )
    # Made anew, so that the controller must.
    plane.kubectl("delete", "lease", "joulery", f"-n={SYSTEM}", "--ignore-not-found")
    since_s = time.time()
    account = service_account_kubeconfig(plane, SYSTEM, "joulery-controller")
    with FakePrometheus() as prometheus:
        log = tmp_path_factory.mktemp("audited") / "controller.log"
        async with bare_nodes(plane.kubeconfig, 6):
            with ControllerProcess(account, prometheus.url, log):
                await _play(plane, prometheus)
                yield plane, since_s
            plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
            plane.kubectl("delete", "crd", GROUPS_CRD["metadata"]["name"])
            plane.kubectl("delete", "-k", str(MANIFESTS / "leaderworkerset"))
            remove_objects(plane)


async def _play(plane: ControlPlane, prometheus: FakePrometheus) -> None:
    """A Deployment up and down again, and a StatefulSet and a group of pods up."""
    loads = {name: _load(prometheus, name) for name in ("chat", "ordered", "grouped")}
    apply(plane, namespace(NAMESPACE), deployment(NAMESPACE, "chat-tp4"), *_ordered(), *_grouped())
    apply(
        plane,
        pool(NAMESPACE, "chat"),
        _of_kind(pool(NAMESPACE, "ordered"), "apps/v1", "StatefulSet"),
        _of_kind(pool(NAMESPACE, "grouped"), GROUPS_API, "LeaderWorkerSet"),
    )
    kinds = {
        "chat": "deployment",
        "ordered": "statefulset",
        "grouped": "leaderworkersets.leaderworkerset.x-k8s.io",
    }
    for load in loads.values():
        load.requests_per_s = 12.0
    for name, kind in kinds.items():
        await eventually(lambda kind=kind, name=name: _replicas(plane, kind, name) > 1, within_s=60.0)
    loads["chat"].requests_per_s = 0.5
    high = _replicas(plane, "deployment", "chat")
    await eventually(lambda: _replicas(plane, "deployment", "chat") < high, within_s=120.0)


def _load(prometheus: FakePrometheus, name: str) -> Load:
    load = Load({"namespace": NAMESPACE, "model_name": f"{NAMESPACE}-{name}"}, requests_per_s=0.5)
    prometheus.loads.append(load)
    return load


def _replicas(plane: ControlPlane, kind: str, name: str) -> int:
    return int(read(plane, kind, NAMESPACE, f"{name}-tp4")["spec"].get("replicas", 0))


def _of_kind(manifest: Manifest, api_version: str, kind: str) -> Manifest:
    for variant in manifest["spec"]["variants"]:
        variant["scaleTargetRef"] |= {"apiVersion": api_version, "kind": kind}
    return manifest


def _ordered() -> Iterator[Manifest]:
    made = deployment(NAMESPACE, "ordered-tp4")
    yield {**made, "kind": "StatefulSet", "spec": made["spec"] | {"serviceName": "ordered"}}


def _grouped() -> Iterator[Manifest]:
    yield {
        "apiVersion": GROUPS_API,
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "grouped-tp4", "namespace": NAMESPACE},
        "spec": {"replicas": 1},
    }


def _compared(plane: ControlPlane, rights: set[Right], account: str, since_s: float) -> dict[str, list[str]]:
    seen = used(plane.audit_events(), account, SYSTEM, since_s)
    return {
        "granted and never used": unused(rights, seen.allowed),
        "used and not granted by the manifests": ungranted(rights, seen.allowed),
        "refused": sorted(set(seen.refused)),
    }


NOTHING: Mapping[str, list[str]] = {
    "granted and never used": [],
    "used and not granted by the manifests": [],
    "refused": [],
}


async def test_controller_uses_what_it_is_granted_and_nothing_else(
    controller_uses: tuple[ControlPlane, float],
) -> None:
    plane, since_s = controller_uses
    folders = [str(MANIFESTS), str(MANIFESTS / "leaderworkerset")]
    rights = granted(plane, folders, "joulery-controller", SYSTEM)
    assert len(rights) > 20

    await _nothing_differs(plane, rights, "joulery-controller", since_s)


async def test_agent_uses_what_it_is_granted_and_nothing_else(
    controller_uses: tuple[ControlPlane, float],
) -> None:
    plane, _ = controller_uses
    plane.kubectl("apply", "-f", str(MANIFESTS / "agent" / "rbac.yaml"))
    plane.kubectl("apply", "-f", str(MANIFESTS / "agent" / "own-node-policy.yaml"))
    rights = granted(plane, [str(MANIFESTS / "agent")], "joulery-agent", SYSTEM)
    # Another module's agent may have lived on this cluster before: this one has to make its own.
    plane.kubectl("delete", f"gpunodes.joulery.dev/{NODE}", "--ignore-not-found")
    since_s = time.time()
    with tempfile.TemporaryDirectory(prefix="joulery-") as folder:
        node = FakeNode(Path(folder))
        await node.start()
        try:
            await _live_as_agent(plane, node)
        finally:
            await node.stop()
            for kind in ("pod/agent-0", f"node/{NODE}", f"gpunodes.joulery.dev/{NODE}"):
                plane.kubectl(
                    "delete", kind, f"-n={SYSTEM}", "--ignore-not-found", "--force", "--grace-period=0"
                )
    await _nothing_differs(plane, rights, "joulery-agent", since_s)


async def _nothing_differs(plane: ControlPlane, rights: set[Right], account: str, since_s: float) -> None:
    """The audit log is written behind the answer, and the Lease is renewed every ten seconds."""
    with suppress(AssertionError):
        await eventually(lambda: _compared(plane, rights, account, since_s) == NOTHING, within_s=30.0)
    assert _compared(plane, rights, account, since_s) == NOTHING


async def _live_as_agent(plane: ControlPlane, node: FakeNode) -> None:
    """It makes its GPUNode, follows a table, and says farewell."""
    spec = {
        "nodeName": NODE,
        "serviceAccountName": "joulery-agent",
        "containers": [{"name": "agent", "image": "x"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "agent-0", "namespace": SYSTEM},
        "spec": spec,
    }
    apply(plane, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}, pod)
    account = await asyncio.to_thread(
        service_account_kubeconfig, plane, SYSTEM, "joulery-agent", bound_pod="agent-0"
    )
    node.settings["JOULERY_KUBECONFIG"] = str(account)
    engine = await node.add_engine()
    engine.load(500.0, 200.0)
    node.kubelet.pods["llm", "chat-0"] = node.gpus.uuids[:2]
    await node.start_agent()
    await eventually(lambda: "status" in _gpu_node(plane), within_s=20.0)
    apply(plane, gpu_node_manifest(directive(NODE, binding(port=engine.port)), None))
    await node.until(lambda: node.lock() is not None, "the table is followed")
    assert await node.stop_agent() == 0


def _gpu_node(plane: ControlPlane) -> Manifest:
    found = plane.kubectl("get", "gpunodes.joulery.dev", NODE, "--ignore-not-found", "-o=json").stdout
    document: Manifest = json.loads(found) if found else {}
    return document

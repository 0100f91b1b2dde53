"""The agent against a real API server, with the rights that the manifests give it and no others."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent_cases import LOW_MHZ, binding, directive
from fake_node import NODE, FakeNode
from joulery.api.convert_node import gpu_node_manifest
from joulery.emulator.cluster_access import Cluster, service_account_kubeconfig
from joulery.emulator.gpus import ClockLock

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEM = "joulery-system"
AGENT_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "agent-0", "namespace": SYSTEM},
    "spec": {
        "nodeName": NODE,
        "serviceAccountName": "joulery-agent",
        "containers": [{"name": "agent", "image": "x"}],
    },
}
K8S_NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
LEASE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "joulery", "namespace": SYSTEM},
    "spec": {"holderIdentity": "test", "renewTime": "2026-01-01T00:00:00.000000Z"},
}


def policy(**spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "joulery.dev/v1alpha1",
        "kind": "EnergyPolicy",
        "metadata": {"name": "default"},
        "spec": spec,
    }


class Administrator:
    """kubectl off the event loop, on which the fakes of the node live."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = await asyncio.to_thread(self.cluster.kubectl, *arguments, stdin=stdin)
        return done.stdout

    async def apply(self, *manifests: Mapping[str, Any]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        await self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    async def status(self) -> dict[str, Any]:
        found = await self.kubectl("get", "gpunode", NODE, "--ignore-not-found", "-o", "json")
        status: dict[str, Any] = json.loads(found).get("status", {}) if found else {}
        return status

    async def until_reason(self, reason: str, limit_s: float = 20.0) -> dict[str, Any]:
        """The first GPU's status entry once it shows a reason."""
        end_s = time.monotonic() + limit_s
        while True:
            gpus = (await self.status()).get("gpus") or [{}]
            if gpus[0].get("reason") == reason:
                found: dict[str, Any] = gpus[0]
                return found
            assert time.monotonic() < end_s, f"status never showed {reason}: {gpus[0]}"
            await asyncio.sleep(0.1)

    async def until_held(self, limit_s: float = 20.0) -> None:
        """Until the first GPU's status entry says since when load holds its clock up."""
        end_s = time.monotonic() + limit_s
        while "highestClockSinceTime" not in (gpu := (await self.status())["gpus"][0]):
            assert time.monotonic() < end_s, f"status never showed it held: {gpu}"
            await asyncio.sleep(0.1)


@pytest.fixture
async def administrator(cluster: Cluster, node: FakeNode) -> Administrator:
    """The cluster with CRDs, the agent's rights, and an agent pod whose token the agent will use."""
    admin = Administrator(cluster)
    crds = ("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))
    await admin.kubectl(*crds)
    names = ("gpunodes", "energypolicies")
    established = [f"crd/{name}.joulery.dev" for name in names]
    await admin.kubectl("wait", "--for=condition=Established", "--timeout=60s", *established)
    for file in ("namespace.yaml", "agent/rbac.yaml", "agent/own-node-policy.yaml"):
        await admin.kubectl("apply", "-f", str(REPOSITORY / "manifests" / file))
    await admin.apply(K8S_NODE, AGENT_POD)
    config = await asyncio.to_thread(
        service_account_kubeconfig, cluster, SYSTEM, "joulery-agent", bound_pod="agent-0"
    )
    node.settings["JOULERY_KUBECONFIG"] = str(config)
    return admin


async def test_agent_reports_clocks_and_stands_down_with_its_own_rights(
    administrator: Administrator, node: FakeNode
) -> None:
    engine = await node.add_engine()
    engine.load(500.0, 200.0)
    node.kubelet.pods["llm", "chat-0"] = node.gpus.uuids[:2]
    await node.start_agent()
    unbound = await administrator.until_reason("NoBinding")
    assert unbound["ownerPod"] == "chat-0", "a GPUNode of its own making, and whose pod holds the GPU"
    bound = gpu_node_manifest(directive(NODE, binding(port=engine.port)), None)
    await administrator.apply(LEASE, policy(maxMode="Act"), bound)
    await node.until(lambda: node.lock() == ClockLock(210, LOW_MHZ), "the table is followed")
    applied = await administrator.until_reason("ClockApplied")
    assert applied["powerMilliwatts"] == 400_000
    status = await administrator.status()
    assert (status["planId"], status["conditions"][0]["status"]) == ("p-1", "True")
    engine.load(9000.0, 9000.0)
    await administrator.until_held()
    cadence = {"clockEpochSeconds": 1, "leaseTimeoutSeconds": 2}
    await administrator.apply(policy(maxMode="Act", cadence=cadence))
    await node.until(lambda: node.lock() is None, "nobody renews the Lease")
    await administrator.until_reason("LeaseStale")
    assert await node.stop_agent() == 0
    farewell = (await administrator.status())["conditions"][0]
    assert (farewell["status"], farewell["reason"]) == ("False", "ClockReset")


async def test_agent_may_not_speak_for_another_node(administrator: Administrator, node: FakeNode) -> None:
    node.settings["JOULERY_NODE_NAME"] = "gpu-node-1"
    await node.start_agent()
    await node.until(lambda: "the node that its pod runs on" in node.log(), "refused, and said so")
    with pytest.raises(Exception, match="not found") as missing:
        await administrator.kubectl("get", "gpunode", "gpu-node-1")
    assert not isinstance(missing.value, subprocess.SubprocessError)

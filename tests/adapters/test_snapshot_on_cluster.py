"""The snapshot on a real API server, read with the controller's own rights and no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from controller_cluster import apply, bare_nodes, deployment, eventually, namespace, pool
from controller_stage import SYSTEM, install, remove_objects
from joulery.adapters.kube_client import KubeClient, connect
from joulery.adapters.kube_discovery import Discovery
from joulery.adapters.kube_fleet import KubeFleet
from joulery.adapters.kube_targets import TargetReader
from joulery.adapters.pod_watch import PodWatch
from joulery.domain import reasons
from joulery.domain.fleet import Fleet, NodeState, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.limits import Quota
from joulery.emulator.cluster_access import Cluster, service_account_kubeconfig

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

NAMESPACE = "true-snapshot"
CHAT = ObjectKey(NAMESPACE, "chat")
NODE = "emulated-gpu-0"
NODEPOOLS_CRD = "nodepools.karpenter.sh"


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    install(cluster)
    apply(cluster, namespace(NAMESPACE))
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    remove_objects(cluster)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settled(installed: Cluster) -> AsyncIterator[Cluster]:
    """Two nodes of 8 GPUs, and a pool with three ready replicas of 4."""
    workload = deployment(NAMESPACE, "chat-tp4", replicas=3)
    async with bare_nodes(installed.kubeconfig, 2):
        apply(installed, workload, pool(NAMESPACE, mode="Observe"))
        await eventually(lambda: _ready(installed) == 3)
        # Pods of an earlier module may still be ending on nodes of these names.
        await eventually(lambda: not _others(installed))
        yield installed


@pytest_asyncio.fixture(loop_scope="module")
async def client(settled: Cluster) -> AsyncIterator[KubeClient]:
    made = await connect(service_account_kubeconfig(settled, SYSTEM, "joulery-controller"))
    yield made
    await made.close()


@pytest.fixture
def reader(client: KubeClient) -> KubeFleet:
    return KubeFleet(client, TargetReader(client, Discovery(client)), PodWatch(client, wake=lambda: None))


def _ready(cluster: Cluster) -> int:
    found = cluster.kubectl("get", "deployment", "chat-tp4", f"-n={NAMESPACE}", "-o=json").stdout
    return int(json.loads(found).get("status", {}).get("readyReplicas", 0))


def _others(cluster: Cluster) -> list[str]:
    """Pods of other namespaces on our nodes, or still to be placed on one."""
    others = f"--field-selector=metadata.namespace!={NAMESPACE}"
    listed = cluster.kubectl("get", "pods", "--all-namespaces", others, "-o=json").stdout
    found = ((p["metadata"]["name"], p["spec"].get("nodeName")) for p in json.loads(listed)["items"])
    return [name for name, node in found if node in (None, NODE, "emulated-gpu-1")]


async def fleet(reader: KubeFleet) -> Fleet:
    return (await reader.read()).fleet


async def tp4(reader: KubeFleet) -> VariantState:
    return (await fleet(reader)).pool(CHAT).variant("tp4")


async def node(reader: KubeFleet) -> NodeState:
    return next(n for n in (await fleet(reader)).nodes if n.name == NODE)


def pods(cluster: Cluster) -> list[dict[str, Any]]:
    listed = cluster.kubectl("get", "pods", f"-n={NAMESPACE}", "-l=app=chat-tp4", "-o=json").stdout
    items: list[dict[str, Any]] = json.loads(listed)["items"]
    return items


async def test_controllers_rights_suffice_and_nothing_is_left_unread(reader: KubeFleet) -> None:
    seen = await fleet(reader)
    assert seen.unread == ()
    assert seen.provisioner is None
    assert sum(n.free_gpus for n in seen.nodes) == 4
    assert seen.pool(CHAT).variant("tp4").limits.keep is None


async def test_quota_is_seen_with_what_our_pods_use(settled: Cluster, reader: KubeFleet) -> None:
    settled.kubectl("create", "quota", "gpus", f"-n={NAMESPACE}", "--hard=requests.nvidia.com/gpu=16")
    try:
        used = "-o=jsonpath={.status.used}"
        await eventually(
            lambda: "12" in settled.kubectl("get", "quota", "gpus", f"-n={NAMESPACE}", used).stdout
        )
        assert (await fleet(reader)).quotas == (Quota(NAMESPACE, "gpus", 16, 12),)
    finally:
        settled.kubectl("delete", "quota", "gpus", f"-n={NAMESPACE}")


async def test_budget_is_seen_with_what_its_controller_allows(settled: Cluster, reader: KubeFleet) -> None:
    selector = "--selector=app=chat-tp4"
    settled.kubectl("create", "pdb", "keep", f"-n={NAMESPACE}", selector, "--min-available=2")
    try:
        allowed = "-o=jsonpath={.status.disruptionsAllowed}"
        await eventually(
            lambda: settled.kubectl("get", "pdb", "keep", f"-n={NAMESPACE}", allowed).stdout == "1"
        )
        (budget,) = (await tp4(reader)).limits.budgets
        assert (budget.name, budget.disruptions_allowed) == ("keep", 1)
        assert "minAvailable 2" in budget.rule
    finally:
        settled.kubectl("delete", "pdb", "keep", f"-n={NAMESPACE}")


async def test_tainted_node_is_closed_to_whom_does_not_tolerate_it(
    settled: Cluster, reader: KubeFleet
) -> None:
    settled.kubectl("taint", "node", NODE, "team=batch:NoSchedule")
    try:
        assert (await tp4(reader)).limits.barred == {NODE}
        assert (await node(reader)).schedulable
    finally:
        settled.kubectl("taint", "node", NODE, "team-")


async def test_cordoned_node_says_so_with_time_and_cure(settled: Cluster, reader: KubeFleet) -> None:
    settled.kubectl("cordon", NODE)
    try:
        found = await node(reader)
        assert not found.schedulable
        assert found.trouble is not None
        assert found.trouble.message.startswith(f"node {NODE} takes no new pods: it is cordoned")
        assert f"kubectl uncordon {NODE}" in found.trouble.message
    finally:
        settled.kubectl("uncordon", NODE)


async def test_node_counts_until_it_is_gone(settled: Cluster, reader: KubeFleet) -> None:
    finalizer = '{"metadata":{"finalizers":["karpenter.sh/termination"]}}'
    spare = json.loads(settled.kubectl("get", "node", NODE, "-o=json").stdout)
    spare["metadata"] = {"name": "leaving", "labels": spare["metadata"]["labels"]}
    apply(settled, {"apiVersion": "v1", "kind": "Node", "metadata": spare["metadata"]})
    settled.kubectl(
        "patch",
        "node",
        "leaving",
        "--subresource=status",
        f"--patch={json.dumps({'status': spare['status']})}",
    )
    settled.kubectl("patch", "node", "leaving", "--type=merge", f"--patch={finalizer}")
    settled.kubectl("delete", "node", "leaving", "--wait=false")
    leaving = next(n for n in (await fleet(reader)).nodes if n.name == "leaving")
    assert (leaving.gpus, leaving.schedulable) == (8, False)
    assert leaving.trouble is not None
    assert "its GPUs count until it is gone" in leaving.trouble.message
    settled.kubectl("patch", "node", "leaving", "--type=merge", '--patch={"metadata":{"finalizers":null}}')
    assert "leaving" not in {n.name for n in (await fleet(reader)).nodes}


async def test_terminating_pod_holds_its_gpus_and_an_evicted_one_keeps_the_others(
    settled: Cluster, reader: KubeFleet
) -> None:
    name = pods(settled)[0]["metadata"]["name"]
    hold = '{"metadata":{"finalizers":["test.joulery.dev/hold"]}}'
    settled.kubectl("patch", "pod", name, f"-n={NAMESPACE}", "--type=merge", f"--patch={hold}")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    settled.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    await eventually(lambda: len(pods(settled)) == 4)
    try:
        state = await tp4(reader)
        assert name in state.limits.leaving
        assert state.limits.keep is not None
        assert state.limits.keep.reason == reasons.PODS_DISRUPTED
        assert "EvictionByEvictionAPI since" in state.limits.keep.message
        assert sum(n.free_gpus for n in (await fleet(reader)).nodes) == 0
    finally:
        free = '--patch={"metadata":{"finalizers":null}}'
        settled.kubectl("patch", "pod", name, f"-n={NAMESPACE}", "--type=merge", free)
    await eventually(lambda: len(pods(settled)) == 3 and _ready(settled) == 3)
    assert (await tp4(reader)).limits.keep is None


async def test_replica_held_at_its_highest_clock_is_seen_with_its_time(
    settled: Cluster, reader: KubeFleet
) -> None:
    """The agent's clock is an hour behind ours, and that does not matter."""
    held, free = (p["metadata"]["name"] for p in pods(settled)[:2])
    gpus = [
        {"index": 0, "ownerPod": held, "highestClockSinceTime": "2026-01-01T10:00:00.250Z"},
        {"index": 1, "ownerPod": free},
    ]
    plain = {"productName": "NVIDIA H100 80GB HBM3", "ownerNamespace": NAMESPACE}
    status = {
        "reportTime": "2026-01-01T10:01:15.250Z",
        "gpus": [{"uuid": f"GPU-{gpu['index']}", **plain, **gpu} for gpu in gpus],
    }
    apply(
        settled,
        {"apiVersion": "joulery.dev/v1alpha1", "kind": "GPUNode", "metadata": {"name": NODE}, "spec": {}},
    )
    told = f"--patch={json.dumps({'status': status})}"
    settled.kubectl("patch", "gpunode", NODE, "--subresource=status", "--type=merge", told)
    try:
        seen = await fleet(reader)
        by_name = {r.name: r.highest_since_s for r in seen.pool(CHAT).variant("tp4").replicas}
        since_s = by_name.pop(held)
        assert since_s is not None
        assert seen.observed_at_s - since_s == pytest.approx(75.0, abs=0.5)
        assert set(by_name.values()) == {None}
    finally:
        settled.kubectl("delete", "gpunode", NODE)


async def test_karpenter_is_named_with_what_it_may_add(settled: Cluster, client: KubeClient) -> None:
    apply(settled, _nodepools_crd())
    settled.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", NODEPOOLS_CRD)
    try:
        limits = {"limits": {"nvidia.com/gpu": "64"}}
        found = {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": "gpu"},
            "spec": limits,
        }
        apply(settled, found)
        for _ in range(50):  # a kind just installed is served from its cache within a second or so
            seen = await fleet(
                KubeFleet(client, TargetReader(client, Discovery(client)), PodWatch(client, lambda: None))
            )
            if seen.provisioner is not None and seen.provisioner.more_gpus is not None:
                break
            await asyncio.sleep(0.1)
        assert seen.unread == ()
        assert seen.provisioner is not None
        assert (seen.provisioner.name, seen.provisioner.more_gpus) == ("Karpenter", 64)
        (note,) = seen.pool(CHAT).variant("tp4").limits.notes
        assert "karpenter.sh/do-not-disrupt" in note.message
    finally:
        settled.kubectl("delete", "crd", NODEPOOLS_CRD)


async def test_cluster_autoscaler_is_named_by_its_status(settled: Cluster, reader: KubeFleet) -> None:
    made = ("configmap", "cluster-autoscaler-status", "-n=kube-system")
    settled.kubectl("create", *made, "--from-literal=status=healthy")
    try:
        provisioner = (await fleet(reader)).provisioner
        assert provisioner is not None
        assert provisioner.name == "cluster-autoscaler"
    finally:
        settled.kubectl("delete", *made)


async def test_missing_right_is_a_note_and_no_failure(settled: Cluster, reader: KubeFleet) -> None:
    role = json.loads(settled.kubectl("get", "clusterrole", "joulery-controller", "-o=json").stdout)
    rules = role["rules"]
    _grant(settled, [r for r in rules if "poddisruptionbudgets" not in r["resources"]])
    try:
        seen: Fleet = await fleet(reader)
        for _ in range(50):  # a revoked right reaches the authorizer within a second
            if seen.unread:
                break
            seen = await fleet(reader)
        (note,) = seen.unread
        assert note.reason == reasons.NOT_READ
        assert "PodDisruptionBudgets" in note.message
        assert seen.pool(CHAT).variant("tp4").ready == 3
    finally:
        _grant(settled, rules)


def _grant(cluster: Cluster, rules: list[Any]) -> None:
    patch = json.dumps([{"op": "replace", "path": "/rules", "value": rules}])
    cluster.kubectl("patch", "clusterrole", "joulery-controller", "--type=json", f"--patch={patch}")


def _nodepools_crd() -> dict[str, Any]:
    """As much of Karpenter's CRD as we read."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "nodepools", "singular": "nodepool", "kind": "NodePool", "listKind": "NodePoolList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NODEPOOLS_CRD},
        "spec": {"group": "karpenter.sh", "names": names, "scope": "Cluster", "versions": [version]},
    }

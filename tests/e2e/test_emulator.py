"""Emulated nodes and engines on the real control plane: pods live and die as Kubernetes says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from cluster import external_or_embedded
from cut_line import CutLine
from emulated import engine_deployment, eventually, fetch, pool_truth
from joulery.agent.pod_resources import PodResources
from joulery.emulator.apiserver import STRATEGIC_PATCH, ApiServer, NotFoundError
from joulery.emulator.cluster_access import Cluster
from joulery.emulator.nodes import EMULATED_LABEL, node_manifest
from joulery.emulator.nvml_shim.build import build_shim
from joulery.emulator.podresources import SERVICE, message_types
from joulery.emulator.world import EmulatedWorld, WorldConfig
from joulery.errors import ConfigError

pytestmark = pytest.mark.e2e

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
POOL = "default/chat"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with external_or_embedded(tmp_path_factory.mktemp("emulated")) as found:
        yield found


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[ApiServer]:
    async with await ApiServer.connect(cluster.kubeconfig) as server:
        yield server


@pytest.fixture
async def world(cluster: Cluster, tmp_path: Path, api: ApiServer) -> AsyncIterator[EmulatedWorld]:
    reports: list[str] = []
    async with EmulatedWorld(world_config(cluster, tmp_path), report=reports.append) as running:
        yield running
        await remove_deployments(api)


def world_config(cluster: Cluster, folder: Path, nodes: int = 2) -> WorldConfig:
    return WorldConfig(kubeconfig=cluster.kubeconfig, data=folder / "w", pools=(pool_truth(),), nodes=nodes)


async def remove_deployments(api: ApiServer) -> None:
    for deployment in (await api.get(DEPLOYMENTS))["items"]:
        await api.delete(f"{DEPLOYMENTS}/{deployment['metadata']['name']}")
    for pod in (await api.get(PODS))["items"]:
        await api.delete(f"{PODS}/{pod['metadata']['name']}", grace_s=0)

    async def gone() -> bool:
        return not (await api.get(PODS))["items"]

    await eventually(gone, "no pods left")


async def ready_pods(api: ApiServer, wanted: int) -> list[dict[str, Any]]:
    async def enough() -> list[dict[str, Any]]:
        pods: list[dict[str, Any]] = (await api.get(PODS))["items"]
        ready = [pod for pod in pods if is_ready(pod)]
        return ready if len(ready) == wanted == len(pods) else []

    return list(await eventually(enough, f"{wanted} ready pods and no other"))


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True"


async def scale(api: ApiServer, name: str, replicas: int) -> None:
    await api.patch(f"{DEPLOYMENTS}/{name}", {"spec": {"replicas": replicas}})


async def listed_gpus(world: EmulatedWorld, node: str) -> dict[str, list[str]]:
    types = message_types()
    async with grpc.aio.insecure_channel(f"unix://{world.pod_resources_socket(node).resolve()}") as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/List",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=types["ListPodResourcesResponse"].FromString,
        )
        answer = await call(types["ListPodResourcesRequest"](), timeout=5)
    return {
        pod.name: [
            device for container in pod.containers for held in container.devices for device in held.device_ids
        ]
        for pod in answer.pod_resources
    }


def lock_clocks(state: Path, uuids: tuple[str, ...], highest_mhz: int) -> list[int]:
    """Lock GPUs as an agent would, in a process that loads our NVML; the SM clocks half a second later."""
    program = """
import sys, time, pynvml as nvml
nvml.nvmlInit()
gpus = [nvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in sys.argv[2:]]
for gpu in gpus:
    nvml.nvmlDeviceSetGpuLockedClocks(gpu, 210, int(sys.argv[1]))
time.sleep(0.5)
print(*(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM) for gpu in gpus))
"""
    environment = {**os.environ, "JOULERY_NVML_STATE": str(state), "LD_LIBRARY_PATH": str(build_shim())}
    command = [sys.executable, "-c", program, str(highest_mhz), *uuids]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


def steady_requests(world: EmulatedWorld, count: int, outputs: int) -> None:
    start_s = world.now_s + 0.2
    arrivals = start_s + np.arange(count) * 0.01
    world.submit_schedule(POOL, arrivals, np.full(count, 200), np.full(count, outputs))


async def test_pods_become_ready_after_their_startup_time_and_answer_at_their_own_address(
    world: EmulatedWorld, api: ApiServer
) -> None:
    before_s = world.now_s
    await api.create(DEPLOYMENTS, engine_deployment("chat-tp4", replicas=3, gpus=4, startup_s=2.0))

    async def running() -> list[dict[str, Any]]:
        pods = (await api.get(PODS))["items"]
        return [pod for pod in pods if pod["status"].get("phase") == "Running"]

    loading = await eventually(running, "a running pod")
    assert not any(is_ready(pod) for pod in loading)
    pods = await ready_pods(api, 3)
    assert 1.8 <= world.now_s - before_s <= 10.0
    reasons = [c.get("reason") for pod in pods for c in pod["status"]["conditions"]]
    assert "ContainersNotReady" not in reasons
    addresses = {pod["status"]["podIP"] for pod in pods}
    assert len(addresses) == 3
    for address in addresses:
        status, page = await fetch(address, 8000)
        assert status == 200
        assert 'vllm:num_requests_running{engine="0",model_name="llama-3.1-70b"} 0.0' in page


async def test_a_pod_that_others_call_not_ready_is_ready_again(world: EmulatedWorld, api: ApiServer) -> None:
    """As the node controller does with the pods of a node that was away."""
    await api.create(DEPLOYMENTS, engine_deployment("chat-tp4", replicas=1, gpus=4, startup_s=0.1))
    (pod,) = await ready_pods(api, 1)
    denied = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    path = f"{PODS}/{pod['metadata']['name']}/status"
    answer = await api.patch(path, denied, STRATEGIC_PATCH)
    assert not is_ready(answer)
    (again,) = await ready_pods(api, 1)
    assert again["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_pod_resources_lists_the_uuids_each_pod_holds_and_no_gpu_twice(
    world: EmulatedWorld, api: ApiServer
) -> None:
    await api.create(DEPLOYMENTS, engine_deployment("chat-tp4", replicas=3, gpus=4, startup_s=0.1))
    pods = await ready_pods(api, 3)
    for node in world.nodes:
        listed = await listed_gpus(world, node.name)
        here = {pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == node.name}
        devices = [device for uuids in listed.values() for device in uuids]
        assert set(listed) == here
        assert all(len(uuids) == 4 for uuids in listed.values())
        assert len(devices) == len(set(devices))
        assert set(devices) <= set(node.gpu_uuids)


async def test_the_pod_with_the_lowest_deletion_cost_goes_first(world: EmulatedWorld, api: ApiServer) -> None:
    await api.create(DEPLOYMENTS, engine_deployment("chat-tp2", replicas=4, gpus=2, startup_s=0.1))
    pods = await ready_pods(api, 4)
    victim = pods[2]["metadata"]["name"]
    cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-100"}}}
    await api.patch(f"{PODS}/{victim}", cost)
    await scale(api, "chat-tp2", 3)
    left = await ready_pods(api, 3)
    assert victim not in {pod["metadata"]["name"] for pod in left}


async def test_a_deleted_pod_finishes_its_running_requests_before_it_goes(
    world: EmulatedWorld, api: ApiServer
) -> None:
    await api.create(DEPLOYMENTS, engine_deployment("chat-tp4", replicas=2, gpus=4, startup_s=0.1))
    await ready_pods(api, 2)
    steady_requests(world, count=20, outputs=150)
    await world.run_until(world.now_s + 1.0)
    await scale(api, "chat-tp4", 1)
    await ready_pods(api, 1)
    await world.run_until(world.now_s + 5.0)
    requests = world.outcomes().pools[POOL].requests
    assert requests.finished == 20
    assert (requests.retried, requests.failed) == (0, 0)


async def test_a_pod_killed_at_the_end_of_its_grace_period_loses_its_requests_to_another_pod(
    world: EmulatedWorld, api: ApiServer
) -> None:
    await api.create(DEPLOYMENTS, engine_deployment("chat-tp4", replicas=2, gpus=4, startup_s=0.1, grace_s=1))
    await ready_pods(api, 2)
    steady_requests(world, count=10, outputs=400)
    await world.run_until(world.now_s + 0.6)
    await scale(api, "chat-tp4", 1)
    await ready_pods(api, 1)
    assert world.outcomes().pools[POOL].requests.retried == 5


async def test_an_engine_without_a_drain_loses_its_requests_within_any_grace_period(
    world: EmulatedWorld, api: ApiServer
) -> None:
    manifest = engine_deployment("chat-tp4", replicas=2, gpus=4, startup_s=0.1, grace_s=60)
    del manifest["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
    await api.create(DEPLOYMENTS, manifest)
    await ready_pods(api, 2)
    steady_requests(world, count=10, outputs=400)
    await world.run_until(world.now_s + 0.6)
    await scale(api, "chat-tp4", 1)
    await ready_pods(api, 1)
    assert world.outcomes().pools[POOL].requests.retried == 5


async def test_a_clock_locked_through_the_driver_library_reaches_the_pods_engine(
    world: EmulatedWorld, api: ApiServer
) -> None:
    await api.create(DEPLOYMENTS, engine_deployment("chat-tp4", replicas=1, gpus=4, startup_s=0.1))
    node = (await ready_pods(api, 1))[0]["spec"]["nodeName"]
    client = PodResources(world.pod_resources_socket(node), 5.0)
    (held,) = await client.list()
    await client.close()
    assert len(held.device_ids) == 4
    shown_mhz = await asyncio.to_thread(lock_clocks, world.nvml_state(node), held.device_ids, 990)
    assert shown_mhz == [990] * 4
    (instance,) = world.engines.instances(world.engines.accounts[POOL])
    assert instance.clock_mhz == 990


async def test_pods_deleted_and_recreated_behind_a_cut_line_are_found_again(
    cluster: Cluster, tmp_path: Path, api: ApiServer
) -> None:
    async with CutLine(cluster.kubeconfig, tmp_path) as line:
        config = replace(world_config(cluster, tmp_path), kubeconfig=line.kubeconfig)
        async with EmulatedWorld(config, report=lambda _: None) as world:
            await api.create(DEPLOYMENTS, engine_deployment("chat-tp4", replicas=2, gpus=4, startup_s=0.1))
            old = {pod["metadata"]["name"] for pod in await ready_pods(api, 2)}
            line.cut()
            for name in old:
                await api.delete(f"{PODS}/{name}", grace_s=0)

            async def replaced() -> bool:
                names = {pod["metadata"]["name"] for pod in (await api.get(PODS))["items"]}
                return len(names) == 2 and not names & old

            await eventually(replaced, "both pods recreated by their ReplicaSet")
            line.heal()
            assert {pod["metadata"]["name"] for pod in await ready_pods(api, 2)}.isdisjoint(old)
            held = [name for node in world.nodes for name in await listed_gpus(world, node.name)]
            assert old.isdisjoint(held)
            await remove_deployments(api)


async def test_a_pod_whose_arguments_do_not_fit_its_gpus_never_becomes_ready_and_says_why(
    world: EmulatedWorld, api: ApiServer
) -> None:
    manifest = engine_deployment("broken", replicas=1, gpus=2, startup_s=0.1)
    manifest["spec"]["template"]["spec"]["containers"][0]["args"][2] = "--tensor-parallel-size=4"
    await api.create(DEPLOYMENTS, manifest)

    async def complaint() -> str:
        for pod in (await api.get(PODS))["items"]:
            for state in pod["status"].get("containerStatuses", []):
                return str(state["state"].get("waiting", {}).get("message", ""))
        return ""

    assert "--tensor-parallel-size is 4, but the pod has 2 GPUs" in await eventually(complaint, "a message")


async def test_the_lease_of_a_node_made_anew_belongs_to_it(world: EmulatedWorld, api: ApiServer) -> None:
    """One of the node before would be collected as garbage, and the node be called not ready."""
    node = world.nodes[1]
    labels = (await api.get(node.path))["metadata"]["labels"]
    await api.delete(node.path)
    await api.delete(f"{LEASES}/{node.name}")
    fresh = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": labels}}
    uid = (await api.create("/api/v1/nodes", fresh))["metadata"]["uid"]

    async def owned() -> bool:
        leases = (await api.get(LEASES))["items"]
        owners = [o["uid"] for x in leases for o in x["metadata"].get("ownerReferences", ())]
        return uid in owners

    await eventually(owned, "a lease of the new node")


async def test_a_world_leaves_nothing_of_its_own_behind_and_foreign_nodes_alone(
    cluster: Cluster, api: ApiServer, tmp_path: Path
) -> None:
    foreign = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "foreign"}}
    await api.create("/api/v1/nodes", foreign)
    try:
        async with EmulatedWorld(world_config(cluster, tmp_path), report=lambda _: None) as world:
            sockets = [world.pod_resources_socket(node.name) for node in world.nodes]
            assert all(socket.exists() for socket in sockets)
        nodes = {node["metadata"]["name"] for node in (await api.get("/api/v1/nodes"))["items"]}
        assert nodes == {"foreign"}
        assert not any(socket.exists() for socket in sockets)
        for node in world.nodes:
            with pytest.raises(NotFoundError):
                await api.get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node.name}")
    finally:
        await api.delete("/api/v1/nodes/foreign")


async def test_a_node_of_that_name_that_is_not_emulated_is_refused(
    cluster: Cluster, api: ApiServer, tmp_path: Path
) -> None:
    world = EmulatedWorld(world_config(cluster, tmp_path, nodes=1), report=lambda _: None)
    manifest = node_manifest(world.nodes[0])
    del manifest["metadata"]["labels"][EMULATED_LABEL]
    await api.create("/api/v1/nodes", manifest)
    try:
        with pytest.raises(ConfigError, match="exists and is not emulated"):
            await world.__aenter__()
        assert (await api.get(world.nodes[0].path))["metadata"]["name"] == world.nodes[0].name
    finally:
        await api.delete(world.nodes[0].path)

"""The PodResources socket as a node agent calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from joulery.emulator.podresources import SERVICE, HeldGpus, PodResourcesServer, message_types
from joulery.errors import ConfigError

TYPES = message_types()
HELD = [HeldGpus("llm", "a", "vllm", ("GPU-1", "GPU-2")), HeldGpus("kube-system", "plain", "c", ())]


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    server = PodResourcesServer(tmp_path / "s.sock", ("GPU-1", "GPU-2", "GPU-3"), lambda: HELD)
    await server.start()
    async with grpc.aio.insecure_channel(f"unix://{tmp_path}/s.sock") as opened:
        yield opened
    await server.stop()
    assert not (tmp_path / "s.sock").exists()


async def call(channel: grpc.aio.Channel, method: str, request: str, response: str, **fields: str) -> Any:
    remote = channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=TYPES[response].FromString,
    )
    return await remote(TYPES[request](**fields), timeout=5)


async def test_list_names_pods_with_and_without_devices(channel: grpc.aio.Channel) -> None:
    answer = await call(channel, "List", "ListPodResourcesRequest", "ListPodResourcesResponse")
    seen = {
        (pod.namespace, pod.name): [list(d.device_ids) for c in pod.containers for d in c.devices]
        for pod in answer.pod_resources
    }
    assert seen == {("llm", "a"): [["GPU-1", "GPU-2"]], ("kube-system", "plain"): []}


async def test_get_answers_for_one_pod_and_knows_no_stranger(channel: grpc.aio.Channel) -> None:
    names = ("Get", "GetPodResourcesRequest", "GetPodResourcesResponse")
    answer = await call(channel, *names, pod_name="a", pod_namespace="llm")
    assert answer.pod_resources.containers[0].devices[0].resource_name == "nvidia.com/gpu"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(channel, *names, pod_name="a", pod_namespace="other")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_allocatable_lists_all_gpus_of_the_node(channel: grpc.aio.Channel) -> None:
    names = ("GetAllocatableResources", "AllocatableResourcesRequest", "AllocatableResourcesResponse")
    answer = await call(channel, *names)
    assert list(answer.devices[0].device_ids) == ["GPU-1", "GPU-2", "GPU-3"]


def test_a_socket_path_that_linux_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="longer than 107 bytes"):
        PodResourcesServer(Path("/tmp") / ("x" * 120), (), list)

"""Which pod holds which devices, as the kubelet's PodResources socket tells."""

from __future__ import annotations

from pathlib import Path

import grpc.aio

from joulery.agent.bindings import PodDevices
from joulery.agent.podresources_pb2 import ListRequest, ListResponse, PodEntry
from joulery.errors import UnavailableError

GPU_RESOURCE = "nvidia.com/gpu"
_LIST = "/v1.PodResourcesLister/List"
# Replicas of one GPU are sold under this name when the device plugin renames shared GPUs.
_SHARED_RESOURCE = GPU_RESOURCE + ".shared"
# The kubelet answers with every pod of the node; large ones with CPU pinning reach gRPC's own limit of 4 MB.
_MAX_ANSWER_BYTES = 16 * 2**20
_MIN_RETRY_MS = 200
_MAX_RETRY_MS = 2000


class PodResources:
    """The kubelet's socket; one channel for the life of the agent, which reconnects by itself."""

    def __init__(self, socket: Path, limit_s: float) -> None:
        self._socket = socket
        self._limit_s = limit_s
        self._channel = grpc.aio.insecure_channel(
            f"unix://{socket}",
            options=[
                ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
                ("grpc.initial_reconnect_backoff_ms", _MIN_RETRY_MS),
                ("grpc.min_reconnect_backoff_ms", _MIN_RETRY_MS),
                ("grpc.max_reconnect_backoff_ms", _MAX_RETRY_MS),
                # The socket is local; a proxy from the environment must not be asked about it.
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._list = self._channel.unary_unary(
            _LIST,
            request_serializer=ListRequest.SerializeToString,
            response_deserializer=ListResponse.FromString,
        )

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(grace=None)

    async def list(self) -> tuple[PodDevices, ...]:
        """All pods of the node that hold GPUs. Raises UnavailableError."""
        try:
            answer: ListResponse = await self._list(ListRequest(), timeout=self._limit_s)
        except grpc.aio.AioRpcError as error:
            raise UnavailableError(
                f"kubelet's PodResources at {self._socket}: {error.code().name}: {error.details()}; "
                "mount the folder /var/lib/kubelet/pod-resources, not the socket"
            ) from error
        pods = (PodDevices(p.namespace, p.name, _gpu_ids(p)) for p in answer.pods)
        return tuple(pod for pod in pods if pod.device_ids)


def _gpu_ids(pod: PodEntry) -> tuple[str, ...]:
    return tuple(
        device_id
        for container in pod.containers
        for device in container.devices
        if device.resource_name in (GPU_RESOURCE, _SHARED_RESOURCE)
        for device_id in device.device_ids
    )

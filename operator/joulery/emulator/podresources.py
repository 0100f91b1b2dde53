"""The kubelet's PodResources API of an emulated node: which pod holds which GPUs, over gRPC.

The messages are declared here with the field numbers of `k8s.io/kubelet/pkg/apis/podresources/v1/api.proto`,
in a descriptor pool of their own: generated stubs of the same package would collide in the default pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from joulery.emulator.nodes import GPU_RESOURCE
from joulery.errors import ConfigError

SERVICE = "v1.PodResourcesLister"
# sun_path of Linux holds 108 bytes with the closing zero.
_LONGEST_SOCKET_PATH = 107

_Field = descriptor_pb2.FieldDescriptorProto
_STRING, _MESSAGE = _Field.TYPE_STRING, _Field.TYPE_MESSAGE

# message -> (field, number, repeated, type; a name for a message's)
_MESSAGES: dict[str, tuple[tuple[str, int, bool, str | None], ...]] = {
    "ListPodResourcesRequest": (),
    "ListPodResourcesResponse": (("pod_resources", 1, True, "PodResources"),),
    "GetPodResourcesRequest": (("pod_name", 1, False, None), ("pod_namespace", 2, False, None)),
    "GetPodResourcesResponse": (("pod_resources", 1, False, "PodResources"),),
    "AllocatableResourcesRequest": (),
    "AllocatableResourcesResponse": (("devices", 1, True, "ContainerDevices"),),
    "PodResources": (
        ("name", 1, False, None),
        ("namespace", 2, False, None),
        ("containers", 3, True, "ContainerResources"),
    ),
    "ContainerResources": (("name", 1, False, None), ("devices", 2, True, "ContainerDevices")),
    "ContainerDevices": (("resource_name", 1, False, None), ("device_ids", 2, True, None)),
}


@dataclass(frozen=True, slots=True)
class HeldGpus:
    """One running pod's devices."""

    namespace: str
    pod: str
    container: str
    gpu_uuids: tuple[str, ...]


def message_types() -> dict[str, Any]:
    """Message classes by name, in a fresh descriptor pool."""
    file = descriptor_pb2.FileDescriptorProto(name="podresources.proto", package="v1", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, repeated, kind in fields:
            message.field.add(
                name=field,
                number=number,
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                type=_STRING if kind is None else _MESSAGE,
                type_name=None if kind is None else f".v1.{kind}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"v1.{name}")) for name in _MESSAGES
    }


class PodResourcesServer:
    """Serves one node's allocations at `socket`; `held` is asked at every call."""

    def __init__(
        self, socket: Path, gpu_uuids: Sequence[str], held: Callable[[], Iterable[HeldGpus]]
    ) -> None:
        if len(str(socket)) > _LONGEST_SOCKET_PATH:
            raise ConfigError(
                f"socket path {socket} is longer than {_LONGEST_SOCKET_PATH} bytes; use a shorter data folder"
            )
        self.socket = socket
        self._gpu_uuids = tuple(gpu_uuids)
        self._held = held
        self._types = message_types()
        self._server = grpc.aio.server()

    async def start(self) -> None:
        """Bind the socket, taking the place of one that an earlier run left."""
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        calls = {
            "List": ("ListPodResourcesRequest", self._list),
            "Get": ("GetPodResourcesRequest", self._get),
            "GetAllocatableResources": ("AllocatableResourcesRequest", self._allocatable),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                behaviour,
                request_deserializer=self._types[request].FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, (request, behaviour) in calls.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self._server.add_insecure_port(f"unix://{self.socket.resolve()}")
        await self._server.start()

    async def stop(self) -> None:
        """Close the socket and remove it."""
        await self._server.stop(grace=0.2)
        self.socket.unlink(missing_ok=True)

    def _pod(self, held: HeldGpus) -> Any:
        container = self._types["ContainerResources"](name=held.container)
        if held.gpu_uuids:
            container.devices.add(resource_name=GPU_RESOURCE, device_ids=held.gpu_uuids)
        return self._types["PodResources"](name=held.pod, namespace=held.namespace, containers=[container])

    async def _list(self, _request: Any, _context: Any) -> Any:
        pods = [self._pod(held) for held in self._held()]
        return self._types["ListPodResourcesResponse"](pod_resources=pods)

    async def _get(self, request: Any, context: Any) -> Any:
        wanted = (request.pod_namespace, request.pod_name)
        for held in self._held():
            if (held.namespace, held.pod) == wanted:
                return self._types["GetPodResourcesResponse"](pod_resources=self._pod(held))
        await context.abort(grpc.StatusCode.NOT_FOUND, f"pod {wanted[0]}/{wanted[1]} is not on this node")
        return None

    async def _allocatable(self, _request: Any, _context: Any) -> Any:
        answer = self._types["AllocatableResourcesResponse"]()
        answer.devices.add(resource_name=GPU_RESOURCE, device_ids=self._gpu_uuids)
        return answer

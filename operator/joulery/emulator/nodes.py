"""Emulated GPU nodes: their Node objects and the Leases that keep them Ready.

Only nodes labelled `joulery.dev/emulated: "true"` are ever adopted or deleted.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from joulery.emulator.apiserver import MERGE_PATCH, ApiServer, Json, NotFoundError, until_available
from joulery.emulator.gpus import gpu_uuid
from joulery.errors import ClusterError, ConfigError, ConflictError

EMULATED_LABEL = "joulery.dev/emulated"
GPU_RESOURCE = "nvidia.com/gpu"
DEFAULT_PRODUCT = "NVIDIA-H100-80GB-HBM3"
_GPU_MEMORY_MIB = {DEFAULT_PRODUCT: 81559}

# The kubelet's own settings: leases of 40 s renewed every 10 s.
LEASE_DURATION_S = 40
LEASE_RENEWAL_S = 10.0
_REGISTRATION_S = 30.0
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@dataclass(frozen=True, slots=True)
class EmulatedNode:
    """One node; `gpu_uuids` in index order are the device ids that PodResources and NVML report."""

    name: str
    product: str
    gpu_uuids: tuple[str, ...]

    @property
    def path(self) -> str:
        """API path of the Node."""
        return f"/api/v1/nodes/{self.name}"


def emulated_nodes(count: int, gpus: int, *, product: str = DEFAULT_PRODUCT) -> tuple[EmulatedNode, ...]:
    """Nodes `emulated-gpu-0..` with `gpus` GPUs each."""
    return tuple(
        EmulatedNode(name, product, tuple(gpu_uuid(name, index) for index in range(gpus)))
        for name in (f"emulated-gpu-{number}" for number in range(count))
    )


def utc_now(*, micro: bool = False) -> str:
    """Now in the API's spelling, with microseconds where a MicroTime is wanted."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def node_manifest(node: EmulatedNode) -> Json:
    """The Node as its kubelet registers it: labels of GPU feature discovery, capacity, Ready, no taints."""
    gpus = str(len(node.gpu_uuids))
    labels = {
        EMULATED_LABEL: "true",
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": node.product,
        "nvidia.com/gpu.count": gpus,
        "nvidia.com/gpu.memory": str(_GPU_MEMORY_MIB.get(node.product, 0)),
    }
    capacity = {"cpu": "192", "memory": "2Ti", "ephemeral-storage": "10Ti", "pods": "110", GPU_RESOURCE: gpus}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": _conditions(),
            "addresses": [{"type": "Hostname", "address": node.name}],
            "nodeInfo": _node_info(node.name),
        },
    }


def _conditions() -> list[Json]:
    now = utc_now()
    healthy = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    return [
        {
            "type": kind,
            "status": status,
            "reason": "EmulatedKubelet",
            "message": "emulated node of joulery",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        for kind, status in healthy.items()
    ]


def _node_info(name: str) -> Json:
    identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.emulated.joulery.dev"))
    return {
        "architecture": "amd64",
        "operatingSystem": "linux",
        "osImage": "emulated",
        "kernelVersion": "emulated",
        "kubeletVersion": "v1.36.2-emulated",
        "kubeProxyVersion": "",
        "containerRuntimeVersion": "emulated://1",
        "machineID": identity,
        "systemUUID": identity,
        "bootID": str(uuid.uuid4()),
    }


def lease_manifest(node: EmulatedNode, node_uid: str) -> Json:
    """The node's Lease, owned by the Node as a kubelet's is."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node_uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node.name, "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": node.name,
            "leaseDurationSeconds": LEASE_DURATION_S,
            "renewTime": utc_now(micro=True),
        },
    }


class NodeObjects:
    """Registers the nodes, renews their leases, and takes away what it registered."""

    def __init__(
        self, server: ApiServer, nodes: Sequence[EmulatedNode], report: Callable[[str], None]
    ) -> None:
        self._server = server
        self._nodes = {node.name: node for node in nodes}
        self._uids: dict[str, str] = {}
        self._report = report

    async def register(self) -> None:
        """Create every node with its lease, or adopt an emulated one that an earlier run left.

        Raises:
            ConfigError: a node of that name exists and is not emulated.
        """
        for node in self._nodes.values():
            self._uids[node.name] = await self._register(node)
            await self._renew(node)

    async def renew_for_ever(self) -> None:
        """Renew all leases every ten seconds; an API server that is away is tried again at the next round."""
        while True:
            await asyncio.sleep(LEASE_RENEWAL_S)
            # All at once: where the API server is slow, one after the other would outlast a lease.
            await asyncio.gather(*map(self._try_renewal, self._nodes.values()))

    async def remove(self) -> None:
        """Delete the nodes this object registered, and no other, with their leases."""
        await asyncio.gather(*(self._remove(name, uid) for name, uid in self._uids.items()))
        self._uids.clear()

    async def _remove(self, name: str, uid: str) -> None:
        try:
            await self._server.delete(f"{_LEASES}/{name}")
            await self._server.delete(self._nodes[name].path, uid=uid)
        except ClusterError as error:
            self._report(f"node {name} not deleted: {error}")

    async def _try_renewal(self, node: EmulatedNode) -> None:
        try:
            await self._renew(node)
        except ClusterError as error:
            self._report(f"lease of {node.name} not renewed: {error}")

    async def _register(self, node: EmulatedNode) -> str:
        manifest = node_manifest(node)
        try:
            created = await until_available(
                lambda: self._server.create("/api/v1/nodes", manifest), deadline_s=_REGISTRATION_S
            )
        except ConflictError:
            return await self._adopt(node, manifest)
        return str(created["metadata"]["uid"])

    async def _adopt(self, node: EmulatedNode, manifest: Json) -> str:
        found = await self._server.get(node.path)
        if found["metadata"].get("labels", {}).get(EMULATED_LABEL) != "true":
            raise ConfigError(
                f"node {node.name} exists and is not emulated (label {EMULATED_LABEL}); "
                "point the emulator at a cluster of its own"
            )
        await self._server.patch(node.path, {"metadata": {"labels": manifest["metadata"]["labels"]}})
        await self._server.patch(f"{node.path}/status", {"status": manifest["status"]})
        return str(found["metadata"]["uid"])

    async def _renew(self, node: EmulatedNode) -> None:
        lease = lease_manifest(node, self._uids[node.name])
        try:
            await self._server.patch(f"{_LEASES}/{node.name}", {"spec": lease["spec"]}, MERGE_PATCH)
        except NotFoundError:
            # A lease of a node that was deleted and made anew would be collected as garbage again and again.
            self._uids[node.name] = str((await self._server.get(node.path))["metadata"]["uid"])
            await self._server.create(_LEASES, lease_manifest(node, self._uids[node.name]))

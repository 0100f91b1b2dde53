"""A stage for tests of the controller process: one namespace with one pool, its workloads and its load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from controller_cluster import (
    REPOSITORY,
    apply,
    condition,
    deployment,
    namespace,
    policy,
    pool,
    profile,
    read,
)
from fake_prometheus import FakePrometheus, Load
from joulery.emulator.cluster_access import Cluster
from joulery.emulator.controlplane import ControlPlane

SYSTEM = "joulery-system"


def install_crds(cluster: Cluster) -> None:
    """Our CRDs, established."""
    cluster.kubectl("apply", "-k", str(REPOSITORY / "crds"), "--server-side", "--force-conflicts")
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")


def install(cluster: Cluster) -> None:
    """What `kubectl apply -k manifests/` installs, policy and profile; the controller runs as our process."""
    install_crds(cluster)
    cluster.kubectl("apply", "-k", str(REPOSITORY / "manifests"), "--server-side", "--force-conflicts")
    cluster.kubectl("scale", f"--namespace={SYSTEM}", "deployment/joulery-controller", "--replicas=0")
    apply(cluster, profile(), policy())


def remove_objects(cluster: Cluster) -> None:
    """Every object of our kinds."""
    cluster.kubectl("delete", "--all", "--all-namespaces", "--wait=false", "inferencepools.joulery.dev")
    cluster.kubectl("delete", "--all", "energypolicies,energyprofiles,gpunodes.joulery.dev")


class Stage:
    """One namespace with one pool and its load."""

    def __init__(self, cluster: Cluster, prometheus: FakePrometheus, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.load = Load({"namespace": name, "model_name": f"{name}-chat"}, requests_per_s=0.5)
        prometheus.loads.append(self.load)
        apply(cluster, namespace(name))

    def put(self, *, replicas: int = 1, sizes: tuple[int, ...] = (4,), **fields: Any) -> None:
        workloads = [deployment(self.name, f"chat-tp{s}", gpus=s, replicas=replicas) for s in sizes]
        apply(self.cluster, *workloads, pool(self.name, sizes=sizes, **fields))

    def pool(self) -> Mapping[str, Any]:
        return read(self.cluster, "inferencepools.joulery.dev", self.name, "chat")

    def replicas(self, size: int = 4) -> int:
        found = read(self.cluster, "deployment", self.name, f"chat-tp{size}")
        return int(found["spec"]["replicas"])

    def wanted(self) -> int:
        """Replicas that the plan in status asks for."""
        variants = self.pool().get("status", {}).get("variants", ())
        return sum(v.get("targetReplicas", 0) for v in variants)

    def stands(self, kind: str, status: str, *wanted: str) -> bool:
        found = condition(self.pool(), kind)
        return found.get("status") == status and (not wanted or found["reason"] in wanted)

    def message(self, kind: str) -> str:
        return str(condition(self.pool(), kind).get("message", ""))

    def scale_writes(self) -> list[Mapping[str, Any]]:
        if not isinstance(self.cluster, ControlPlane):
            pytest.skip("another cluster's audit log is not ours to read")
        return [event for event in self.cluster.audit_events() if self._is_write(event)]

    def _is_write(self, event: Mapping[str, Any]) -> bool:
        ref = event.get("objectRef", {})
        ours = ref.get("subresource") == "scale" and ref.get("namespace") == self.name
        return ours and event.get("responseStatus", {}).get("code") == 200

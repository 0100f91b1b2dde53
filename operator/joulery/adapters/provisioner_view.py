"""Karpenter and cluster-autoscaler, found by what they leave in the cluster.

Karpenter: NodePools (`karpenter.sh/v1`: `spec.limits`, `status.resources`) and the label `karpenter.sh/nodepool` on
its nodes. cluster-autoscaler: the ConfigMap `kube-system/cluster-autoscaler-status`; its limits are the cloud's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from joulery.adapters.pod_view import Manifest, condition, gpus_of, seconds_of
from joulery.adapters.workload_view import DO_NOT_DISRUPT, SAFE_TO_EVICT
from joulery.api.labels import GPU_RESOURCE
from joulery.domain import reasons
from joulery.domain.limits import Provisioner
from joulery.domain.verdict import Verdict

KARPENTER, CLUSTER_AUTOSCALER = "Karpenter", "cluster-autoscaler"
_NODEPOOL_LABEL = "karpenter.sh/nodepool"
# Both taint a node with NoSchedule before they empty it.
_DRAIN_TAINTS = ("karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler")


def provisioner_of(
    nodepools: Sequence[Manifest],
    autoscaler_status: Manifest | None,
    nodes: Sequence[Manifest],
    pods: Iterable[Manifest],
) -> Provisioner | None:
    """Who adds nodes, None where nobody was found; Karpenter is named first, since its limits can be read."""
    if nodepools or any(_NODEPOOL_LABEL in (n["metadata"].get("labels") or {}) for n in nodes):
        return Provisioner(KARPENTER, _more_gpus(nodepools), node_start_s(nodes, pods))
    if autoscaler_status is not None:
        return Provisioner(CLUSTER_AUTOSCALER, None, node_start_s(nodes, pods))
    return None


def _more_gpus(nodepools: Sequence[Manifest]) -> int | None:
    """GPUs that all pools may still add; None where one of them names no limit or none can be read."""
    rooms = [_room(pool) for pool in nodepools]
    known = [room for room in rooms if room is not None]
    return sum(known) if rooms and len(known) == len(rooms) else None


def _room(nodepool: Manifest) -> int | None:
    limit = (nodepool.get("spec", {}).get("limits") or {}).get(GPU_RESOURCE)
    if limit is None or not str(limit).isdigit():
        return None
    used = ((nodepool.get("status") or {}).get("resources") or {}).get(GPU_RESOURCE, 0)
    return max(0, int(limit) - int(used if str(used).isdigit() else 0))


def node_start_s(nodes: Iterable[Manifest], pods: Iterable[Manifest]) -> float | None:
    """The longest wait, among pods that live, of a GPU pod for a node younger than itself; None without any.

    From the pod's creation to its binding: instance start, boot, driver and device plugin, as users feel them.
    """
    born_s = {n["metadata"]["name"]: seconds_of(n["metadata"]["creationTimestamp"]) for n in nodes}
    waits = (
        _wait_s(pod, born_s.get(pod.get("spec", {}).get("nodeName") or "")) for pod in pods if gpus_of(pod)
    )
    return max((wait for wait in waits if wait is not None), default=None)


def _wait_s(pod: Manifest, node_born_s: float | None) -> float | None:
    scheduled = condition(pod, "PodScheduled")
    created_s = seconds_of(pod["metadata"]["creationTimestamp"])
    if node_born_s is None or node_born_s <= created_s or scheduled is None or scheduled["status"] != "True":
        return None
    return max(0.0, seconds_of(scheduled["lastTransitionTime"]) - created_s)


def drain_taint(node: Manifest) -> Manifest | None:
    """The taint by which an autoscaler announces that it empties a node, else None."""
    taints = node.get("spec", {}).get("taints") or ()
    return next((t for t in taints if t["key"] in _DRAIN_TAINTS), None)


def disruptable(template: Manifest, provisioner: Provisioner | None, where: str) -> Verdict | None:
    """A note where the provisioner may move a workload's pods to save nodes, and the annotation that forbids it."""
    if provisioner is None or not template:
        return None
    annotations = template.get("metadata", {}).get("annotations") or {}
    name, value = (DO_NOT_DISRUPT, "true") if provisioner.name == KARPENTER else (SAFE_TO_EVICT, "false")
    if annotations.get(name) == value:
        return None
    text = (
        f"{provisioner.name} adds and removes nodes here and may evict pods of {where} to save some; annotate its pod "
        f'template with {name}: "{value}" to keep engines from being restarted'
    )
    return Verdict(reasons.DISRUPTABLE, text)

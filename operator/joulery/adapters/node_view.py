"""Nodes as supplies of GPUs, and GPUNode status as measured watts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from joulery.adapters.pod_view import Manifest, condition, gpus_of, has_ended, is_true
from joulery.adapters.provisioner_view import drain_taint
from joulery.adapters.scheduling import cordoned_since
from joulery.api.labels import GPU_PRODUCT_LABEL, GPU_RESOURCE, accelerator_of_product
from joulery.domain import reasons
from joulery.domain.fleet import NodeState
from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import Verdict

# Conditions that keep pods away while they are True.
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def node_states(
    nodes: Iterable[Manifest],
    pods: Iterable[Manifest],
    gpu_nodes: Mapping[str, Manifest],
    reserved: Mapping[str, int] | None = None,
) -> tuple[NodeState, ...]:
    """Nodes with GPUs, by name. Free GPUs are those that no bound pod holds, whoever owns it, and none will take.

    Args:
        reserved: GPUs by node that foreign pods ahead of ours will take.
    """
    held = held_gpus(pods)
    taken = {name: held.get(name, 0) + (reserved or {}).get(name, 0) for name in {*held, *(reserved or {})}}
    states = (_state(node, taken, gpu_nodes) for node in nodes)
    return tuple(sorted((s for s in states if s is not None), key=lambda s: s.name))


def held_gpus(pods: Iterable[Manifest]) -> dict[str, int]:
    """GPUs by node that bound pods hold; terminating ones hold theirs until they are gone."""
    held: dict[str, int] = defaultdict(int)
    for pod in pods:
        node_name = pod.get("spec", {}).get("nodeName")
        if node_name and not has_ended(pod):
            held[node_name] += gpus_of(pod)
    return dict(held)


def allocatable_gpus(node: Manifest) -> int:
    """GPUs of a node that its kubelet offers; those that failed their health check are left out by it."""
    return int((node.get("status", {}).get("allocatable") or {}).get(GPU_RESOURCE, 0))


def _state(node: Manifest, taken: Mapping[str, int], gpu_nodes: Mapping[str, Manifest]) -> NodeState | None:
    name = node["metadata"]["name"]
    gpus = allocatable_gpus(node)
    if gpus == 0:
        return None
    product = (node["metadata"].get("labels") or {}).get(GPU_PRODUCT_LABEL, "")
    trouble = trouble_of(node)
    return NodeState(
        name=name,
        # An unknown product keeps its own name: it supplies nothing we plan for, and shows up as itself.
        accelerator=accelerator_of_product(product) or product,
        gpus=gpus,
        free_gpus=max(0, gpus - taken.get(name, 0)),
        schedulable=trouble is None,
        agent_ready=is_true(gpu_nodes.get(name, {}), "Ready"),
        trouble=trouble,
    )


def trouble_of(node: Manifest) -> Verdict | None:
    """Why a node takes no new pods of anybody's, since when, and the cure; None where it does.

    Taints that a pod may tolerate are no trouble of the node's: they bar variants, one by one.
    """
    name = node["metadata"]["name"]
    why = _leaving_text(node) or _sick_text(node) or _cordoned_text(node, name)
    return Verdict(reasons.NODE_UNAVAILABLE, f"node {name} takes no new pods: {why}") if why else None


def _leaving_text(node: Manifest) -> str:
    deleted = node["metadata"].get("deletionTimestamp")
    if deleted:
        return f"it is being deleted since {deleted}; its GPUs count until it is gone"
    taint = drain_taint(node)
    return (
        f"it is drained for removal (taint {taint['key']}){_since(taint.get('timeAdded'))}" if taint else ""
    )


def _sick_text(node: Manifest) -> str:
    ready = condition(node, "Ready")
    if ready is None or ready["status"] != "True":
        known = ready or {}
        why = f"{known.get('reason', 'no kubelet')}: {known.get('message', '')}"
        return (
            f"it is not Ready{_since(known.get('lastTransitionTime'))} ({why}); mend its kubelet or delete it"
        )
    for pressure in _PRESSURES:
        found = condition(node, pressure)
        if found is not None and found["status"] == "True":
            return f"{pressure}{_since(found.get('lastTransitionTime'))}: {found.get('message', '')}"
    return ""


def _cordoned_text(node: Manifest, name: str) -> str:
    if not node.get("spec", {}).get("unschedulable", False):
        return ""
    return f"it is cordoned{_since(cordoned_since(node))}; kubectl uncordon {name}"


def _since(time: str | None) -> str:
    return f" since {time}" if time else ""


def is_draining(node: Manifest) -> bool:
    """Whether the pods of a node will be evicted: it is being removed. A cordon alone evicts nobody."""
    return bool(_leaving_text(node))


def watts_by_pod(gpu_nodes: Iterable[Manifest]) -> dict[ObjectKey, float]:
    """Measured watts of all GPUs of each pod, where agents report an owner and its power."""
    watts: dict[ObjectKey, float] = defaultdict(float)
    for gpu_node in gpu_nodes:
        for gpu in gpu_node.get("status", {}).get("gpus") or ():
            if gpu.get("ownerPod") and gpu.get("powerMilliwatts") is not None:
                watts[ObjectKey(gpu["ownerNamespace"], gpu["ownerPod"])] += gpu["powerMilliwatts"] / 1000.0
    return dict(watts)

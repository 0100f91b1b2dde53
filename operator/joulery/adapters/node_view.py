"""Nodes as supplies of GPUs, and GPUNode status as measured watts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from joulery.adapters.pod_view import Manifest, gpus_of, has_ended, is_true
from joulery.api.labels import GPU_PRODUCT_LABEL, GPU_RESOURCE, accelerator_of_product
from joulery.domain.fleet import NodeState
from joulery.domain.keys import ObjectKey

_REPELLING = ("NoSchedule", "NoExecute")


def node_states(
    nodes: Iterable[Manifest], pods: Iterable[Manifest], gpu_nodes: Mapping[str, Manifest]
) -> tuple[NodeState, ...]:
    """Nodes with GPUs, by name. Free GPUs are those that no bound pod holds, whoever owns it."""
    held: dict[str, int] = defaultdict(int)
    for pod in pods:
        node_name = pod.get("spec", {}).get("nodeName")
        if node_name and not has_ended(pod):
            held[node_name] += gpus_of(pod)
    states = (_state(node, held, gpu_nodes) for node in nodes)
    return tuple(sorted((s for s in states if s is not None), key=lambda s: s.name))


def _state(node: Manifest, held: Mapping[str, int], gpu_nodes: Mapping[str, Manifest]) -> NodeState | None:
    name = node["metadata"]["name"]
    gpus = int((node.get("status", {}).get("allocatable") or {}).get(GPU_RESOURCE, 0))
    if gpus == 0:
        return None
    product = (node["metadata"].get("labels") or {}).get(GPU_PRODUCT_LABEL, "")
    return NodeState(
        name=name,
        # An unknown product keeps its own name: it supplies nothing we plan for, and shows up as itself.
        accelerator=accelerator_of_product(product) or product,
        gpus=gpus,
        free_gpus=max(0, gpus - held.get(name, 0)),
        schedulable=_schedulable(node),
        agent_ready=is_true(gpu_nodes.get(name, {}), "Ready"),
    )


def _schedulable(node: Manifest) -> bool:
    spec = node.get("spec", {})
    # Pods that ask for GPUs tolerate the taint of that name (ExtendedResourceToleration admission).
    repelled = any(t["effect"] in _REPELLING and t["key"] != GPU_RESOURCE for t in spec.get("taints") or ())
    return is_true(node, "Ready") and not spec.get("unschedulable", False) and not repelled


def watts_by_pod(gpu_nodes: Iterable[Manifest]) -> dict[ObjectKey, float]:
    """Measured watts of all GPUs of each pod, where agents report an owner and its power."""
    watts: dict[ObjectKey, float] = defaultdict(float)
    for gpu_node in gpu_nodes:
        for gpu in gpu_node.get("status", {}).get("gpus") or ():
            if gpu.get("ownerPod") and gpu.get("powerMilliwatts") is not None:
                watts[ObjectKey(gpu["ownerNamespace"], gpu["ownerPod"])] += gpu["powerMilliwatts"] / 1000.0
    return dict(watts)

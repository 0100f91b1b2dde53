"""Pods, nodes and workloads as the API server shows them, with valid defaults."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]
BORN = "2026-11-21T10:00:00Z"
LATER = "2026-11-21T10:05:00Z"


def node(name: str = "n0", *, gpus: int = 8, taints: tuple[Manifest, ...] = (), **fields: Any) -> Manifest:
    """A Ready H100 node; `labels`, `conditions`, `deleted`, `cordoned` and `born` by name."""
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", **fields.get("labels", {})}
    metadata = {"name": name, "uid": name, "labels": labels, "creationTimestamp": fields.get("born", BORN)}
    if "deleted" in fields:
        metadata["deletionTimestamp"] = fields["deleted"]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": BORN}
    return {
        "metadata": metadata,
        "spec": {"taints": list(taints), "unschedulable": fields.get("cordoned", False)},
        "status": {
            "allocatable": {"nvidia.com/gpu": str(gpus)},
            "conditions": fields.get("conditions", [ready]),
        },
    }


def condition(kind: str, status: str = "True", **fields: str) -> Manifest:
    return {"type": kind, "status": status, "lastTransitionTime": LATER, **fields}


def pod(name: str = "a", *, gpus: int = 4, node: str | None = None, **fields: Any) -> Manifest:
    """A pod of 4 GPUs without a node; `conditions`, `labels`, `deleted`, `phase`, `born` and spec fields by name."""
    metadata = {
        "name": name,
        "namespace": fields.pop("namespace", "llm"),
        "uid": f"uid-{name}",
        "creationTimestamp": fields.pop("born", BORN),
        "labels": fields.pop("labels", {}),
    }
    if "deleted" in fields:
        metadata["deletionTimestamp"] = fields.pop("deleted")
    status = {"phase": fields.pop("phase", "Pending"), "conditions": list(fields.pop("conditions", ()))}
    if "nominated" in fields:
        status["nominatedNodeName"] = fields.pop("nominated")
    containers = [{"name": "engine", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}]
    return {
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": containers, **fields},
        "status": status,
    }


def deployment(
    *, args: tuple[str, ...] = (), image: str = "vllm/vllm-openai:v0.11.0", **status: Any
) -> Manifest:
    """A settled Deployment whose pods take 4 GPUs."""
    container = {
        "name": "engine",
        "image": image,
        "args": list(args),
        "resources": {"limits": {"nvidia.com/gpu": "4"}},
    }
    return {
        "metadata": {"name": "chat-tp4", "generation": 2},
        "spec": {"replicas": 2, "template": {"metadata": {}, "spec": {"containers": [container]}}},
        "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, **status},
    }

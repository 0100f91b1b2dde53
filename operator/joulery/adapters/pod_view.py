"""Pods as replicas and as holders of GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from joulery.api.labels import DELETION_COST_ANNOTATION, GPU_RESOURCE
from joulery.domain.fleet import Replica, ReplicaPhase

Manifest = Mapping[str, Any]

_ENDED = ("Succeeded", "Failed")


def seconds_of(timestamp: str) -> float:
    """Seconds since the Unix epoch of a Kubernetes timestamp."""
    return datetime.fromisoformat(timestamp).timestamp()


def condition(manifest: Manifest, condition_type: str) -> Mapping[str, Any] | None:
    """The condition of that type, None where there is none."""
    conditions: Iterable[Mapping[str, Any]] = manifest.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == condition_type), None)


def is_true(manifest: Manifest, condition_type: str) -> bool:
    """Whether the condition of that type is True."""
    found = condition(manifest, condition_type)
    return found is not None and found["status"] == "True"


def has_ended(pod: Manifest) -> bool:
    """Whether a pod's containers have stopped for good: it serves nothing and holds no GPU."""
    return pod.get("status", {}).get("phase") in _ENDED


def phase_of(pod: Manifest) -> ReplicaPhase:
    """Where a pod is between wish and end."""
    if "deletionTimestamp" in pod["metadata"]:
        return ReplicaPhase.TERMINATING
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled["status"] == "False":
        return ReplicaPhase.UNSCHEDULED
    return ReplicaPhase.READY if is_true(pod, "Ready") else ReplicaPhase.STARTING


def replica_of(pod: Manifest) -> Replica:
    """A pod as a replica; a deletion cost that is no number counts as 0, as for the ReplicaSet controller."""
    metadata, status = pod["metadata"], pod.get("status", {})
    ready = condition(pod, "Ready")
    since = ready.get("lastTransitionTime") if ready is not None and ready["status"] == "True" else None
    return Replica(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=phase_of(pod),
        created_s=seconds_of(metadata["creationTimestamp"]),
        node=pod.get("spec", {}).get("nodeName"),
        address=status.get("podIP"),
        ready_since_s=seconds_of(since) if since else None,
        deletion_cost=_integer((metadata.get("annotations") or {}).get(DELETION_COST_ANNOTATION)),
        # The API server sets it to the time of the request plus the grace period.
        killed_at_s=seconds_of(metadata["deletionTimestamp"]) if "deletionTimestamp" in metadata else None,
    )


def gpus_of(pod: Manifest) -> int:
    """GPUs a pod holds: those of its containers together, or of its hungriest init container."""
    spec = pod.get("spec", {})
    running = sum(_gpus(c) for c in spec.get("containers", ()))
    return max([running, *(_gpus(c) for c in spec.get("initContainers") or ())])


def _gpus(container: Manifest) -> int:
    resources = container.get("resources") or {}
    amounts = (resources.get("requests") or {}) | (resources.get("limits") or {})
    return _integer(amounts.get(GPU_RESOURCE))


def _integer(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (`matchLabels`, `matchExpressions`) matches; an empty one matches nothing here.

    Kubernetes lets an empty selector match all pods, which for a workload could only be a mistake.
    """
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions: Iterable[Manifest] = selector.get("matchExpressions") or ()
    if not wanted and not expressions:
        return False
    return all(labels.get(k) == v for k, v in wanted.items()) and all(_holds(e, labels) for e in expressions)


def _holds(expression: Manifest, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None

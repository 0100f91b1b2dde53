"""Pods that wait for GPUs and are not ours: which nodes they will take, as the scheduler's queue has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from joulery.adapters.node_view import allocatable_gpus, held_gpus, trouble_of
from joulery.adapters.pod_view import Manifest, gpus_of, has_ended
from joulery.adapters.scheduling import allows


def reserved_gpus(
    nodes: Sequence[Manifest], pods: Sequence[Manifest], ours: frozenset[str], least_priority: int
) -> dict[str, int]:
    """GPUs by node that pending foreign pods will take before ours get any.

    The scheduler takes the pod of highest priority first, then the oldest. One that was nominated (others are
    preempted for it) takes its node; another the fullest node with room, so that most large gaps stay; one that fits
    nowhere takes nothing.

    Args:
        ours: uids of the pods that a plan decides on.
        least_priority: lowest priority of those; foreign pods below it come after ours.
    """
    held = held_gpus(pods)
    free = {n["metadata"]["name"]: allocatable_gpus(n) - held.get(n["metadata"]["name"], 0) for n in nodes}
    usable = [n for n in nodes if trouble_of(n) is None]
    reserved: dict[str, int] = {}
    for pod in _queue(pods, ours, least_priority):
        name = _place(pod, usable, free)
        if name is not None:
            free[name] -= gpus_of(pod)
            reserved[name] = reserved.get(name, 0) + gpus_of(pod)
    return reserved


def _queue(pods: Iterable[Manifest], ours: frozenset[str], least_priority: int) -> list[Manifest]:
    waiting = [
        p for p in pods if p["metadata"]["uid"] not in ours and _waits(p) and priority_of(p) >= least_priority
    ]
    return sorted(
        waiting, key=lambda p: (-priority_of(p), p["metadata"]["creationTimestamp"], p["metadata"]["uid"])
    )


def _waits(pod: Manifest) -> bool:
    """Whether a pod will be scheduled on GPUs: not bound, not ended, not going, not gated."""
    spec = pod.get("spec", {})
    gated = bool(spec.get("schedulingGates"))
    bound = bool(spec.get("nodeName"))
    return (
        not (bound or gated or has_ended(pod) or "deletionTimestamp" in pod["metadata"]) and gpus_of(pod) > 0
    )


def priority_of(pod: Manifest) -> int:
    """A pod's priority, which admission has resolved from its class."""
    return int(pod.get("spec", {}).get("priority") or 0)


def _place(pod: Manifest, nodes: Iterable[Manifest], free: Mapping[str, int]) -> str | None:
    nominated = pod.get("status", {}).get("nominatedNodeName")
    if nominated in free:
        return str(nominated)
    able = [n["metadata"]["name"] for n in nodes if allows(n, pod.get("spec", {}))]
    fitting = [name for name in able if free[name] >= gpus_of(pod)]
    return min(fitting, key=lambda name: (free[name], name), default=None)

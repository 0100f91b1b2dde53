"""What an emulated kubelet reads from a Pod, and the statuses it writes. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulery.api.termination import grace_s, waits_s
from joulery.domain.keys import ObjectKey
from joulery.emulator.nodes import GPU_RESOURCE, utc_now

STARTUP_ANNOTATION = "emulator.joulery.dev/startup-seconds"
WARMUP_ANNOTATION = "emulator.joulery.dev/warmup-requests"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodSpec:
    """The parts of a bound pod that decide how it runs; `arguments` are its GPU container's.

    `waits_s` is how long its preStop hook and its engine let running requests end; it answers its first
    `warmup_requests` more slowly than all others.
    """

    key: ObjectKey
    uid: str
    node: str
    gpus: int
    container: str
    containers: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...]
    labels: Mapping[str, str]
    startup_s: float
    grace_s: float
    waits_s: float = math.inf
    warmup_requests: int = 0

    @property
    def path(self) -> str:
        """API path of the pod."""
        return f"/api/v1/namespaces/{self.key.namespace}/pods/{self.key.name}"


def read_pod(manifest: Mapping[str, Any]) -> PodSpec:
    """A pod that has a node. An annotation that is no number counts as none (0)."""
    metadata, spec = manifest["metadata"], manifest["spec"]
    containers = spec["containers"]
    main = next((c for c in containers if _gpus(c) > 0), containers[0])
    return PodSpec(
        key=ObjectKey(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        node=spec["nodeName"],
        gpus=sum(_gpus(c) for c in containers),
        container=main["name"],
        containers=tuple((c["name"], c.get("image", "")) for c in containers),
        arguments=(*main.get("command", ()), *main.get("args", ())),
        labels=dict(metadata.get("labels", {})),
        startup_s=_number(metadata.get("annotations", {}).get(STARTUP_ANNOTATION)),
        grace_s=grace_s(spec),
        waits_s=waits_s(spec),
        warmup_requests=int(_number(metadata.get("annotations", {}).get(WARMUP_ANNOTATION))),
    )


def grace_left_s(manifest: Mapping[str, Any]) -> float | None:
    """Seconds a pod was given to end; None where it is not being deleted."""
    metadata = manifest["metadata"]
    if "deletionTimestamp" not in metadata:
        return None
    return float(metadata.get("deletionGracePeriodSeconds", 0))


def is_finished(manifest: Mapping[str, Any]) -> bool:
    """Whether the pod has ended and only its object is left."""
    return manifest.get("status", {}).get("phase") in ("Succeeded", "Failed")


def is_ready(manifest: Mapping[str, Any]) -> bool:
    """Whether the pod's status says that it serves."""
    conditions = manifest.get("status", {}).get("conditions", [])
    return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)


def _gpus(container: Mapping[str, Any]) -> int:
    resources = container.get("resources", {})
    limits = resources.get("limits") or resources.get("requests") or {}
    return int(limits.get(GPU_RESOURCE, 0))


def _number(text: str | None) -> float:
    try:
        return max(0.0, float(text)) if text else 0.0
    except ValueError:
        return 0.0


def running_status(pod: PodSpec, address: str, started: str, *, ready: bool) -> Json:
    """Status of a pod whose containers run, serving or still loading."""
    states = [_container_status(pod, name, image, started, ready=ready) for name, image in pod.containers]
    return _status(pod, "Running", states, started, ready=ready, address=address)


def crashing_status(pod: PodSpec, started: str, problem: str) -> Json:
    """Status of a pod whose engine does not come up; the message says why."""
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": problem}, "running": None}
    states = [
        {**_container_status(pod, name, image, started, ready=False), "state": waiting, "started": False}
        for name, image in pod.containers
    ]
    return _status(pod, "Running", states, started, ready=False, address=None)


def rejected_status(problem: str) -> Json:
    """Status of a pod that the node cannot take, as the kubelet's admission writes it."""
    return {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": problem}


def _status(
    pod: PodSpec, phase: str, states: Sequence[Json], started: str, *, ready: bool, address: str | None
) -> Json:
    now = utc_now()
    truths = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    # Strategic patches merge the list by address: what an earlier emulator wrote would stay beside ours.
    ips = [{"$patch": "replace"}, {"ip": address}]
    where: Json = {} if address is None else {"podIP": address, "podIPs": ips}
    return {
        **where,
        "phase": phase,
        "hostIP": "127.0.0.1",
        "startTime": started,
        "containerStatuses": list(states),
        "conditions": [_condition(kind, truth, pod, now) for kind, truth in truths.items()],
    }


def _condition(kind: str, truth: bool, pod: PodSpec, now: str) -> Json:
    # None takes away what an earlier patch left: strategic patches merge field by field.
    return {
        "type": kind,
        "status": str(truth),
        "lastTransitionTime": now,
        "reason": None if truth else "ContainersNotReady",
        "message": None if truth else f"containers with unready status: [{pod.container}]",
    }


def _container_status(pod: PodSpec, name: str, image: str, started: str, *, ready: bool) -> Json:
    return {
        "name": name,
        "image": image,
        "imageID": f"emulated://{image}",
        "containerID": f"emulated://{pod.uid}/{name}",
        "ready": ready,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": started}, "waiting": None},
    }

"""Faults of nodes and of what runs on them: lost, cordoned, sick, taken by others; pods that do not come up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fault_scene import LOW, POOL, POOLS, SURGE, Scene
from fault_stage import Fault
from joulery.domain import reasons
from joulery.emulator.pods import STARTUP_ANNOTATION
from joulery.errors import ClusterError
from live_centre import wait_for

UNSCHEDULABLE = "new pods cannot be scheduled"
NO_PLAN = "no feasible plan"
NODE = "agent killed, node rebooted, GPU lost, driver reset"
NAMESPACE = POOL.key.namespace


def _cordoned(scene: Scene) -> None:
    """A cordon evicts nobody; what comes meanwhile, for both pools, runs elsewhere."""
    _rested(scene)
    before, node = sum(scene.live.replicas(POOL).values()), scene.node_of_engines()
    old = {p["metadata"]["name"] for p in scene.live.pods(POOL)}
    scene.kubectl("cordon", node)
    try:
        scene.set_load(SURGE)
        scene.carries()
        wait_for("more replicas", lambda: sum(scene.live.replicas(POOL).values()) > before)
        wait_for("their pods on nodes", lambda: _all_placed(scene))
        new = [p for p in scene.live.pods(POOL) if p["metadata"]["name"] not in old]
        assert node not in {p["spec"].get("nodeName") for p in new}
    finally:
        scene.kubectl("uncordon", node)


def _rested(scene: Scene) -> None:
    """Low load, and too few instances for a surge."""
    scene.set_load(LOW)
    wait_for("fewer than a surge needs", lambda: sum(scene.live.replicas(POOL).values()) < SURGE, 180.0)


def _all_placed(scene: Scene) -> bool:
    pods = scene.live.pods(POOL)
    asked = sum(scene.live.replicas(POOL).values())
    return len(pods) == asked and all(p["spec"].get("nodeName") for p in pods)


def _conditioned(status: str) -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": "KubeletNotReady", "message": "synthesised"}
    return {"status": {"conditions": [ready]}}


def _not_ready(scene: Scene) -> None:
    """No replica is taken away for a sick node, and what comes meanwhile runs elsewhere."""
    node = scene.node_of_engines()
    scene.patch("node", node, body=_conditioned("False"), kind="strategic", subresource="status")
    try:
        scene.set_load(SURGE)
        scene.carries()
    finally:
        scene.patch("node", node, body=_conditioned("True"), kind="strategic", subresource="status")


def _lost(scene: Scene) -> None:
    """A node and its pods are gone: the engines come back elsewhere; then the node does."""
    node = scene.node_of_engines()
    manifest = scene.centre.get("nodes", node)
    scene.agent(node).kill()
    scene.kubectl("delete", "node", node)
    wait_for("its pods gone", lambda: _gone_with(scene, node))
    scene.carries()
    # The scheduler may have bound one more to it before it heard of its end.
    wait_for("its last pods gone", lambda: _gone_with(scene, node))
    kept = {k: manifest["metadata"][k] for k in ("name", "labels")}
    fresh = {"apiVersion": "v1", "kind": "Node", "metadata": kept}
    scene.centre.apply([fresh])
    scene.patch("node", node, body={"status": manifest["status"]}, subresource="status")
    with suppress(ClusterError):  # the node controller may have been quicker
        scene.kubectl("taint", "node", node, "node.kubernetes.io/not-ready-")
    scene.centre.start_agents([node])


def _gone_with(scene: Scene, node: str) -> bool:
    """Whether no pod is left on a lost node; those found are deleted, as the pod collector does after a while."""
    pods = scene.centre.get("pods", f"-n={NAMESPACE}", f"--field-selector=spec.nodeName={node}")["items"]
    names = [p["metadata"]["name"] for p in pods]
    if names:
        scene.kubectl("delete", "pod", "-n", NAMESPACE, "--force", "--grace-period=0", *names)
    return not names


@contextmanager
def _squatters(scene: Scene) -> Iterator[None]:
    """Somebody else takes every GPU that is free."""
    labels = {"app": "squatter"}
    container = {
        "name": "train",
        "image": "train",
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "squatter", "namespace": "default"},
        "spec": {"replicas": 24, "selector": {"matchLabels": labels}, "template": pod},
    }
    scene.centre.apply([deployment])
    try:
        yield
    finally:
        scene.kubectl(
            "delete", "deployment", "squatter", "-n=default", "--cascade=foreground", "--timeout=60s"
        )


def _gpus_taken(scene: Scene) -> None:
    """What fits is served, the shortage is named, and the GPUs are used as soon as they are free."""

    def free() -> int:
        pods = scene.centre.get("pods", "-n=default")["items"]
        return sum(1 for p in pods if not p["spec"].get("nodeName"))

    scene.carries()
    with _squatters(scene):
        wait_for("no GPU is left", free)
        scene.set_load(SURGE)
        message = scene.tells("Feasible", "False", reasons.INSUFFICIENT_GPUS, within_s=60.0)
        assert "missing" in message, message
        before = scene.replicas()
        scene.goes_on(5)
        asked = scene.replicas()
        assert all(asked[name] >= before[name] for name in before), (before, asked)
    scene.carries()


def _quota(scene: Scene) -> None:
    """A quota that is used up bounds the plan and is named; once it is gone the load is carried.

    When is judged with the cure: a ReplicaSet whose pods were refused tries again ever more rarely.
    """
    _rested(scene)
    scene.carries()
    used = sum(
        int(c["resources"]["limits"]["nvidia.com/gpu"])
        for p in scene.centre.get("pods", f"-n={NAMESPACE}")["items"]
        for c in p["spec"]["containers"]
    )
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus", "namespace": NAMESPACE},
        "spec": {"hard": {"requests.nvidia.com/gpu": str(used)}},
    }
    scene.centre.apply([quota])
    try:
        scene.set_load(SURGE)
        message = scene.tells("Feasible", "False", within_s=60.0)
        assert "quota" in message.lower(), message
    finally:
        scene.kubectl("delete", "resourcequota", "gpus", f"-n={NAMESPACE}")


def _evicted(scene: Scene) -> None:
    """Every engine of the pool at once: as many come back, none is given up."""
    before = scene.replicas()
    selector = f"-l=app={POOL.variants[0].target.name}"
    scene.kubectl("delete", "pod", f"-n={NAMESPACE}", selector, "--force", "--grace-period=0")
    scene.goes_on(3)
    asked = scene.replicas()
    assert all(asked[name] >= before[name] for name in before), (before, asked)
    scene.carries()


@contextmanager
def _mutated(scene: Scene, expression: str) -> Iterator[None]:
    """New pods of the pools are changed as they are created, while inside; those that never served end with it."""
    meta = {"name": "fault"}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {
        "matchConstraints": {
            "resourceRules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    }
    of = "admissionregistration.k8s.io/v1"
    policy = {"apiVersion": of, "kind": "MutatingAdmissionPolicy", "metadata": meta, "spec": spec}
    binding = {
        "apiVersion": of,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": meta,
        "spec": {"policyName": "fault"},
    }
    scene.centre.apply([policy, binding])
    try:
        wait_for("new pods are changed", lambda: _is_mutating(scene))
        yield
    finally:
        scene.kubectl("delete", "mutatingadmissionpolicybinding", "fault")
        scene.kubectl("delete", "mutatingadmissionpolicy", "fault")
        wait_for("new pods are left alone", lambda: not _is_mutating(scene))
        unready = [p["metadata"]["name"] for pool in POOLS for p in scene.live.pods(pool) if not _is_ready(p)]
        if unready:
            scene.kubectl("delete", "pod", f"-n={NAMESPACE}", "--force", "--grace-period=0", *unready)


def _is_mutating(scene: Scene) -> bool:
    probe = scene.kubectl(
        *("run", "probe", f"-n={NAMESPACE}", "--image=probe", "--dry-run=server", "-o=json"),
        "--annotations=probe=true",
    )
    return "faulty" in probe


def _is_ready(pod: Any) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _added(key: str, value: str) -> str:
    """An annotation added, and one by which the change can be seen."""
    path = key.replace("/", "~1")
    start = "has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}]"
    patches = (
        f"[JSONPatch{{op: 'add', path: '/metadata/annotations/{path}', value: '{value}'}}, "
        "JSONPatch{op: 'add', path: '/metadata/annotations/faulty', value: 'yes'}]"
    )
    return f"({start}) + {patches}"


def _never_ready(scene: Scene) -> None:
    """Pods that never become ready are counted as absent: more are asked for, none that serves is taken away."""
    _rested(scene)
    scene.carries()
    before = scene.replicas()
    # One that is on its way out, as a plan before had it, may still be told as ready.
    serving = min(sum(scene.live.ready(POOL).values()), sum(scene.live.replicas(POOL).values()))
    with _mutated(scene, _added(STARTUP_ANNOTATION, "100000")):
        scene.set_load(SURGE)
        wait_for("a pod that does not start", lambda: scene.replicas() != before)
        scene.goes_on(25)
        asked = scene.replicas()
        assert all(asked[name] >= before[name] for name in before), (before, asked)
        assert sum(scene.live.ready(POOL).values()) >= serving
    scene.carries()


FAULTS = (
    Fault("node-cordoned", UNSCHEDULABLE, _cordoned),
    Fault("node-not-ready", UNSCHEDULABLE, _not_ready),
    Fault("node-lost", NODE, _lost),
    Fault("gpus-taken", NO_PLAN, _gpus_taken),
    Fault("quota-used-up", NO_PLAN, _quota),
    Fault("engines-evicted", UNSCHEDULABLE, _evicted),
    Fault("pods-never-ready", UNSCHEDULABLE, _never_ready),
)

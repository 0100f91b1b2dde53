"""Manifests as the domain sees them."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import CHAT, pool, variant
from joulery.adapters.kube_targets import autoscaled, claims_of, target_key
from joulery.adapters.node_view import node_states, watts_by_pod
from joulery.adapters.pod_view import gpus_of, phase_of, replica_of, selects
from joulery.domain.fleet import ReplicaPhase
from joulery.domain.keys import ObjectKey, TargetRef

READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T10:00:30Z"}
UNSCHEDULED = {"type": "PodScheduled", "status": "False"}


def pod(
    *conditions: dict[str, Any],
    node: str | None = "n0",
    gpus: int = 4,
    phase: str = "Running",
    **metadata: Any,
) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)}
    return {
        "metadata": {"name": "a", "uid": "u", "creationTimestamp": "2026-11-21T10:00:00Z", **metadata},
        "spec": {"nodeName": node, "containers": [{"resources": {"limits": limits}}]},
        "status": {"phase": phase, "conditions": list(conditions)},
    }


def node(name: str = "n0", **spec: Any) -> dict[str, Any]:
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    return {
        "metadata": {"name": name, "uid": name, "labels": labels},
        "spec": spec,
        "status": {
            "allocatable": {"nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


@pytest.mark.parametrize(
    ("manifest", "phase"),
    [
        (pod(UNSCHEDULED, node=None), ReplicaPhase.UNSCHEDULED),
        (pod(node=None), ReplicaPhase.STARTING),
        (pod(), ReplicaPhase.STARTING),
        (pod(READY), ReplicaPhase.READY),
        (pod(READY, deletionTimestamp="2026-11-21T10:05:00Z"), ReplicaPhase.TERMINATING),
    ],
    ids=["no node found", "not yet tried", "loading", "ready", "going"],
)
def test_phase_of_a_pod(manifest: dict[str, Any], phase: ReplicaPhase) -> None:
    assert phase_of(manifest) is phase


def test_replica_knows_when_it_became_ready_and_its_cost() -> None:
    cost = {"controller.kubernetes.io/pod-deletion-cost": "-100"}
    found = replica_of(pod(READY, annotations=cost))
    assert found.ready_since_s is not None
    assert found.ready_since_s - found.created_s == 30.0
    assert found.deletion_cost == -100


def test_cost_that_is_no_number_counts_as_none() -> None:
    assert (
        replica_of(pod(annotations={"controller.kubernetes.io/pod-deletion-cost": "high"})).deletion_cost == 0
    )


def test_hungriest_init_container_counts() -> None:
    manifest = pod(gpus=1)
    manifest["spec"]["initContainers"] = [{"resources": {"requests": {"nvidia.com/gpu": "2"}}}]
    assert gpus_of(manifest) == 2


def test_free_gpus_leave_out_what_any_bound_pod_holds_and_ended_ones_give_back() -> None:
    pods = [pod(READY), pod(gpus=2, phase="Succeeded"), pod(gpus=3, node=None), pod(gpus=1, node="other")]
    (state,) = node_states([node()], pods, {})
    assert (state.accelerator, state.gpus, state.free_gpus) == ("H100-SXM-80GB", 8, 4)


@pytest.mark.parametrize(
    ("spec", "schedulable"),
    [
        ({}, True),
        ({"unschedulable": True}, False),
        ({"taints": [{"key": "maintenance", "effect": "NoSchedule"}]}, True),
        ({"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}, False),
        ({"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}, True),
        ({"taints": [{"key": "soft", "effect": "PreferNoSchedule"}]}, True),
    ],
    ids=["plain", "cordoned", "tainted for some", "being drained", "GPU taint", "soft taint"],
)
def test_node_takes_pods_unless_cordoned_or_drained(spec: dict[str, Any], schedulable: bool) -> None:
    (state,) = node_states([node(**spec)], [], {})
    assert state.schedulable is schedulable


def test_node_without_gpus_is_left_out() -> None:
    bare = node()
    bare["status"]["allocatable"] = {}
    assert node_states([bare], [], {}) == ()


def test_watts_are_summed_over_all_gpus_of_a_pod() -> None:
    gpus = [
        {"ownerNamespace": "llm", "ownerPod": "a", "powerMilliwatts": 400_000},
        {"ownerNamespace": "llm", "ownerPod": "a", "powerMilliwatts": 350_500},
        {"powerMilliwatts": 70_000},
    ]
    assert watts_by_pod([{"status": {"gpus": gpus}}]) == {ObjectKey("llm", "a"): 750.5}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({"matchLabels": {"app": "chat"}}, True),
        ({"matchLabels": {"app": "other"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["chat", "x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["chat"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({}, False),
    ],
)
def test_selector(selector: dict[str, Any], matches: bool) -> None:
    assert selects(selector, {"app": "chat"}) is matches


def test_target_belongs_to_the_pool_created_first_then_to_the_first_name() -> None:
    first, second = pool(ObjectKey("llm", "b")), pool(ObjectKey("llm", "a"))
    key = target_key("llm", variant().target)
    assert claims_of([first, second], {first.key: 1.0, second.key: 2.0})[key] == first.key
    assert claims_of([first, second], {first.key: 1.0, second.key: 1.0})[key] == second.key


def test_autoscaler_is_found_whatever_version_it_names() -> None:
    ref = {"apiVersion": "apps/v1beta2", "kind": "Deployment", "name": "chat-tp4"}
    hpa = {"metadata": {"name": "hpa", "namespace": "llm"}, "spec": {"scaleTargetRef": ref}}
    target = TargetRef("apps/v1", "Deployment", "chat-tp4")
    assert autoscaled([hpa]) == {target_key(CHAT.namespace, target): "HorizontalPodAutoscaler llm/hpa"}


def test_scaled_object_is_found_with_the_defaults_of_keda_and_named_before_what_it_made() -> None:
    scaled = {
        "metadata": {"name": "so", "namespace": "llm"},
        "spec": {"scaleTargetRef": {"name": "chat-tp4"}},
    }
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat-tp4"}
    hpa = {"metadata": {"name": "keda-hpa-so", "namespace": "llm"}, "spec": {"scaleTargetRef": ref}}
    target = TargetRef("apps/v1", "Deployment", "chat-tp4")
    assert autoscaled([hpa], [scaled]) == {target_key("llm", target): "ScaledObject llm/so"}

"""Where pods may go, which nodes take any, and who is ahead of us in the scheduler's queue."""

from __future__ import annotations

from typing import Any

import pytest

from joulery.adapters.node_view import is_draining, node_states, trouble_of
from joulery.adapters.pending_view import reserved_gpus
from joulery.adapters.scheduling import allows
from kube_manifests import LATER, condition, node, pod

NO_SCHEDULE = {"key": "team", "value": "batch", "effect": "NoSchedule"}


def affinity(*expressions: dict[str, Any], **term: Any) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions), **term}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("toleration", "allowed"),
    [
        (None, False),
        ({"key": "team", "value": "batch", "effect": "NoSchedule"}, True),
        ({"key": "team", "value": "batch"}, True),
        ({"key": "team", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "team", "value": "web", "effect": "NoSchedule"}, False),
        ({"key": "team", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_taint_keeps_out_who_does_not_tolerate_it(toleration: dict[str, str] | None, allowed: bool) -> None:
    spec = {"tolerations": [toleration]} if toleration else {}
    assert allows(node(taints=(NO_SCHEDULE,)), spec) is allowed


@pytest.mark.parametrize(
    "taint",
    [
        {"key": "nvidia.com/gpu", "effect": "NoSchedule"},
        {"key": "soft", "effect": "PreferNoSchedule"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
    ],
)
def test_taint_that_bars_no_gpu_pod_by_itself(taint: dict[str, str]) -> None:
    assert allows(node(taints=(taint,)), {})


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"nodeSelector": {"zone": "a"}}, True),
        ({"nodeSelector": {"zone": "b"}}, False),
        (affinity(expression("zone", "In", "a", "c")), True),
        (affinity(expression("zone", "NotIn", "a")), False),
        (affinity(expression("zone", "Exists"), expression("rank", "Gt", "2")), True),
        (affinity(expression("rank", "Lt", "2")), False),
        (affinity(expression("other", "DoesNotExist")), True),
        (affinity(expression("other", "In", "x")), False),
        (affinity(matchFields=[expression("metadata.name", "In", "n0")]), True),
        (affinity(), False),
        (affinity(expression("zone", "Gt", "2")), False),
    ],
)
def test_selector_and_required_affinity_choose_nodes(spec: dict[str, Any], allowed: bool) -> None:
    assert allows(node(labels={"zone": "a", "rank": "3"}), spec) is allowed


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (node(cordoned=True), "kubectl uncordon n0"),
        (node(deleted=LATER), f"is being deleted since {LATER}; its GPUs count until it is gone"),
        (
            node(
                taints=(
                    {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule", "timeAdded": LATER},
                )
            ),
            f"drained for removal (taint ToBeDeletedByClusterAutoscaler) since {LATER}",
        ),
        (
            node(conditions=[condition("Ready", "Unknown", reason="NodeStatusUnknown", message="silent")]),
            f"not Ready since {LATER} (NodeStatusUnknown: silent)",
        ),
        (
            node(conditions=[condition("Ready"), condition("DiskPressure", message="disk is full")]),
            f"DiskPressure since {LATER}: disk is full",
        ),
    ],
    ids=["cordoned", "deleted", "drained", "not ready", "under pressure"],
)
def test_node_that_takes_no_pods_says_why_since_when_and_the_cure(found: dict[str, Any], words: str) -> None:
    trouble = trouble_of(found)
    assert trouble is not None
    assert words in trouble.message
    (state,) = node_states([found], [], {})
    assert (state.schedulable, state.gpus) == (False, 8)


def test_time_of_a_cordon_is_that_of_its_taint() -> None:
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": LATER}
    trouble = trouble_of(node(cordoned=True, taints=(taint,)))
    assert trouble is not None
    assert f"cordoned since {LATER}" in trouble.message


def test_only_a_node_on_its_way_out_is_drained() -> None:
    assert is_draining(node(deleted=LATER))
    assert not is_draining(node(cordoned=True))


def test_terminating_pods_hold_their_gpus_until_they_are_gone() -> None:
    (state,) = node_states([node()], [pod(node="n0", deleted=LATER)], {})
    assert state.free_gpus == 4


def reserved(*pods: dict[str, Any], ours: frozenset[str] = frozenset(), least: int = 0) -> dict[str, int]:
    return reserved_gpus([node("n0"), node("n1", gpus=4)], pods, ours, least)


def test_pending_foreign_pod_takes_the_fullest_node_with_room() -> None:
    assert reserved(pod(gpus=2)) == {"n1": 2}
    assert reserved(pod("a", gpus=2), pod("b", gpus=4)) == {"n1": 2, "n0": 4}


@pytest.mark.parametrize(
    "waiting",
    [
        pod(gpus=16),
        pod(gpus=0),
        pod(schedulingGates=[{"name": "wait"}]),
        pod(deleted=LATER),
        pod(phase="Failed"),
        pod(priority=-1),
        pod(nodeSelector={"zone": "b"}),
    ],
    ids=["fits nowhere", "no GPU", "gated", "going", "ended", "after ours", "elsewhere"],
)
def test_pending_pod_that_gets_no_gpu_of_ours_takes_none(waiting: dict[str, Any]) -> None:
    assert reserved(waiting) == {}


def test_own_pending_pods_are_the_plans_own_affair() -> None:
    assert reserved(pod("mine"), ours=frozenset({"uid-mine"})) == {}


def test_higher_priority_is_placed_first_and_lower_than_ours_not_at_all() -> None:
    low, high = pod("low", gpus=4, priority=10), pod("high", gpus=8, priority=100, born=LATER)
    assert reserved(low, high, least=50) == {"n0": 8}
    assert reserved(low, high) == {"n0": 8, "n1": 4}


def test_nominated_pod_takes_the_node_that_is_cleared_for_it() -> None:
    full = pod("ours", gpus=8, node="n0")
    assert reserved(full, pod("high", gpus=8, priority=100, nominated="n0")) == {"n0": 8}
    (state, _) = node_states([node("n0"), node("n1")], [full], {}, {"n0": 8})
    assert state.free_gpus == 0

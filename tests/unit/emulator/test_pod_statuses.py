"""What the emulated kubelet reads from pods and writes to them."""

from __future__ import annotations

from typing import Any

import pytest

from emulated import engine_deployment, pod_spec
from joulery.emulator.nodes import emulated_nodes, lease_manifest, node_manifest
from joulery.emulator.pods import crashing_status, grace_left_s, read_pod, running_status


def manifest(**metadata: Any) -> dict[str, Any]:
    template = engine_deployment("d", replicas=1, gpus=4, startup_s=7.5, grace_s=12)["spec"]["template"]
    return {
        "metadata": {**template["metadata"], "namespace": "llm", "name": "d-1", "uid": "u", **metadata},
        "spec": {**template["spec"], "nodeName": "emulated-gpu-0"},
    }


def condition(status: dict[str, Any], kind: str) -> str:
    return next(str(c["status"]) for c in status["conditions"] if c["type"] == kind)


def test_a_pod_is_read_with_its_gpus_start_up_and_grace() -> None:
    pod = read_pod(manifest())
    assert (pod.gpus, pod.startup_s, pod.grace_s, pod.node) == (4, 7.5, 12.0, "emulated-gpu-0")
    assert str(pod.key) == "llm/d-1"
    assert "--tensor-parallel-size=4" in pod.arguments


def test_a_start_up_annotation_that_is_no_number_counts_as_none() -> None:
    spoilt = manifest(annotations={"emulator.joulery.dev/startup-seconds": "soon"})
    assert read_pod(spoilt).startup_s == 0.0


@pytest.mark.parametrize(("text", "requests"), [("20", 20), ("many", 0), ("-3", 0), (None, 0)])
def test_warm_up_is_read_from_its_annotation(text: str | None, requests: int) -> None:
    annotations = {"emulator.joulery.dev/warmup-requests": text} if text is not None else {}
    assert read_pod(manifest(annotations=annotations)).warmup_requests == requests


def test_only_a_deleted_pod_has_a_grace_period_left() -> None:
    assert grace_left_s(manifest()) is None
    assert (
        grace_left_s(manifest(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=9)) == 9.0
    )


def test_a_loading_pod_runs_with_an_address_and_is_not_ready() -> None:
    status = running_status(pod_spec(), "127.1.0.1", "2026-01-01T00:00:00Z", ready=False)
    assert (status["phase"], status["podIP"]) == ("Running", "127.1.0.1")
    assert condition(status, "Ready") == "False"
    assert not status["containerStatuses"][0]["ready"]


def test_a_serving_pod_is_ready_in_all_the_places_that_are_read() -> None:
    status = running_status(pod_spec(), "127.1.0.1", "2026-01-01T00:00:00Z", ready=True)
    assert condition(status, "Ready") == condition(status, "ContainersReady") == "True"
    assert status["containerStatuses"][0]["ready"]


def test_a_crashing_pod_has_no_address_and_says_why() -> None:
    status = crashing_status(pod_spec(), "2026-01-01T00:00:00Z", "no memory is left")
    assert "podIP" not in status
    waiting = status["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "CrashLoopBackOff", "message": "no memory is left"}


def test_nodes_offer_their_gpus_under_the_labels_of_gpu_feature_discovery() -> None:
    node = emulated_nodes(2, 8)[1]
    made = node_manifest(node)
    assert made["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert made["metadata"]["labels"]["joulery.dev/emulated"] == "true"
    assert made["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert len(set(node.gpu_uuids)) == 8
    assert "taints" not in made.get("spec", {})


def test_a_lease_belongs_to_its_node() -> None:
    lease = lease_manifest(emulated_nodes(1, 8)[0], "node-uid")
    assert lease["metadata"]["ownerReferences"][0]["uid"] == "node-uid"
    assert lease["spec"]["leaseDurationSeconds"] == 40

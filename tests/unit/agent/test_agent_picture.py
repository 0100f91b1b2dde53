"""What the API server says is taken over whole, or the last good state holds."""

from __future__ import annotations

import time
from typing import Any

from agent_cases import binding, directive
from joulery.agent.report import readiness
from joulery.agent.watch import NodePicture
from joulery.api.convert_node import gpu_node_manifest
from joulery.domain import reasons

NODE = "gpu-node-0"


def gpu_node(generation: int, plan_id: str = "p-1") -> dict[str, Any]:
    manifest = gpu_node_manifest(directive(NODE, binding(), plan_id=plan_id), None)
    return {**manifest, "metadata": {"name": NODE, "generation": generation}}


def picture() -> NodePicture:
    return NodePicture(NODE, time.monotonic())


def test_new_spec_wakes_the_loop_and_an_echo_of_our_status_does_not() -> None:
    seen = picture()
    seen.take_node({NODE: gpu_node(1)})
    assert seen.changed.is_set()
    seen.changed.clear()
    seen.take_node({NODE: {**gpu_node(1), "status": {"planId": "p-1"}}})
    assert not seen.changed.is_set()
    seen.take_node({NODE: gpu_node(2, "p-2")})
    assert seen.changed.is_set()


def test_unusable_spec_keeps_the_last_good_one_and_is_reported() -> None:
    seen = picture()
    seen.take_node({NODE: gpu_node(1)})
    good = seen.directive
    broken = gpu_node(2)
    broken["spec"]["tables"][0]["lowestMHz"] = "fast"
    seen.take_node({NODE: broken})
    assert seen.directive is good
    verdict = readiness({}, seen.problems, None)
    assert verdict.reason == reasons.AGENT_FAILED
    assert "lowestMHz" in verdict.message
    seen.take_node({NODE: gpu_node(3)})
    assert readiness({}, seen.problems, None).reason == reasons.READY


def test_deleted_object_ends_every_binding() -> None:
    seen = picture()
    seen.take_node({NODE: gpu_node(1)})
    seen.take_node({})
    assert seen.directive is None


def test_broken_policy_keeps_its_last_good_content_and_no_other() -> None:
    seen = picture()
    good = {"metadata": {"name": "default"}, "spec": {"maxMode": "Act", "cadence": {"clockEpochSeconds": 2}}}
    seen.take_policies({"default": good})
    bad = {"metadata": {"name": "default"}, "spec": {"maxMode": "Full"}}
    seen.take_policies({"default": bad, "new": {"metadata": {"name": "new"}, "spec": {"maxMode": 7}}})
    assert [(p.name, p.max_mode) for p in seen.policies] == [("default", "Act")]
    assert seen.cadence.clock_epoch_s == 2.0


def test_renewals_of_a_fresh_lease_wake_nobody() -> None:
    seen = picture()
    seen.take_lease({"joulery": {"spec": {"renewTime": "a"}}})
    assert seen.changed.is_set(), "the first sight ends a stale lease"
    seen.changed.clear()
    seen.take_lease({"joulery": {"spec": {"renewTime": "b"}}})
    assert not seen.changed.is_set()
    assert seen.lease.renew_time == "b"


def test_picture_is_complete_after_all_three_kinds() -> None:
    seen = picture()
    for path in ("nodes", "policies"):
        seen.mark_read(path)
    assert not seen.is_complete
    seen.mark_read("leases")
    assert seen.is_complete

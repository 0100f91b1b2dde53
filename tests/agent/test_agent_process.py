"""The agent as it ships, in its own process: nvidia-ml-py on the compiled shim, gRPC, HTTP, watches."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta

import pytest

from agent_cases import HIGH_MHZ, LOW_MHZ, MIDDLE_MHZ, binding, directive
from fake_node import NODE, FakeEngine, FakeNode
from joulery.emulator.gpus import ClockLock, Fault

POD = ("llm", "chat-0")
LOWEST = 210
LOW, MIDDLE, HIGH = (ClockLock(LOWEST, mhz) for mhz in (LOW_MHZ, MIDDLE_MHZ, HIGH_MHZ))


async def managed(node: FakeNode, *, policy: dict[str, object] | None = None) -> FakeEngine:
    """A pod on GPUs 0 and 1, bound, governed, with a living operator; the agent runs."""
    engine = await node.add_engine()
    node.kubelet.pods[POD] = node.gpus.uuids[:2]
    spec = {"maxMode": "Act", "cadence": {"clockEpochSeconds": 1, "leaseTimeoutSeconds": 15}}
    node.api.put_policy(**spec | (policy or {}))
    node.api.put_directive(directive(NODE, binding(port=engine.port)))
    node.api.start_heartbeat()
    await node.start_agent()
    return engine


async def test_locked_range_follows_load(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "low load clocks down")
    assert node.lock(1) == LOW, "both GPUs of the instance move together"
    assert node.lock(2) is None, "a GPU without a binding is left alone"
    engine.load(3000.0, 200.0)
    await node.until(lambda: node.lock() == MIDDLE, "more load clocks up")
    engine.load(9000.0, 9000.0)
    await node.until(lambda: node.lock() == HIGH, "load beyond the table takes the highest clock")
    await node.until(
        lambda: node.gpu_status().get("appliedMHz") == node.gpu_status().get("observedMHz") == HIGH_MHZ,
        "status tells applied and observed",
    )
    status = node.gpu_status()
    assert (status["reason"], status["ownerPod"], status["requestedMHz"]) == (
        "ClockApplied",
        "chat-0",
        HIGH_MHZ,
    )
    assert status["powerMilliwatts"] == 400_000
    held_since = datetime.fromisoformat(status["highestClockSinceTime"])
    assert timedelta() <= datetime.now(UTC) - held_since < timedelta(seconds=15)
    assert "highestClockSinceTime" not in node.gpu_status(2), "a GPU without a binding is held by nothing"
    engine.load(500.0, 200.0)
    await node.until(lambda: "highestClockSinceTime" not in node.gpu_status(), "and is told when that ends")
    assert node.gpus.init_calls() == 1, "NVML is initialised once per process"


async def test_queue_sends_the_instance_to_its_highest_clock(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "low load clocks down")
    engine.waiting = 3
    await node.until(lambda: node.lock() == HIGH, "requests that wait raise the clock")


async def test_sigterm_resets_and_exits_0(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    assert await node.stop_agent() == 0
    assert [node.lock(i) for i in range(4)] == [None] * 4
    assert json.loads((node.folder / "state" / "locked-gpus.json").read_text())["locked"] == []
    assert node.gpus.reset_calls(2) == 0, "what was never ours is never reset"
    assert node.api.statuses[-1]["conditions"][0]["reason"] == "ClockReset"


async def test_stale_lease_resets_and_a_fresh_one_resumes(node: FakeNode) -> None:
    engine = await managed(node, policy={"cadence": {"clockEpochSeconds": 1, "leaseTimeoutSeconds": 3}})
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    node.api.stop_heartbeat()
    await node.until(lambda: node.lock() is None, "a silent operator ends the lock", limit_s=20.0)
    await node.until(lambda: node.gpu_status().get("reason") == "LeaseStale", "status says why")
    node.api.start_heartbeat()
    await node.until(lambda: node.lock() is not None, "a new heartbeat resumes")


async def test_engine_metrics_gone_means_highest_clock(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    engine.is_failing = True
    await node.until(lambda: node.lock() == HIGH, "an unreadable engine gets the highest clock")
    await node.until(lambda: node.gpu_status().get("reason") == "EngineMetricsUnavailable", "status says why")
    engine.is_failing = False
    await node.until(lambda: node.lock() == LOW, "metrics back, clocks down again")


async def test_policy_bounds_hold_against_a_wrong_spec(node: FakeNode) -> None:
    bounds = [{"accelerator": "H100-SXM-80GB", "floorMHz": 1350, "ceilingMHz": 1700}]
    engine = await managed(node, policy={"clockBounds": bounds})
    engine.load(9000.0, 9000.0)
    await node.until(lambda: node.lock() == ClockLock(LOWEST, 1695), "the ceiling holds")
    engine.load(100.0, 100.0)
    await node.until(lambda: node.lock() == ClockLock(LOWEST, 1350), "the floor holds")
    assert node.gpu_status()["requestedMHz"] in (LOW_MHZ, HIGH_MHZ), "what was asked for is told apart"


async def test_policy_that_leaves_act_resets(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    node.api.put_policy(maxMode="Recommend")
    await node.until(lambda: node.lock() is None, "the administrator's brake resets")
    await node.until(lambda: node.gpu_status().get("reason") == "ModeCeiling", "status says why")


async def test_missing_permission_is_told_with_its_cure(node: FakeNode) -> None:
    node.gpus.set_fault(0, Fault.NO_PERMISSION)
    await managed(node)
    await node.until(lambda: node.gpu_status().get("reason") == "ClockRefused", "status says refused")
    assert "SYS_ADMIN" in node.gpu_status()["message"]
    assert node.api.statuses[-1]["conditions"][0]["status"] == "False"
    assert node.process is not None
    assert node.process.returncode is None, "the agent goes on"
    assert node.lock(1) is not None, "the other GPU is clocked"
    node.gpus.set_fault(0, Fault.NO_PERMISSION, 0)
    await node.until(lambda: node.gpu_status().get("reason") != "ClockRefused", "and recovers by itself")


async def test_hanging_gpu_does_not_stop_the_others(node: FakeNode) -> None:
    node.settings["JOULERY_DEVICE_LIMIT_S"] = "0.3"
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    node.gpus.set_fault(0, Fault.HANG_MS, 60_000)
    engine.load(9000.0, 9000.0)
    await node.until(lambda: node.lock(1) == HIGH, "GPU 1 follows although GPU 0 hangs")
    await node.until(lambda: "hangs" in node.gpu_status().get("message", ""), "status names the hang")
    assert await node.stop_agent() == 1, "a GPU that could not be reset is an error"
    assert node.lock(1) is None


@pytest.mark.parametrize("goes", ["pod leaves the kubelet", "binding leaves the spec", "object deleted"])
async def test_clocks_reset_when(node: FakeNode, goes: str) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    match goes:
        case "pod leaves the kubelet":
            node.kubelet.pods.clear()
        case "binding leaves the spec":
            node.api.put_directive(directive(NODE, plan_id="p-2"))
        case _:
            node.api.delete("gpunodes", NODE)
    await node.until(lambda: node.lock() is None and node.lock(1) is None, "default clocks")


async def test_killed_agent_leaves_its_lock_and_the_next_start_resets_it(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    await node.stop_agent(signal.SIGKILL)
    assert node.lock() == LOW, "the driver keeps the lock of a dead agent"
    node.gpus.set_lock(3, ClockLock(LOWEST, 900))
    node.api.put_directive(directive(NODE, plan_id="p-2"))
    await node.start_agent()
    await node.until(lambda: node.lock() is None and node.lock(1) is None, "reset at the next start")
    assert node.lock(3) == ClockLock(LOWEST, 900), "somebody else's lock stays"


async def test_restart_with_fresh_bindings_keeps_clocks_without_a_reset(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(9000.0, 9000.0)
    await node.until(lambda: node.lock() == HIGH, "clocked")
    await node.stop_agent(signal.SIGKILL)
    await node.start_agent()
    calls = node.gpus.set_calls(0)
    await node.until(lambda: node.gpus.set_calls(0) > calls, "the new agent locks again")
    assert node.gpus.reset_calls(0) == 0


async def test_locks_of_another_boot_are_forgotten(node: FakeNode) -> None:
    state = node.folder / "state"
    state.mkdir()
    forged = {"version": 1, "bootId": "another", "locked": [node.gpus.uuids[0]]}
    (state / "locked-gpus.json").write_text(json.dumps(forged))
    await managed(node)
    node.api.put_directive(directive(NODE))
    await node.until(lambda: len(node.api.statuses) > 0, "an epoch has run")
    assert node.gpus.reset_calls(0) == 0


async def test_unreachable_api_server_at_start_resets_old_locks_after_the_grace(node: FakeNode) -> None:
    node.settings["JOULERY_START_GRACE_S"] = "1"
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    await node.stop_agent(signal.SIGKILL)
    node.api.refuse_with = 503
    node.api.end_watches()
    await node.start_agent()
    await node.until(lambda: node.lock() is None, "nobody confirms the locks")


async def test_ended_watches_are_listed_anew(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    node.api.end_watches()
    node.api.put_directive(directive(NODE, plan_id="p-2"))
    await node.until(lambda: node.lock() is None, "the change made meanwhile arrives")


async def test_foreign_clock_is_reported_and_not_fought(node: FakeNode) -> None:
    engine = await managed(node)
    engine.load(500.0, 200.0)
    await node.until(lambda: node.lock() == LOW, "clocked")
    foreign = ClockLock(1800, 1980)
    node.gpus.set_lock(0, foreign)
    await node.until(lambda: node.gpu_status().get("reason") == "ForeignClock", "status says foreign")
    assert node.lock(0) == foreign
    assert node.lock(1) == LOW
    assert await node.stop_agent() == 0
    assert node.lock(0) == foreign, "not ours to reset"


async def test_gpunode_is_made_where_there_is_no_operator(node: FakeNode) -> None:
    await node.start_agent()
    await node.until(lambda: len(node.api.statuses) > 0, "status written")
    assert NODE in node.api.objects["gpunodes"]
    assert node.gpu_status()["reason"] == "NoBinding"


async def test_absent_driver_ends_the_process_with_its_cure(node: FakeNode) -> None:
    node.gpus.set_driver_missing(True)
    await node.start_agent()
    assert node.process is not None
    assert await node.process.wait() == 1
    assert "NVIDIA driver loaded" in node.log()

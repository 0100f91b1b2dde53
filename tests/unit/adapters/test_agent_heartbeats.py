"""Which agents report, timed by our own clock from the last change we saw."""

from __future__ import annotations

from typing import Any

from joulery.adapters.agent_heartbeats import SILENT_AFTER_S, AgentHeartbeats
from joulery.adapters.node_view import node_states, watts_by_pod

EARLY, LATE = "2026-11-21T10:00:00.000000Z", "2026-11-21T10:00:30.000000Z"


def gpu_node(report_time: str | None) -> dict[str, Any]:
    status: dict[str, Any] = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "gpus": [{"ownerNamespace": "llm", "ownerPod": "a", "powerMilliwatts": 400000}],
    }
    if report_time is not None:
        status["reportTime"] = report_time
    return {"metadata": {"name": "n0"}, "status": status}


class Watch:
    """Heartbeats of one node under a clock that the test turns."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.heartbeats = AgentHeartbeats(lambda: self.now_s)

    def reports(self, report_time: str | None) -> bool:
        return "n0" in self.heartbeats.reporting({"n0": gpu_node(report_time)})


def test_agent_that_keeps_reporting_stays() -> None:
    watch = Watch()
    for number in range(10):
        watch.now_s += SILENT_AFTER_S
        assert watch.reports(f"report {number}")


def test_dead_agent_is_found_out_although_its_condition_stays_true() -> None:
    watch = Watch()
    assert watch.reports(EARLY)
    watch.now_s += SILENT_AFTER_S
    assert watch.reports(EARLY)
    watch.now_s += 1.0
    assert not watch.reports(EARLY)


def test_agent_that_comes_back_counts_at_once() -> None:
    watch = Watch()
    watch.reports(EARLY)
    watch.now_s += 10 * SILENT_AFTER_S
    assert not watch.reports(EARLY)
    assert watch.reports(LATE)


def test_clock_of_the_node_does_not_matter() -> None:
    """A node an hour behind reports times that are old news to us, and is alive all the same."""
    watch = Watch()
    assert watch.reports("1970-01-01T00:00:00Z")
    assert watch.reports("1970-01-01T00:00:30Z")


def test_node_that_never_reported_is_not_ready() -> None:
    assert not Watch().reports(None)


def test_node_that_is_gone_is_forgotten() -> None:
    watch = Watch()
    watch.reports(EARLY)
    watch.heartbeats.reporting({})
    watch.now_s += 10 * SILENT_AFTER_S
    assert watch.reports(EARLY)


def test_silent_agent_is_neither_ready_nor_a_source_of_watts() -> None:
    watch = Watch()
    node = {
        "metadata": {"name": "n0", "labels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
        "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": []},
    }
    seen = []
    for _ in range(2):
        reporting = watch.heartbeats.reporting({"n0": gpu_node(EARLY)})
        (state,) = node_states([node], [], reporting)
        seen.append((state.agent_ready, len(watts_by_pod(reporting.values()))))
        watch.now_s += SILENT_AFTER_S + 1.0
    assert seen == [(True, 1), (False, 0)]

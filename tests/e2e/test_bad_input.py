"""What bad input gets: a condition that names it, a pool that is held, and others that go on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from controller_cluster import (
    ControllerProcess,
    apply,
    condition,
    deployment,
    eventually,
    pool,
    profile,
    read,
)
from controller_stage import Stage
from fake_prometheus import FakePrometheus, Load, Trouble
from joulery.domain import reasons
from joulery.errors import ClusterError

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

Spec = dict[str, Any]
OBJECTIVE = {"timeToFirstTokenMilliseconds": 500, "timePerOutputTokenMilliseconds": 100}


def request_class(name: str, least: int, most: int) -> Spec:
    """A class of any output length."""
    return {
        "name": name,
        "inputTokens": {"minimum": least, "maximum": most},
        "outputTokens": {"minimum": 1, "maximum": 8192},
        "objective": dict(OBJECTIVE),
    }


def _minimum_above_maximum(spec: Spec) -> None:
    spec["variants"][0]["minReplicas"] = 17


def _same_variant_twice(spec: Spec) -> None:
    spec["variants"].append(copy.deepcopy(spec["variants"][0]))


def _overlapping_classes(spec: Spec) -> None:
    spec["requestClasses"] = [request_class("short", 1, 1024), request_class("long", 1000, 8192)]


def _classes_with_a_hole(spec: Spec) -> None:
    spec["requestClasses"] = [request_class("short", 1, 1000), request_class("long", 2000, 8192)]


def _unknown_engine(spec: Spec) -> None:
    spec["engine"]["type"] = "Unheard"


REFUSED: dict[str, tuple[Callable[[Spec], None], str]] = {
    "minimum-above-maximum": (_minimum_above_maximum, "minReplicas"),
    "same-variant-twice": (_same_variant_twice, "uplicate"),
    "overlapping-classes": (_overlapping_classes, "overlap"),
    "classes-with-a-hole": (_classes_with_a_hole, "leave a hole"),
    "unknown-engine": (_unknown_engine, "Unheard"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_contradiction_is_refused_by_the_server(stage: Stage, name: str) -> None:
    spoil, told = REFUSED[name]
    manifest = pool(stage.name)
    spoil(manifest["spec"])
    with pytest.raises(ClusterError, match=told):
        apply(stage.cluster, manifest)


async def test_unknown_version_passes_the_server_names_its_field_and_spoils_no_other(stage: Stage) -> None:
    dated = pool(stage.name, "dated")
    dated["spec"]["engine"]["version"] = "0.0.1"
    apply(stage.cluster, dated)
    stage.put()
    await eventually(lambda: condition(_pool(stage, "dated"), "Accepted").get("status") == "False")
    found = condition(_pool(stage, "dated"), "Accepted")
    assert found["reason"] == reasons.UNKNOWN_ENGINE
    assert "spec.engine.version" in found["message"]
    await _scales(stage)


async def test_missing_profile_is_named_with_its_cure_and_found_when_it_comes(stage: Stage) -> None:
    late = _profile_named(f"late-{stage.name}"[:60])
    stage.put(profileRef={"name": late["metadata"]["name"]})
    await eventually(lambda: stage.stands("ProfileAvailable", "False", reasons.PROFILE_MISSING))
    assert "joulery profile" in stage.message("ProfileAvailable")
    assert stage.scale_writes() == []
    apply(stage.cluster, late)
    await eventually(lambda: stage.stands("ProfileAvailable", "True"))
    await _scales(stage)


def _negative_watts(spec: Spec) -> str:
    spec["accelerators"][0]["power"]["hostMilliwatts"] |= {"value": -5000, "low": -6000, "high": -4000}
    return "power.host"


def _value_outside_its_range(spec: Spec) -> str:
    spec["accelerators"][0]["kvMemoryShare"] = "1.5"
    return "kvMemoryShare must lie in (0, 1], got 1.5"


def _watts_below_idle(spec: Spec) -> str:
    spec["accelerators"][0]["power"]["hostMilliwatts"] |= {"value": 1000, "low": 0, "high": 2000}
    return "MHz: host_w"


def _outside_its_range(spec: Spec) -> str:
    spec["accelerators"][0]["tensorParallelSizes"] = [
        s for s in spec["accelerators"][0]["tensorParallelSizes"] if s["size"] != 4
    ]
    return "tp4"


@pytest.mark.parametrize("spoil", [_negative_watts, _watts_below_idle, _value_outside_its_range])
async def test_running_pool_whose_profile_turns_bad_is_held_and_told_the_failing_point(
    stage: Stage, spoil: Callable[[Spec], str]
) -> None:
    bad = _profile_named(f"bad-{spoil.__name__.strip('_').replace('_', '-')}")
    told = spoil(bad["spec"])
    apply(stage.cluster, bad)
    stage.load.requests_per_s = 20.0
    stage.put()
    await eventually(lambda: stage.replicas() > 1)
    running = stage.replicas()
    stage.put(replicas=running, profileRef={"name": bad["metadata"]["name"]})
    await eventually(lambda: stage.stands("ProfileAvailable", "False", reasons.PROFILE_INVALID))
    assert told in stage.message("ProfileAvailable")
    assert "held" in stage.message("ProfileAvailable")
    stage.load.requests_per_s = 0.5
    await eventually(lambda: stage.pool()["status"]["requestsPerMinute"] == 30)
    await _epoch_passes(stage)
    assert stage.replicas() == running


async def test_profile_whose_throughput_falls_with_the_clock_is_refused_by_the_server(stage: Stage) -> None:
    falling = _profile_named("falling")
    response = falling["spec"]["accelerators"][0]["clockResponse"]["computeExponent"]
    response |= {"value": "-1.0", "low": "-2.0", "high": "-0.5"}
    with pytest.raises(ClusterError, match=r"clockResponse\.computeExponent\.value"):
        apply(stage.cluster, falling)


async def test_variant_outside_the_profile_is_named(stage: Stage) -> None:
    narrow = _profile_named("narrow")
    told = _outside_its_range(narrow["spec"])
    apply(stage.cluster, narrow)
    stage.put(profileRef={"name": "narrow"})
    await eventually(lambda: stage.stands("ProfileAvailable", "False", reasons.PROFILE_LACKS_VARIANT))
    assert told in stage.message("ProfileAvailable")


async def test_objective_out_of_reach_names_the_best_latency_and_runs_at_the_highest_clock(
    stage: Stage,
) -> None:
    strict = request_class("All", 1, 8192)
    strict["objective"]["timePerOutputTokenMilliseconds"] = 1
    stage.put(requestClasses=[strict])
    await eventually(lambda: stage.stands("Feasible", "False", reasons.OBJECTIVE_UNREACHABLE))
    assert "best is tp4 with TTFT" in stage.message("Feasible")
    await eventually(lambda: (t := _table(stage)) is not None and t["lowestMHz"] == t["highestMHz"] == 1980)


async def test_variant_without_target_is_held_and_the_other_is_planned(stage: Stage) -> None:
    apply(stage.cluster, deployment(stage.name, "chat-tp4", gpus=4))
    apply(stage.cluster, pool(stage.name, sizes=(4, 8)))
    await eventually(lambda: stage.stands("Actuated", "False", reasons.TARGET_NOT_FOUND))
    assert "chat-tp8" in stage.message("Actuated")
    await _scales(stage)


async def test_autoscaled_variant_is_held_and_the_other_is_planned(stage: Stage) -> None:
    stage.put(sizes=(4, 8))
    stage.cluster.kubectl("autoscale", "deployment/chat-tp8", f"-n={stage.name}", "--min=1", "--max=1")
    await eventually(lambda: stage.stands("Actuated", "False", reasons.FOREIGN_SCALER))
    stage.load.requests_per_s = 60.0
    await eventually(lambda: stage.replicas(4) > 1)
    assert stage.replicas(8) == 1
    assert {w["objectRef"]["name"] for w in stage.scale_writes()} == {"chat-tp4"}


@dataclass(frozen=True)
class MetricFault:
    """What goes wrong with a pool's metrics, and what the condition must say."""

    reason: str
    told: str
    load: tuple[tuple[str, float], ...] = ()
    trouble: Trouble | None = None
    is_gone: bool = False


FAULTS = {
    "missing": MetricFault(reasons.METRICS_STALE, "last read", is_gone=True),
    "stale": MetricFault(reasons.METRICS_STALE, "60 s old", load=(("age_s", 60.0),)),
    "negative": MetricFault(
        reasons.METRICS_INVALID,
        "query requests answered -3, which is negative",
        load=(("requests_per_s", -3.0),),
    ),
    "nan": MetricFault(
        reasons.METRICS_INVALID, "query waiting answered NaN", load=(("waiting", float("nan")),)
    ),
    "query-error": MetricFault(
        reasons.METRICS_QUERY_FAILED,
        "query requests failed",
        trouble=Trouble(422, containing="time_to_first"),
    ),
    "prometheus-down": MetricFault(
        reasons.METRICS_UNREACHABLE, "cannot be read", trouble=Trouble(hangs_up=True)
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_untrustworthy_metrics_hold_replicas_and_are_named_with_query_and_age(
    stage: Stage, prometheus: FakePrometheus, name: str
) -> None:
    fault = FAULTS[name]
    stage.load.requests_per_s = 20.0
    stage.put()
    await eventually(lambda: stage.replicas() > 1 and stage.stands("Actuated", "True"))
    running = stage.replicas()
    with _faulty(prometheus, stage.load, fault):
        await eventually(lambda: stage.stands("MetricsAvailable", "False", fault.reason))
        held = stage.replicas()
        assert held >= running, "a plan of just before the fault may have raised them"
        message = stage.message("MetricsAvailable")
        assert fault.told in message
        assert "(since 20" in message
        await eventually(lambda: stage.stands("Planned", "False", reasons.HELD))
        assert stage.replicas() == held
    await eventually(lambda: stage.stands("MetricsAvailable", "True"))
    assert stage.replicas() >= running


async def test_pool_that_no_series_fits_is_told_so(stage: Stage, prometheus: FakePrometheus) -> None:
    prometheus.loads.remove(stage.load)
    stage.put()
    await eventually(lambda: stage.stands("MetricsAvailable", "False", reasons.METRICS_MISSING))
    assert "check that it scrapes the engines" in stage.message("MetricsAvailable")
    assert stage.replicas() == 1


async def test_too_few_gpus_serve_what_fits_and_name_what_is_missing(stage: Stage) -> None:
    stage.put(most=200)
    stage.load.requests_per_s = 400.0
    await eventually(lambda: stage.stands("Feasible", "False", reasons.INSUFFICIENT_GPUS))
    message = stage.message("Feasible")
    assert "GPUs of H100-SXM-80GB missing" in message
    assert "% of the planned peak" in message
    assert f"{stage.name}/chat" in message
    await eventually(lambda: stage.replicas() > 1)
    assert stage.replicas() <= 12


# HiGHS proves the plans of a dozen pools within the shortest limit that a policy may set, so it is made to fail.
NO_SOLVER = """
import joulery.optimizer.solve
def least_cost(*_):
    raise RuntimeError("synthesised failure")
joulery.optimizer.solve.least_cost = least_cost
"""


async def test_failing_solver_is_named_and_the_fallback_plans(
    stage: Stage, controller: ControllerProcess
) -> None:
    controller.stop()
    controller.start(sabotage=NO_SOLVER)
    try:
        stage.put(most=200)
        stage.load.requests_per_s = 400.0
        await eventually(lambda: stage.stands("Planned", "True", reasons.FALLBACK_PLAN))
        await eventually(lambda: stage.replicas() > 1)
        assert "at most" in stage.message("Feasible")
        assert any(line.get("status") == "Fallback" for line in controller.lines)
    finally:
        controller.stop()
        controller.start()


@contextmanager
def _faulty(prometheus: FakePrometheus, load: Load, fault: MetricFault) -> Iterator[None]:
    before = {name: getattr(load, name) for name, _ in fault.load}
    for name, value in fault.load:
        setattr(load, name, value)
    if fault.is_gone:
        prometheus.loads.remove(load)
    prometheus.trouble = fault.trouble or Trouble()
    try:
        yield
    finally:
        prometheus.trouble = Trouble()
        if fault.is_gone:
            prometheus.loads.append(load)
        for name, value in before.items():
            setattr(load, name, value)


async def _scales(stage: Stage) -> None:
    """The stage's own pool follows its load."""
    stage.load.requests_per_s = 20.0
    await eventually(lambda: stage.replicas() > 1)


async def _epoch_passes(stage: Stage) -> None:
    """Two more cycles have looked at the pool: its status is told again after each of two changes of load."""
    for rate in (1.0, 2.0):
        stage.load.requests_per_s = rate
        await eventually(lambda rate=rate: stage.pool()["status"]["requestsPerMinute"] == round(60 * rate))


def _pool(stage: Stage, name: str) -> Spec:
    return read(stage.cluster, "inferencepools.joulery.dev", stage.name, name)


def _profile_named(name: str) -> Spec:
    manifest = profile()
    manifest["metadata"] = {"name": name}
    return manifest


def _table(stage: Stage) -> Spec | None:
    """The clock table that an agent is told for a pod of the stage."""
    listed = stage.cluster.kubectl("get", "gpunodes.joulery.dev", "-o=json").stdout
    for spec in (node.get("spec", {}) for node in json.loads(listed)["items"]):
        names = {b["table"] for b in spec.get("bindings", ()) if b["namespace"] == stage.name}
        found = next((t for t in spec.get("tables", ()) if t["name"] in names), None)
        if found is not None:
            return found
    return None

"""Every kind of action on the whole system: real control plane and Prometheus, controller, agents, engines.

One data centre and three pools side by side: `busy` follows its load with replicas, `wide` reshards, and
`ladder` climbs from Observe to Act with clocks alone.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from audited_need import below_need, repeated
from capacity_run import told
from controller_cluster import condition
from joulery.demo.actions import recorded_actions
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.pool import Knob, Mode
from live_centre import (
    CLOCKS,
    GUARDRAILS,
    LiveCentre,
    SteppedLoad,
    capacity_rps,
    live_centre,
    live_pool,
    wait_for,
)

pytestmark = pytest.mark.e2e

BUSY = live_pool("busy", 4)
WIDE = live_pool("wide", 4, 8)
LADDER = live_pool("ladder", 4, mode=Mode.OBSERVE)
AS_FOUND = {BUSY.key: {"tp4": 3}, WIDE.key: {"tp8": 1}, LADDER.key: {"tp4": 2}}
QUIET_RPS, BUSY_RPS = 3.0, 30.0


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCentre]:
    with live_centre(tmp_path_factory.mktemp("actions"), list(AS_FOUND), nodes=4) as running:
        yield running


@pytest.fixture(scope="module")
def loads(live: LiveCentre) -> Iterator[Mapping[ObjectKey, SteppedLoad]]:
    """All pools as found, under quiet load."""
    with ExitStack() as stack:
        found = {}
        for pool in (BUSY, WIDE, LADDER):
            live.install(pool, AS_FOUND[pool.key])
            found[pool.key] = stack.enter_context(SteppedLoad(live.control, str(pool.key)))
            found[pool.key].step_to(QUIET_RPS)
        yield found


@pytest.fixture(scope="module")
def ladder(live: LiveCentre, loads: Mapping[ObjectKey, SteppedLoad]) -> LiveCentre:
    wait_for("metrics of ladder", lambda: _stands(live, LADDER, "MetricsAvailable", "True"))
    return live


@pytest.fixture(scope="module")
def followed(live: LiveCentre, loads: Mapping[ObjectKey, SteppedLoad]) -> LiveCentre:
    """`busy` after a fall and a rise of its replicas."""
    wait_for("a scale down", lambda: live.replicas(BUSY)["tp4"] < 3, 60.0)
    # Right after an epoch, so that the rise shows between two.
    before = live.plan_id()
    wait_for("the next plan", lambda: live.plan_id() != before)
    loads[BUSY.key].step_to(BUSY_RPS)
    needed = BUSY_RPS / capacity_rps(BUSY, "tp4")
    wait_for("enough ready replicas", lambda: live.ready(BUSY)["tp4"] >= needed, 60.0)
    return live


def _status(live: LiveCentre, pool: Any) -> Mapping[str, Any]:
    status: Mapping[str, Any] = live.pool(pool).get("status", {})
    return status


def _stands(live: LiveCentre, pool: Any, kind: str, status: str, *wanted: str) -> bool:
    found = condition(live.pool(pool), kind)
    return found.get("status") == status and (not wanted or found.get("reason") in wanted)


def _clocks_of(live: LiveCentre, pool: Any) -> set[int]:
    """Upper ends of locked clocks on the GPUs of a pool, by GPUNode status."""
    own = [g for g in live.gpus() if str(g.get("ownerPod")).startswith(f"{pool.key.name}-")]
    return {int(g["appliedMHz"]) for g in own if g.get("appliedMHz")}


def _marked_pods(live: LiveCentre, pool: Any) -> set[str]:
    """Pods of a pool that Joulery has patched: with a lane label or, here, a deletion cost."""
    refs = (e.get("objectRef", {}) for e in live.centre.plane.audit_events() if e.get("verb") == "patch")
    names = {r["name"] for r in refs if r.get("resource") == "pods" and not r.get("subresource")}
    return {name for name in names if name.startswith(f"{pool.key.name}-")}


def test_observing_pool_is_measured_and_nothing_is_planned_or_written(ladder: LiveCentre) -> None:
    status = wait_for("load", lambda: (s := _status(ladder, LADDER)).get("requestsPerMinute") and s)
    assert "recommendation" not in status
    assert condition({"status": status}, "Planned")["reason"] == reasons.OBSERVING
    assert ladder.writes(LADDER) == []


def test_recommending_pool_shows_what_act_would_do_and_writes_nothing(ladder: LiveCentre) -> None:
    ladder.apply_pool(replace(LADDER, mode=Mode.RECOMMEND))
    advice = wait_for("fewer replicas", lambda: _fewer(_status(ladder, LADDER).get("recommendation")), 60.0)
    assert advice["variant"] == "tp4"
    assert advice["clockMHz"] <= CLOCKS.ceiling_mhz
    assert ladder.replicas(LADDER) == {"tp4": 2}
    assert ladder.writes(LADDER) == []
    assert _clocks_of(ladder, LADDER) == set()


def test_acting_on_clocks_alone_lowers_clocks_and_leaves_replicas(ladder: LiveCentre) -> None:
    ladder.apply_pool(replace(LADDER, mode=Mode.ACT, knobs=frozenset({Knob.CLOCKS})))
    seen = wait_for("low clocks in status", lambda: _lowered(_clocks_of(ladder, LADDER)), 30.0)
    assert min(seen) >= CLOCKS.floor_mhz
    assert min(seen) in ladder.locked().values()
    assert _stands(ladder, LADDER, "Actuated", "True")
    assert ladder.replicas(LADDER) == {"tp4": 2}
    assert ladder.writes(LADDER) == []


def test_reshard_surges_before_it_shrinks(live: LiveCentre, loads: Mapping[ObjectKey, SteppedLoad]) -> None:
    wait_for("tp4 alone", lambda: live.replicas(WIDE) == {"tp4": 1, "tp8": 0}, 90.0)
    writes = live.writes(WIDE)
    assert [(w.target, w.seen, w.want) for w in writes] == [("wide-tp4", 0, 1), ("wide-tp8", 1, 0)]
    ready_s = min(
        _ready_since(pod) for pod in live.pods(WIDE) if pod["metadata"]["name"].startswith("wide-tp4")
    )
    assert writes[1].at_s >= ready_s
    assert below_need(WIDE, writes, loads[WIDE.key], AS_FOUND[WIDE.key]) == []


def test_scale_down_takes_the_pods_it_marked(followed: LiveCentre) -> None:
    downs = [w for w in followed.writes(BUSY) if w.want < w.seen]
    assert downs
    marked = _marked_pods(followed, BUSY)
    assert len(marked) >= downs[0].seen - downs[0].want
    left = {p["metadata"]["name"] for p in followed.pods(BUSY) if "deletionTimestamp" not in p["metadata"]}
    assert marked.isdisjoint(left)


def test_victims_finish_their_requests_and_their_end_is_told(followed: LiveCentre) -> None:
    ends = wait_for("an Event of a pod's end", lambda: _endings(followed, BUSY), 120.0)
    assert reasons.REQUESTS_LOST not in ends
    summary = followed.control.outcomes().summary["pools"][str(BUSY.key)]
    assert (summary["retried"], summary["failed"]) == (0, 0)
    assert _stands(followed, BUSY, "DrainSafe", "True")


def test_rise_is_met_between_epochs_by_an_up_only_plan(followed: LiveCentre) -> None:
    ups = [w for w in followed.writes(BUSY) if w.want > w.seen]
    assert ups
    actions = recorded_actions(followed.centre, GUARDRAILS.dwell_s)
    assert actions["upOnlyPlans"] >= 1
    assert actions["scaleUps"] >= 1
    assert actions["scaleDowns"] >= 1


def test_plan_in_status_is_the_one_that_writes_carry(followed: LiveCentre) -> None:
    status = wait_for("a plan", lambda: (s := _status(followed, BUSY)).get("planId") and s)
    assert _stands(followed, BUSY, "Planned", "True")
    assert status["memory"]["goalVariant"] == "tp4"
    writes = followed.writes(BUSY)
    assert all(" plan/" in w.user_agent for w in writes)
    assert repeated(writes) == []


def test_replicas_never_fall_below_observed_need(
    followed: LiveCentre, loads: Mapping[ObjectKey, SteppedLoad]
) -> None:
    assert below_need(BUSY, followed.writes(BUSY), loads[BUSY.key], AS_FOUND[BUSY.key]) == []


def test_clocks_in_status_are_those_of_the_driver(followed: LiveCentre) -> None:
    def agrees() -> bool:
        shown = {int(g["appliedMHz"]) for g in followed.gpus() if g.get("appliedMHz")}
        return bool(shown) and shown == set(followed.locked().values())

    wait_for("status as the driver", agrees)


def test_lowered_ceiling_resets_clocks_and_keeps_replicas(ladder: LiveCentre) -> None:
    wait_for("locked clocks", ladder.locked)
    ladder.set_policy(Mode.OBSERVE)
    try:
        wait_for("no locked clock", lambda: not ladder.locked())
        for pool in (LADDER, BUSY):
            wait_for(
                "the ceiling in status",
                lambda pool=pool: _stands(ladder, pool, "Actuated", "False", reasons.MODE_CEILING),
            )
        # The audit log tells of a write a moment after it was made.
        wait_for("replicas as last asked", lambda: _as_last_asked(ladder, BUSY))
        assert ladder.replicas(LADDER) == {"tp4": 2}
    finally:
        ladder.set_policy()
    wait_for("clocks again", ladder.locked)


def test_answers_that_a_short_grace_period_cuts_off_are_told(
    ladder: LiveCentre, loads: Mapping[ObjectKey, SteppedLoad]
) -> None:
    loads[LADDER.key].step_to(0.0)
    inputs, outputs = np.full(8, 64), np.full(8, 6000)
    ladder.control.submit(str(LADDER.key), 0.1 * np.arange(8), inputs, outputs, delay_s=3.0)
    wait_for("the long requests alone, in both pods", lambda: set(_running(ladder, LADDER).values()) == {4})
    victim = next(iter(_running(ladder, LADDER)))
    here = f"-n={LADDER.key.namespace}"
    ladder.centre.plane.kubectl("delete", "pod", victim, here, "--grace-period=8", "--wait=false")
    lost = wait_for("an Event of lost requests", lambda: told(ladder, LADDER, reasons.REQUESTS_LOST))
    assert victim in lost[0]
    assert "raise terminationGracePeriodSeconds" in lost[0]


def test_ended_agent_resets_the_clocks_of_its_node(ladder: LiveCentre) -> None:
    gpu = wait_for("a locked clock", lambda: next(iter(ladder.locked()), ""))
    node = gpu.partition("/")[0]
    agent = ladder.centre.processes.children[f"agent-{node}"]
    agent.signal(signal.SIGTERM)
    assert agent.wait(15.0)
    assert not any(name.startswith(f"{node}/") for name in ladder.locked())


def _running(live: LiveCentre, pool: Any) -> dict[str, int]:
    """Requests that run in each pod, as Prometheus saw last."""
    namespace, model = pool.key.namespace, pool.demand_source.served_model_name
    promql = f'vllm:num_requests_running{{namespace="{namespace}",model_name="{model}"}}'
    return {s["metric"]["pod"]: int(s["value"][1]) for s in live.centre.prometheus.query(promql)}


def _endings(live: LiveCentre, pool: Any) -> set[str]:
    """Reasons of Events about pods of a pool that are gone."""
    events = live.centre.get("events", f"-n={pool.key.namespace}")["items"]
    ended = {reasons.DRAINED, reasons.DRAIN_UNSEEN, reasons.REQUESTS_LOST}
    about = (e for e in events if e["involvedObject"]["name"] == pool.key.name)
    return {str(e["reason"]) for e in about} & ended


def _as_last_asked(live: LiveCentre, pool: Any) -> bool:
    """Whether the replicas are those that Joulery asked for last, where it ever did."""
    asked = [w.want for w in live.writes(pool)][-1:]
    return all(live.replicas(pool)["tp4"] == want for want in asked)


def _fewer(advice: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return advice if advice is not None and advice["replicas"] < 2 else {}


def _lowered(clocks: set[int]) -> set[int]:
    return clocks if clocks and max(clocks) < CLOCKS.ceiling_mhz else set()


def _ready_since(pod: Mapping[str, Any]) -> float:
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    return datetime.fromisoformat(ready["lastTransitionTime"].replace("Z", "+00:00")).timestamp()

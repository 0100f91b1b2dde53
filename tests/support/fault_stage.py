"""Strikes a fault, cures it, and judges what came of it; a stage that a failed fault left dirty is built anew.

With each cure the load of all pools steps, up and down in turn: whole again means that the new load was seen,
planned for and is carried.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from audited_need import below_need, repeated
from fault_centre import FaultyCentre
from fault_scene import CADENCE, HIGH, LOW, POOL, POOLS, Scene
from half_applied import half_applied
from joulery.agent.pod_resources import PodResources
from joulery.domain.pool import Pool
from joulery.emulator.gpus import gpu_uuid
from joulery.errors import ClusterError
from live_centre import SteppedLoad, capacity_rps, live_centre, wait_for

AS_FOUND = {"faulty": {"tp4": 1}, "beside": {"tp2": 1}}
RECOVERY_LIMIT_S = 150.0
# LOW and HIGH are further apart, so that a load which is still that of before does not pass for the one of now.
_LOAD_TOLERANCE = 0.25
KINDS = "inferencepools,energypolicies,energyprofiles,gpunodes,deployments,namespaces,nodes,pods,crd"


@dataclass(frozen=True)
class Fault:
    """`strike` injects, waits for what must show meanwhile, and cures; `row` is the row of design §12."""

    name: str
    row: str
    strike: Callable[[Scene], None]


@dataclass
class Outcome:
    """One row of build/soak.json."""

    name: str
    row: str
    outcome: str = "failed"
    recoverySeconds: float | None = None
    problem: str = ""
    loadStepped: str = ""
    belowNeed: list[str] = field(default_factory=list)
    repeatedWrites: list[str] = field(default_factory=list)
    halfApplied: list[str] = field(default_factory=list)
    finalizers: list[str] = field(default_factory=list)
    leakedClocks: list[str] = field(default_factory=list)

    @property
    def harm(self) -> dict[str, list[str]]:
        """What must never happen, where it did."""
        return {k: v for k, v in asdict(self).items() if isinstance(v, list) and v}


def run_fault(scene: Scene, fault: Fault, outcome: Outcome) -> None:
    """Strike, cure, and measure until the system is whole; the outcome is filled in whatever comes."""
    began_s = time.time()
    try:
        fault.strike(scene)
        cured_s = time.monotonic()
        outcome.loadStepped = _step(scene)
        wait_until_whole(scene, f"whole again after {fault.name}")
        outcome.recoverySeconds = round(time.monotonic() - cured_s, 1)
        outcome.outcome = "recovered"
    finally:
        _judge(scene, outcome, began_s)


def _step(scene: Scene) -> str:
    is_low = scene.loads[POOL].rate_rps < capacity_rps(POOL, "tp4") * (LOW + HIGH) / 2.0
    scene.set_load(HIGH if is_low else LOW)
    return "up" if is_low else "down"


def wait_until_whole(scene: Scene, what: str) -> None:
    """AssertionError with what was missing in turn when time is up."""
    began_s = time.monotonic()
    missing: dict[str, float] = {}

    def is_whole() -> bool:
        try:
            found = unmet(scene)
        except ClusterError as error:  # kinds just put back are served a moment later
            found = str(error)
        if found:
            missing.pop(found, None)
            missing[found] = time.monotonic() - began_s
        return not found

    try:
        wait_for(what, is_whole, RECOVERY_LIMIT_S)
    except AssertionError as late:
        trail = "; ".join(f"until {at_s:.0f} s: {found}" for found, at_s in missing.items())
        raise AssertionError(f"{late}: {trail}") from None


def unmet(scene: Scene) -> str:
    """What the system lacks to be whole, empty where nothing: every pool is Ready, knows the load of now, runs as
    planned and carries it; clocks are governed on exactly the GPUs of engines."""
    assert all(load.is_running for load in scene.loads.values()), "the test's own load ended"
    told = scene.readiness()
    if told != "Ready\n":
        return f"readiness says {told!r}"
    lacking = next((text for pool in POOLS if (text := _lacking(scene, pool))), "")
    if lacking:
        return lacking
    locked, held = scene_locks(scene), held_gpus(scene)
    return "" if locked == held else f"clocks locked on {sorted(locked)}, GPUs held {sorted(held)}"


def _lacking(scene: Scene, pool: Pool) -> str:
    status, rate_rps = scene.live.pool(pool).get("status", {}), scene.loads[pool].rate_rps
    conditions = {c["type"]: c for c in status.get("conditions", ())}
    for kind in ("MetricsAvailable", "Planned", "Actuated", "Ready"):
        found = conditions.get(kind, {})
        if found.get("status") != "True":
            return f"{pool.key}: {kind} is {found.get('status')}: {found.get('message')}"
    measured_rps = status.get("requestsPerMinute", 0) / 60.0
    if abs(measured_rps - rate_rps) > _LOAD_TOLERANCE * rate_rps:
        return f"{pool.key}: {measured_rps:.1f} requests/s in status, {rate_rps:.1f} are sent"
    asked, ready = scene.live.replicas(pool), scene.live.ready(pool)
    if not asked == ready == _target(status):
        return f"{pool.key}: {asked} asked, {ready} ready, {_target(status)} planned"
    carried_rps = sum(ready.values()) * capacity_rps(pool, pool.variants[0].name)
    return "" if carried_rps >= rate_rps else f"{pool.key}: {ready} carry less than {rate_rps:.1f} requests/s"


def _target(status: dict[str, Any]) -> dict[str, int | None]:
    return {v["name"]: v.get("targetReplicas") for v in status.get("variants", ())}


def scene_locks(scene: Scene) -> set[str]:
    """UUIDs of GPUs whose clocks are locked, by the emulated driver's own word."""
    locked = (name.partition("/") for name in scene.live.locked())
    return {gpu_uuid(node, int(index)) for node, _, index in locked}


def held_gpus(scene: Scene) -> set[str]:
    """UUIDs of GPUs that engines of our pools hold, by the word of the kubelets, which agents hear too."""
    return asyncio.run(_held(scene))


async def _held(scene: Scene) -> set[str]:
    ours = {pool.key.namespace for pool in POOLS}
    held: set[str] = set()
    for node in scene.live.control.nodes:
        kubelet = PodResources(scene.centre.emulator_data / "pr" / f"{node}.sock", 5.0)
        try:
            held |= {d for p in await kubelet.list() if p.namespace in ours for d in p.device_ids}
        finally:
            await kubelet.close()
    return held


def _judge(scene: Scene, outcome: Outcome, began_s: float) -> None:
    """Fill in what must be empty."""
    for pool in POOLS:
        fresh = [w for w in scene.writes(pool) if w.at_s >= began_s]
        outcome.belowNeed += below_need(pool, fresh, scene.loads[pool], scene.asked_at(pool, began_s))
        outcome.repeatedWrites += [f"{target} by {agent}" for target, agent in repeated(fresh)]
        outcome.halfApplied += half_applied(partial(_differing, scene, pool))
    outcome.finalizers += _kept(scene)
    outcome.leakedClocks += sorted(scene_locks(scene) - held_gpus(scene))


def _differing(scene: Scene, pool: Pool) -> list[str]:
    asked, target = scene.live.replicas(pool), _target(scene.live.pool(pool).get("status", {}))
    return [f"{n}: {asked[n]} asked, {target.get(n)} planned" for n in asked if asked[n] != target.get(n)]


def _kept(scene: Scene) -> list[str]:
    """Objects with a finalizer that is not the API server's own, and all but pods that are stuck in deletion."""
    items = scene.centre.get(KINDS, "-A")["items"]
    return [
        f"{o['kind']} {o['metadata']['name']}"
        for o in items
        if [
            f for f in o["metadata"].get("finalizers", ()) if ".k8s.io" not in f and f != "foregroundDeletion"
        ]
        or (o["metadata"].get("deletionTimestamp") and o["kind"] != "Pod")
    ]


class FaultStage:
    """The scene that faults are tried on; built when it is first asked for, and anew after `discard`."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._scene: Scene | None = None

    def scene(self) -> Scene:
        """A whole data centre."""
        if self._scene is None:
            self._scene = self._open.enter_context(fault_scene(self._folder()))
        return self._scene

    def discard(self) -> None:
        """End what runs; the next fault gets another."""
        self._scene = None
        self._open.close()


@contextmanager
def fault_scene(data: Path) -> Iterator[Scene]:
    """The data centre with two pools under load, whole."""
    with ExitStack() as stack:
        live = stack.enter_context(live_centre(data, [p.key for p in POOLS], nodes=3, of=FaultyCentre))
        live.set_policy(cadence=CADENCE)
        for pool in POOLS:
            live.install(pool, AS_FOUND[pool.key.name])
        loads = {p: stack.enter_context(SteppedLoad(live.control, str(p.key))) for p in POOLS}
        assert isinstance(live.centre, FaultyCentre)
        scene = Scene(live, live.centre, loads)
        scene.set_load(LOW)
        wait_until_whole(scene, "whole before any fault")
        yield scene


def store(path: Path, outcomes: Sequence[Outcome], catalog: Collection[str]) -> None:
    """Put rows into build/soak.json beside what other campaigns and earlier parts of this one wrote."""
    path.parent.mkdir(exist_ok=True)
    document = json.loads(path.read_text()) if path.exists() else {}
    earlier = {row["name"]: row for row in document.get("faults", ()) if row["name"] in catalog}
    rows = list((earlier | {o.name: asdict(o) for o in outcomes}).values())
    document |= {"schemaVersion": 1, "faults": rows, "faultTotals": _totals(rows)}
    path.write_text(json.dumps(document, indent=2) + "\n")


def _totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    recovered = [row["recoverySeconds"] for row in rows if row["outcome"] == "recovered"]
    harm = ("belowNeed", "repeatedWrites", "halfApplied", "finalizers", "leakedClocks")
    return {
        "faults": len(rows),
        "recovered": len(recovered),
        "longestRecoverySeconds": max(recovered, default=None),
        **{kind: sum(len(row[kind]) for row in rows) for kind in harm},
    }

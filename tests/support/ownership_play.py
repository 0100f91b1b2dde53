"""Plays cells of the ownership matrix side by side: one pool and one workload each, under one controller."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from controller_cluster import Manifest, apply, condition, deployment, namespace, pool
from fake_prometheus import FakePrometheus, Load
from joulery.domain import reasons
from joulery.emulator.controlplane import ControlPlane
from ownership_appliers import Release
from ownership_cells import AUTOSCALED, BY_HAND, CELLS, DECLARED, WANTED, Cell, Next, Says, Sees

# What one instance of four GPUs carries within the objective lies between this load and half of it.
_LOAD_RPS = 12.0
_POLL_S = 0.5
# An end state must hold for so many polls: several cycles of the controller.
_STILL_POLLS = 6
_PATIENCE_S = 60.0
_CYCLES_POLLS = 6
_LONGEST_CONTEST = 6


@dataclass(frozen=True, slots=True)
class Stand:
    """One workload and its pool's condition Actuated as they stand."""

    replicas: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one cell; `writes` are the values that Joulery set, `events` those about its pool."""

    stand: Stand
    sees: Sees
    writes: tuple[int, ...]
    events: Counter[str]


@dataclass(slots=True)
class Matrix:
    """Cells played side by side in one namespace."""

    plane: ControlPlane
    prometheus: FakePrometheus
    namespace: str
    stands: dict[str, Stand] = field(default_factory=dict)
    _fresh: asyncio.Event = field(default_factory=asyncio.Event)

    def prepare(self, cells: Iterable[Cell]) -> dict[Cell, Release]:
        """Workloads as their appliers leave them, then their pools."""
        apply(self.plane, namespace(self.namespace))
        releases = {
            cell: Release(self.plane, cell.applier, self._workload(cell, cell.is_declared)) for cell in cells
        }
        for cell, release in releases.items():
            done = release.create()
            assert done.returncode == 0, done.stderr
            labels = {"namespace": self.namespace, "model_name": f"{self.namespace}-{cell.name}"}
            self.prometheus.loads.append(Load(labels, requests_per_s=_LOAD_RPS))
        apply(self.plane, *(self._pool(cell) for cell in releases))
        return releases

    async def _watch(self) -> None:
        """Read all pools and workloads again and again."""
        while True:
            await asyncio.to_thread(self._read)
            told, self._fresh = self._fresh, asyncio.Event()
            told.set()
            await asyncio.sleep(_POLL_S)

    def _read(self) -> None:
        both = ("get", "deployments,inferencepools.joulery.dev", f"-n={self.namespace}", "-o=json")
        items = json.loads(self.plane.kubectl(*both).stdout)["items"]
        replicas = {i["metadata"]["name"]: i["spec"]["replicas"] for i in items if i["kind"] == "Deployment"}
        for item in items:
            if item["kind"] == "InferencePool":
                name = item["metadata"]["name"]
                actuated = condition(item, "Actuated")
                count = replicas[f"{name}-tp4"]
                self.stands[name] = Stand(count, actuated.get("reason", ""), actuated.get("message", ""))

    async def play(self, releases: Mapping[Cell, Release]) -> dict[Cell, Played]:
        """All cells at once, from their first stands over what happens next to the end."""
        watching = asyncio.create_task(self._watch())
        try:
            met = await asyncio.gather(*(self._play(cell, release) for cell, release in releases.items()))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        writes, events = self._writes(), self._events()
        return {
            cell: Played(self.stands[cell.name], sees, tuple(writes[cell.name]), events[cell.name])
            for cell, sees in zip(releases, met, strict=True)
        }

    async def _play(self, cell: Cell, release: Release) -> Sees:
        first = _first_of(cell)
        await self._reached(cell, first.outcome.replicas, first.outcome.reason)
        await self._happen(cell, release)
        await self._reached(cell, cell.outcome.replicas, cell.outcome.reason)
        return await asyncio.to_thread(release.sees)

    async def _reached(self, cell: Cell, replicas: int, reason: str) -> None:
        """Until the stand is as told and stays so; when patience ends it is left to the test to say what it is."""
        still = 0
        deadline_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline_s:
            await self._fresh.wait()
            stand = self.stands.get(cell.name)
            is_there = stand is not None and (stand.replicas, stand.reason) == (replicas, reason)
            still = still + 1 if is_there else 0
            if still >= _STILL_POLLS:
                return

    async def _happen(self, cell: Cell, release: Release) -> None:
        happens = {
            Next.SAME: lambda: release.apply(release.manifest),
            Next.IMAGE: lambda: release.apply(_with_image(release.manifest)),
            Next.DROP: lambda: release.apply(self._workload(cell, declares=False)),
            Next.DECLARE: lambda: release.apply(self._workload(cell, declares=True)),
            Next.SCALE: lambda: self._scale(cell, BY_HAND),
            Next.SCALE_DOWN: lambda: self._scale(cell, 1),
            Next.SCALED_OBJECT: lambda: apply(self.plane, self._scaled_object(cell)),
        }
        if cell.then in happens:
            await asyncio.to_thread(happens[cell.then])
        elif cell.then is Next.AGAIN:
            await self._again_and_again(cell, release)
        elif cell.then is Next.SCALE_THEN_SPEC:
            await asyncio.to_thread(self._scale, cell, BY_HAND)
            await self._reached(cell, BY_HAND, reasons.REPLICAS_HELD)
            changed = self._pool(cell)
            changed["spec"]["sheddingWeight"] = 2
            await asyncio.to_thread(apply, self.plane, changed)
        elif cell.then is not Next.NOTHING:
            await self._autoscale(cell)

    async def _autoscale(self, cell: Cell) -> None:
        least = 1 if cell.then is Next.HPA_RESTS else AUTOSCALED
        bounds = (f"--min={least}", "--max=8")
        await asyncio.to_thread(
            self.plane.kubectl, "autoscale", f"deployment/{cell.name}-tp4", f"-n={self.namespace}", *bounds
        )
        if cell.then is Next.HPA_GOES:
            await self._reached(cell, AUTOSCALED, reasons.FOREIGN_SCALER)
            await asyncio.to_thread(
                self.plane.kubectl, "delete", "hpa", f"{cell.name}-tp4", f"-n={self.namespace}"
            )

    async def _again_and_again(self, cell: Cell, release: Release) -> None:
        """As a GitOps controller heals itself: whenever the value was moved, until nobody moves it any more."""
        for _ in range(_LONGEST_CONTEST):
            before = self.stands[cell.name]
            if before.replicas == WANTED:
                await asyncio.to_thread(release.apply, release.manifest)
            await self._moved(cell)

    async def _moved(self, cell: Cell) -> None:
        """Until Joulery has written again, or two of its cycles have passed."""
        for poll in range(_CYCLES_POLLS):
            await self._fresh.wait()
            if poll > 0 and self.stands[cell.name].replicas == WANTED:
                return

    def _events(self) -> dict[str, Counter[str]]:
        told = ("get", "events.events.k8s.io", f"-n={self.namespace}", "-o=json")
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for event in json.loads(self.plane.kubectl(*told).stdout)["items"]:
            found[event["regarding"]["name"]][event["reason"]] += 1
        return found

    def _scale(self, cell: Cell, replicas: int) -> None:
        self.plane.kubectl(
            "scale", f"deployment/{cell.name}-tp4", f"-n={self.namespace}", f"--replicas={replicas}"
        )

    def _writes(self) -> dict[str, list[int]]:
        """Values that the controller set, in order, as the audit log has them."""
        found: dict[str, list[int]] = defaultdict(list)
        for event in self.plane.audit_events():
            ref: Any = event.get("objectRef", {})
            if (ref.get("namespace"), ref.get("subresource")) != (self.namespace, "scale"):
                continue
            if "plan/" in str(event.get("userAgent")) and _code(event) == 200:
                found[ref["name"].removesuffix("-tp4")].append(_value(event))
        return found

    def _workload(self, cell: Cell, declares: bool) -> Manifest:
        made = deployment(self.namespace, f"{cell.name}-tp4", replicas=DECLARED)
        if not declares:
            del made["spec"]["replicas"]
        return made

    def _pool(self, cell: Cell) -> Manifest:
        made = pool(self.namespace, cell.name, most=WANTED, knobs=("Replicas",))
        made["spec"]["scaling"] = {"adopt": "Declared" if cell.says is Says.ADOPTED else "Undeclared"}
        for variant in made["spec"]["variants"]:
            variant["minReplicas"] = WANTED
        return made

    def _scaled_object(self, cell: Cell) -> Manifest:
        return {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": cell.name, "namespace": self.namespace},
            "spec": {"scaleTargetRef": {"name": f"{cell.name}-tp4"}},
        }


def _code(event: Mapping[str, Any]) -> int:
    return int(event.get("responseStatus", {}).get("code", 0))


def _value(event: Mapping[str, Any]) -> int:
    return int(event["requestObject"][1]["value"])


def _first_of(cell: Cell) -> Cell:
    """The cell of the same applier and manifest in which nothing happens next."""
    return next(c for c in CELLS if (c.applier, c.says, c.then) == (cell.applier, cell.says, Next.NOTHING))


def _with_image(manifest: Mapping[str, Any]) -> Manifest:
    """Another build of the same engine version: nothing that the profile depends on."""
    changed = deepcopy(dict(manifest))
    changed["spec"]["template"]["spec"]["containers"][0]["image"] += "-b2"
    return changed


SCALED_OBJECTS_CRD: Manifest = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "scaledobjects.keda.sh"},
    "spec": {
        "group": "keda.sh",
        "scope": "Namespaced",
        "names": {
            "kind": "ScaledObject",
            "plural": "scaledobjects",
            "singular": "scaledobject",
            "listKind": "ScaledObjectList",
        },
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}

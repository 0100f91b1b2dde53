"""Faults of objects: kinds and objects taken away while in use, and malformed ones."""

from __future__ import annotations

from typing import Any

from fault_scene import BYSTANDER, CADENCE, POOL, POOLS, Scene
from fault_stage import AS_FOUND, Fault
from joulery.demo import objects
from joulery.domain import reasons
from joulery.simulator.truth import shipped_manifest
from live_centre import STARTUP_S, wait_for

GONE = "operator or CRDs uninstalled"
INVALID = "invalid or contradictory objects"
KINDS = ("inferencepools", "energypolicies", "energyprofiles", "gpunodes")
NAMESPACE = POOL.key.namespace


def _put_back(scene: Scene) -> None:
    """Policy, profile and pools as a user applies them."""
    scene.live.set_policy(cadence=CADENCE)
    scene.centre.apply([shipped_manifest(), *map(objects.inference_pool, POOLS)])


def _crds(scene: Scene) -> None:
    """All kinds removed: workloads stay as they are, at default clocks, and nothing is left in Terminating."""
    before = scene.replicas()
    names = [f"{kind}.joulery.dev" for kind in KINDS]
    scene.kubectl("delete", "crd", *names, "--timeout=30s")
    scene.held_up(reasons.CRD_MISSING)
    wait_for("default clocks without kinds", lambda: not scene.live.locked(), 45.0)
    assert scene.replicas() == before
    scene.kubectl("apply", "--server-side", "-f", str(scene.centre.paths.manifests.parent / "crds"))
    scene.kubectl("wait", "--for=condition=Established", "crd", *names, "--timeout=30s")
    _put_back(scene)


def _pool(scene: Scene) -> None:
    """A pool removed: its workloads stay, its clocks are given back; the other pool goes on."""
    before = scene.replicas()
    scene.kubectl("delete", "inferencepools.joulery.dev", POOL.key.name, f"-n={NAMESPACE}", "--timeout=20s")

    def clocked() -> set[str]:
        return {str(g.get("ownerPod")) for g in scene.live.gpus() if g.get("appliedMHz")}

    wait_for(
        "its clocks are given back", lambda: not [p for p in clocked() if p.startswith(POOL.key.name)], 40.0
    )
    assert scene.replicas()[f"{POOL.key.name}/tp4"] == before[f"{POOL.key.name}/tp4"]
    scene.tells("Ready", "True", pool=BYSTANDER)
    _put_back(scene)


def _profile(scene: Scene) -> None:
    before = scene.replicas()
    name = str(shipped_manifest()["metadata"]["name"])
    scene.kubectl("delete", "energyprofiles.joulery.dev", name, "--timeout=20s")
    message = scene.tells("ProfileAvailable", "False", reasons.PROFILE_MISSING)
    assert name in message, message
    assert scene.replicas() == before
    _put_back(scene)


def _policy(scene: Scene) -> None:
    """Without a policy nobody allows anything: pools are no longer acted on, clocks are given back."""
    before = scene.replicas()
    scene.kubectl("delete", "energypolicies.joulery.dev", "default", "--timeout=20s")
    wait_for("default clocks without a policy", lambda: not scene.live.locked(), 45.0)
    assert scene.replicas() == before
    _put_back(scene)


def _target(scene: Scene) -> None:
    """A workload removed and put back by its owner."""
    asked = scene.live.replicas(POOL)["tp4"]
    target = POOL.variants[0].target.name
    scene.kubectl("delete", "deployment", target, f"-n={NAMESPACE}", "--timeout=20s")
    message = scene.tells("Actuated", "False", reasons.TARGET_NOT_FOUND)
    assert target in message, message
    scene.tells("Ready", "True", pool=BYSTANDER)
    scene.centre.apply([objects.deployment(POOL, POOL.variants[0], asked, STARTUP_S)])
    scene.carries()


def _namespace(scene: Scene) -> None:
    """The pools' namespace removed with all that is in it, and made anew."""
    scene.kubectl("delete", "namespace", NAMESPACE, "--timeout=90s")
    wait_for("no clock without an engine", lambda: not scene.live.locked(), 30.0)
    workloads: list[Any] = [objects.namespace(NAMESPACE)]
    for pool in POOLS:
        running = AS_FOUND[pool.key.name]
        workloads += [objects.deployment(pool, v, running[v.name], STARTUP_S) for v in pool.variants]
    scene.centre.apply(workloads)
    _put_back(scene)


FAULTS = (
    Fault("kinds-removed", GONE, _crds),
    Fault("pool-removed", GONE, _pool),
    Fault("profile-removed", INVALID, _profile),
    Fault("policy-removed", INVALID, _policy),
    Fault("target-removed", INVALID, _target),
    Fault("namespace-removed", GONE, _namespace),
)

"""Rights revoked and given back: what is refused is named, and used again as soon as it is granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fault_scene import LOW, POOL, SURGE, Scene
from fault_stage import Fault
from joulery.domain import reasons
from live_centre import capacity_rps, wait_for

ROW = "API server down or slow; 409, 429, 5xx; watch lost"
CONTROLLER = "clusterrole joulery-controller"
CONTROLLER_LEASE = "role joulery-controller -n=joulery-system"
AGENT = "clusterrole joulery-agent"


def _spared(resource: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    def spare(rule: Mapping[str, Any]) -> Mapping[str, Any]:
        kept = [r for r in rule["resources"] if r != resource]
        return {**rule, "resources": kept or ["none"]}

    return spare


def _read(resource: str) -> Callable[[Scene], None]:
    """A right without which no cycle is whole; open watches are cut, which RBAC alone would leave open."""

    def strike(scene: Scene) -> None:
        before = scene.replicas()
        with scene.revoked(CONTROLLER, _spared(resource)):
            scene.centre.api.cut()
            scene.held_up(reasons.FORBIDDEN)
            assert "apply the RBAC of this release" in scene.readiness()
            assert scene.replicas() == before

    return strike


def _status(scene: Scene) -> None:
    """Without its restart block no pool is scaled."""
    with scene.revoked(CONTROLLER, _spared("inferencepools/status")):
        wait_for("the refused status shows", lambda: "status" in scene.readiness())
        before = scene.replicas()
        scene.set_load(SURGE)
        scene.goes_on(3)
        assert scene.replicas() == before
    scene.carries()


def _scale(scene: Scene) -> None:
    # GPUs for one more, whatever the faults before have left running; then that one is due.
    scene.set_load(LOW)
    wait_for("fewer than a surge needs", lambda: sum(scene.live.replicas(POOL).values()) < SURGE, 180.0)
    more = sum(scene.live.replicas(POOL).values()) + 0.6
    with scene.revoked(CONTROLLER, _spared("deployments/scale")):
        scene.loads[POOL].step_to(more * capacity_rps(POOL, "tp4"))
        message = scene.tells("Actuated", "False", reasons.WRITE_REFUSED)
        assert "grant the controller's ClusterRole" in message, message
    scene.carries()


def _lease(scene: Scene) -> None:
    """Agents cannot tell a mute operator from a dead one: default clocks until they hear of it again."""
    with scene.revoked(CONTROLLER_LEASE, _spared("leases")):
        wait_for("default clocks without a Lease", lambda: not scene.live.locked(), 45.0)
        scene.goes_on(1)


def _agent(scene: Scene) -> None:
    with scene.revoked(AGENT, _spared("gpunodes")):
        scene.centre.api.cut()
        scene.tells("NodeAgentsReady", "False")
        assert scene.live.locked(), "the last tables hold"


FAULTS = (
    *(Fault(f"{kind}-forbidden", ROW, _read(kind)) for kind in ("energyprofiles", "nodes", "pods")),
    Fault("status-forbidden", ROW, _status),
    Fault("scale-forbidden", ROW, _scale),
    Fault("lease-forbidden", ROW, _lease),
    Fault("agent-forbidden", ROW, _agent),
)

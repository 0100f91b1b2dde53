"""Somebody else writes replicas: an autoscaler that appears, a person, an applier that sets them back."""

from __future__ import annotations

import json

from fault_scene import POOL, SURGE, Scene
from fault_stage import Fault
from joulery.demo import objects
from joulery.domain import reasons
from live_centre import STARTUP_S, wait_for

ROW = "someone else owns replicas or clocks"
NAMESPACE = POOL.key.namespace
TARGET = POOL.variants[0].target.name
POOL_NAME = ("inferencepools.joulery.dev", POOL.key.name, f"-n={NAMESPACE}")


def _autoscaled(scene: Scene) -> None:
    """An autoscaler that appears is named, and its workload left to it; gone, the workload is ours again."""
    scene.carries()
    asked = str(scene.live.replicas(POOL)["tp4"])
    scene.kubectl("autoscale", f"deployment/{TARGET}", f"-n={NAMESPACE}", f"--min={asked}", f"--max={asked}")
    try:
        message = scene.tells("Actuated", "False", reasons.FOREIGN_SCALER)
        assert TARGET in message, message
        assert str(scene.live.replicas(POOL)["tp4"]) == asked
    finally:
        scene.kubectl("delete", "hpa", TARGET, f"-n={NAMESPACE}")
    scene.tells("Actuated", "True")


def _by_hand(scene: Scene) -> None:
    """What a person sets stays, until that person says otherwise by changing the pool."""
    scene.carries()
    wanted = scene.live.replicas(POOL)["tp4"] + 1
    scene.kubectl("scale", f"deployment/{TARGET}", f"-n={NAMESPACE}", f"--replicas={wanted}")
    message = scene.tells("Actuated", "False", reasons.REPLICAS_HELD)
    assert "change the pool's spec" in message, message
    scene.goes_on(5)
    assert scene.live.replicas(POOL)["tp4"] == wanted
    _respecify(scene)


def _set_back(scene: Scene) -> None:
    """An applier that heals itself, though its replicas were to be adopted, wins after three rounds and is named."""
    scene.carries()
    scene.patch(*POOL_NAME, body={"spec": {"scaling": {"adopt": "Declared"}}})
    declared = 1
    deployment = objects.deployment(POOL, POOL.variants[0], declared, STARTUP_S)
    scene.set_load(SURGE)

    def contested() -> bool:
        if scene.live.replicas(POOL)["tp4"] != declared:
            scene.kubectl(
                *("apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-"),
                stdin=json.dumps(deployment),
            )
        status = scene.live.pool(POOL).get("status", {})
        return any(c["reason"] == reasons.REPLICAS_CONTESTED for c in status.get("conditions", ()))

    wait_for("the contest is given up", contested, 120.0)
    writes = len(scene.writes(POOL))
    message = scene.tells("Actuated", "False", reasons.REPLICAS_CONTESTED)
    assert "set back three times" in message, message
    scene.goes_on(5)
    assert len(scene.writes(POOL)) == writes, "stands down, no fighting"
    _respecify(scene)
    scene.carries()


def _respecify(scene: Scene) -> None:
    """Any change of the pool's specification is the word to scale it again."""
    variants = scene.live.pool(POOL)["spec"]["variants"]
    most = variants[0]["maxReplicas"]
    change = [{"op": "replace", "path": "/spec/variants/0/maxReplicas", "value": most - 1}]
    scene.patch(*POOL_NAME, kind="json", body=change)
    scene.tells("Actuated", "True", within_s=60.0)


FAULTS = (
    Fault("autoscaler-appears", ROW, _autoscaled),
    Fault("scaled-by-hand", ROW, _by_hand),
    Fault("set-back-by-gitops", ROW, _set_back),
)

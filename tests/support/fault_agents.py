"""Faults of node agents, of the GPUs and drivers they set, and of the engines they watch."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fault_scene import POOL, Scene
from fault_stage import Fault
from joulery.domain import reasons
from joulery.emulator.gpus import Fault as GpuFault
from live_centre import CLOCKS, wait_for

ROW = "agent killed, node rebooted, GPU lost, driver reset"
METRICS = "Prometheus down, metrics stale, NaN, counter reset, or absurd"


def _locked_gpu(scene: Scene) -> tuple[str, int]:
    """A node on which an engine of the pool runs, and one of its locked GPUs."""

    def found() -> tuple[str, int] | None:
        nodes = {p["spec"].get("nodeName") for p in scene.live.pods(POOL)}
        locked = (name.partition("/") for name in scene.live.locked())
        return next(((node, int(index)) for node, _, index in locked if node in nodes), None)

    gpu = wait_for("a locked GPU on a node of the pool", found)
    assert gpu is not None
    return gpu


def _locked_node(scene: Scene) -> str:
    return _locked_gpu(scene)[0]


def _gpus_of(scene: Scene, node: str) -> list[dict[str, Any]]:
    status = scene.centre.get("gpunodes.joulery.dev", node).get("status", {})
    return list(status.get("gpus", ()))


def _told_by_gpu(scene: Scene, node: str, reason: str, text: str) -> None:
    def told() -> bool:
        return any(g["reason"] == reason and text in g.get("message", "") for g in _gpus_of(scene, node))

    wait_for(f"a GPU of {node} says {reason}: {text}", told, 40.0)


def _ended(number: signal.Signals) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        node = _locked_node(scene)
        scene.agent(node).signal(number)
        assert scene.agent(node).wait(15.0)
        scene.centre.start_agents([node])

    return strike


def _frozen(scene: Scene) -> None:
    node = _locked_node(scene)
    scene.agent(node).signal(signal.SIGSTOP)
    scene.goes_on(5)
    scene.agent(node).signal(signal.SIGCONT)


def _disk_full(scene: Scene) -> None:
    """What cannot be written down is not locked: default clocks, and the state file is named."""
    node = _locked_node(scene)
    scene.agent(node).signal(signal.SIGTERM)
    assert scene.agent(node).wait(15.0)
    full = scene.centre.paths.data / "agents" / node / "locked-gpus.new"
    full.symlink_to("/dev/full")
    try:
        scene.centre.start_agents([node])
        _told_by_gpu(scene, node, reasons.CLOCK_REFUSED, "state file")
        assert not [gpu for gpu in scene.live.locked() if gpu.startswith(f"{node}/")]
    finally:
        full.unlink()


def _rebooted(scene: Scene) -> None:
    """A reboot takes locks with it; the file of the earlier boot names nothing any more."""
    node = _locked_node(scene)
    scene.agent(node).kill()
    scene.live.control.mishap("ReloadDriver", node)
    boot_id = str(uuid.uuid4())
    scene.centre.boot_id_file(node).write_text(boot_id)
    scene.centre.start_agents([node])

    def told() -> bool:
        return bool(scene.centre.get("gpunodes.joulery.dev", node)["status"].get("bootId") == boot_id)

    wait_for("the new boot is told", told)


def _driver_reloaded(scene: Scene) -> None:
    node = _locked_node(scene)
    scene.live.control.mishap("ReloadDriver", node)
    wait_for(
        "clocks are locked anew", lambda: any(gpu.startswith(f"{node}/") for gpu in scene.live.locked()), 40.0
    )


def _gpu(fault: GpuFault, value: int, text: str) -> Callable[[Scene], None]:
    """A GPU that an engine holds fails: its node's agent says so, and so does the pool."""

    def strike(scene: Scene) -> None:
        node, index = _locked_gpu(scene)
        with scene.gpus(node) as gpus:
            gpus.set_fault(index, fault, value)
            try:
                _told_by_gpu(scene, node, reasons.CLOCK_REFUSED, text)
                scene.tells("NodeAgentsReady", "False")
            finally:
                gpus.set_fault(index, fault, 0)

    return strike


@contextmanager
def _hidden(scene: Scene, pods: list[str]) -> Iterator[None]:
    for pod in pods:
        scene.live.control.mishap("HidePages", pod)
    try:
        yield
    finally:
        for pod in pods:
            scene.live.control.mishap("ShowPages", pod)


def _pods(scene: Scene) -> list[str]:
    return [f"{p['metadata']['namespace']}/{p['metadata']['name']}" for p in scene.live.pods(POOL)]


def _page_gone(scene: Scene) -> None:
    """An engine whose page is gone runs at its highest clock, and its pool does not shrink for load not seen."""
    scene.carries()
    before, pod = scene.live.replicas(POOL), _pods(scene)[0]

    def clocks() -> set[int]:
        ours = [g for g in scene.live.gpus() if f"{g.get('ownerNamespace')}/{g.get('ownerPod')}" == pod]
        return {int(g.get("appliedMHz") or 0) for g in ours}

    with _hidden(scene, [pod]):
        wait_for("the highest clock", lambda: clocks() == {CLOCKS.ceiling_mhz}, 40.0)
        scene.goes_on(25)
        asked = scene.live.replicas(POOL)
        assert all(asked[name] >= before[name] for name in before), (before, asked)


def _engines_restarted(scene: Scene) -> None:
    """Counters start anew: no negative rates, no replica less."""
    scene.carries()
    before = scene.replicas()
    for pod in _pods(scene):
        scene.live.control.mishap("Restart", pod)
    scene.goes_on(8)
    asked = scene.replicas()
    assert all(asked[name] >= before[name] for name in before), (before, asked)


FAULTS = (
    Fault("agent-killed", ROW, _ended(signal.SIGKILL)),
    Fault("agent-ended", ROW, _ended(signal.SIGTERM)),
    Fault("agent-frozen", ROW, _frozen),
    Fault("agent-disk-full", ROW, _disk_full),
    Fault("node-rebooted", ROW, _rebooted),
    Fault("driver-reloaded", ROW, _driver_reloaded),
    Fault("gpu-lost", ROW, _gpu(GpuFault.LOST, 1, "lost")),
    Fault("gpu-hangs", ROW, _gpu(GpuFault.HANG_MS, 6000, "hangs")),
    Fault("engine-page-gone", METRICS, _page_gone),
    Fault("engines-restarted", METRICS, _engines_restarted),
)

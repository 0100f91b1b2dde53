"""Faults of our own processes: the operator killed, frozen, doubled; agents killed."""

from __future__ import annotations

import signal
from collections.abc import Callable

from fault_scene import Scene
from fault_stage import Fault
from live_centre import wait_for

OPERATOR = "operator dead or replaced"
AGENT = "agent killed, node rebooted, GPU lost, driver reset"


def _operator_killed(scene: Scene) -> None:
    before = scene.replicas()
    scene.controller.kill()
    assert scene.replicas() == before
    scene.centre.start_controller()


def _operator_frozen(scene: Scene) -> None:
    scene.controller.signal(signal.SIGSTOP)
    wait_for("default clocks without an operator", lambda: not scene.live.locked(), 40.0)
    scene.controller.signal(signal.SIGCONT)


def _agent(number: signal.Signals) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        node = next(iter(scene.live.locked())).partition("/")[0]
        agent = scene.centre.processes.children[f"agent-{node}"]
        agent.signal(number)
        assert agent.wait(15.0)
        scene.centre.start_agents([node])

    return strike


FAULTS = (
    Fault("operator-killed", OPERATOR, _operator_killed),
    Fault("operator-frozen", OPERATOR, _operator_frozen),
    Fault("agent-killed", AGENT, _agent(signal.SIGKILL)),
    Fault("agent-ended", AGENT, _agent(signal.SIGTERM)),
)

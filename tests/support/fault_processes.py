"""Faults of the operator's process: killed, frozen, doubled, with a wrong clock, with a broken solver."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fault_scene import POOLS, SURGE, Scene
from fault_stage import Fault
from joulery.domain import reasons
from joulery.emulator.processes import free_port
from live_centre import wait_for

ROW = "operator dead or replaced"
SOLVER = "solver at its limit or failing"
HOUR_S = 3600
# GPUs are plenty here, so that no solver would be asked.
ASKED = "import joulery.optimizer.solve as solve\nsolve._separable = lambda *_: None\n"
FAILS = "def run(*_):\n    raise RuntimeError('synthesised failure')\n"
HANGS = "import time\ndef run(*_):\n    time.sleep(1e6)\n"
REPLACED = "import highspy\nhighspy.Highs.run = run\n"


def _killed(scene: Scene) -> None:
    before = scene.replicas()
    scene.controller.kill()
    assert scene.replicas() == before
    scene.centre.start_controller()


def _ended(scene: Scene) -> None:
    before = scene.replicas()
    scene.controller.signal(signal.SIGTERM)
    assert scene.controller.wait(15.0)
    assert scene.controller.exit_code == 0
    assert scene.replicas() == before
    scene.centre.start_controller()


def _frozen(scene: Scene) -> None:
    scene.controller.signal(signal.SIGSTOP)
    wait_for("default clocks without an operator", lambda: not scene.live.locked(), 45.0)
    scene.controller.signal(signal.SIGCONT)


def _doubled(scene: Scene) -> None:
    """A second operator beside the first, both acting on the same surge."""
    settings = scene.centre.controller_environment() | {"JOULERY_METRICS_PORT": str(free_port())}
    second = scene.centre.processes.start("second", [sys.executable, "-m", "joulery", "controller"], settings)
    try:
        wait_for("the second plans", lambda: '"message": "cycle"' in second.log.read_text(), 60.0)
        scene.set_load(SURGE)
        scene.carries()
        scene.goes_on(3)
        assert second.exit_code is None
    finally:
        second.kill()


def _off_by(seconds: int) -> Callable[[Scene], None]:
    """An operator whose clock is wrong follows a surge without overdoing it; another one takes over from it."""

    def strike(scene: Scene) -> None:
        clock = _clock_library(scene.centre.paths.data)
        with scene.sabotaged(LD_PRELOAD=str(clock), JOULERY_CLOCK_OFF_S=str(seconds)):
            wait_for("it is ready", lambda: scene.readiness() == "Ready\n", 60.0)
            scene.set_load(SURGE)
            scene.carries()
            scene.goes_on(10)
            asked = {p.key.name: sum(scene.live.replicas(p).values()) for p in POOLS}
            assert max(asked.values()) <= 2.0 * SURGE + 1.0, asked

    return strike


def _clock_library(folder: Path) -> Path:
    library = folder / "fault_clock.so"
    source = Path(__file__).with_name("fault_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True, timeout=60)
    return library


def _broken(solver: str, **environment: str) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        with scene.sabotaged(ASKED + solver + REPLACED, **environment):
            scene.tells("Planned", "True", reasons.FALLBACK_PLAN, within_s=90.0)
            scene.set_load(SURGE)
            scene.carries()

    return strike


FAULTS = (
    Fault("operator-killed", ROW, _killed),
    Fault("operator-ended", ROW, _ended),
    Fault("operator-frozen", ROW, _frozen),
    Fault("operator-doubled", ROW, _doubled),
    Fault("operator-clock-ahead", ROW, _off_by(HOUR_S)),
    Fault("operator-clock-behind", ROW, _off_by(-HOUR_S)),
    Fault("solver-fails", SOLVER, _broken(FAILS)),
    Fault("solver-hangs", SOLVER, _broken(HANGS, JOULERY_SOLVER_PATIENCE_SECONDS="15")),
)

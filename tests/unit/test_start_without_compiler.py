"""What does not run engines starts without the compiler: numba alone takes a third of a second to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import joulery

PROFILE = str(Path(joulery.__file__).parent / "data" / "profiles" / "llama-3.1-70b-fp8.yaml")
COMMANDS = ("controller", "agent", "explain", "demo", "evaluate", "calibrate", "profile", "lanes")
LAUNCH = """
import sys
sys.path[:0] = {paths!r}
from joulery.__main__ import app
try:
    app({arguments!r})
except SystemExit as ended:
    assert not ended.code, ended.code
loaded = {{name.partition(".")[0] for name in sys.modules}} & {{"numba", "llvmlite"}}
assert not loaded, loaded
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120
    )


def paths() -> list[str]:
    return [path for path in sys.path if path]


@pytest.mark.parametrize(
    "arguments",
    [
        ["version"],
        ["crds"],
        ["profile", "validate", PROFILE],
        ["profile", "show", PROFILE],
        *([command, "--help"] for command in COMMANDS),
    ],
    ids=lambda arguments: " ".join(Path(word).name for word in arguments),
)
def test_commands_without_kernel_work_never_load_it(arguments: list[str]) -> None:
    done = run(LAUNCH.format(paths=paths(), arguments=arguments))
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "joulery",
        "joulery.api.crd",
        "joulery.controller.app",
        "joulery.planner.decide",
        "joulery.serving.catalog",
        "joulery.serving.frontier",
        "joulery.serving.lane_rates",
    ],
)
def test_modules_load_it_only_where_an_engine_runs(module: str) -> None:
    program = f"import sys; sys.path[:0] = {paths()!r}; import {module}; assert 'numba' not in sys.modules"
    done = run(program)
    assert done.returncode == 0, done.stderr

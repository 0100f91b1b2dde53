"""Commands without kernel work start without the compiler and without the solver."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ["version"],
        ["profile", "--help"],
        ["profile", "show", "llama-3.1-70b-fp8"],
        ["profile", "validate", "llama-3.1-70b-fp8"],
    ],
    ids=" ".join,
)
def test_a_command_without_kernel_work_does_not_load_the_compiler(arguments: list[str]) -> None:
    absent = ["numba", "scipy", "plotly", "kopf", "kubernetes", "cvxpy"]
    paths = [p for p in sys.path if p]
    program = (
        f"import sys; sys.path[:0] = {paths!r}; sys.modules.update(dict.fromkeys({absent}));"
        f"sys.argv = ['joulery', *{arguments}]; from joulery.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout

"""How kubectl is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulery.emulator.cluster_access import kubectl
from joulery.errors import ClusterError

TOO_EARLY = "error: .status.conditions accessor error: <nil> is of the type <nil>, expected []interface{}"


def program(folder: Path, script: str) -> Path:
    made = folder / "kubectl"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    return made


def test_an_object_without_status_is_waited_for(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f'[ -e {seen} ] && exec echo met; touch {seen}; echo "{TOO_EARLY}" >&2; exit 1'
    done = kubectl(program(tmp_path, script), tmp_path / "config", "wait", "crd", "--all")
    assert done.stdout == "met\n"


def test_any_other_failure_is_raised_with_what_was_printed(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="kubectl get pods: error: no such host"):
        kubectl(
            program(tmp_path, 'echo "error: no such host" >&2; exit 1'), tmp_path / "config", "get", "pods"
        )

"""How the control plane's programs are found or built; a pretended `go` stands in for the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "hack" / "tools.py"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "prometheus")

# Notes each build, takes a moment, and writes what the real one would write to -o.
PRETENDED_GO = """#!/bin/bash
if [ "$1" = env ]; then echo "$PRETENDED_VERSION"; exit; fi
echo "$PWD" >> "$BUILDS"
if [ -n "$BUILD_FAILURE" ]; then echo "$BUILD_FAILURE" >&2; exit 1; fi
/bin/sleep 0.3
while [ "$1" != -o ]; do shift; done
case "$2" in
  */) for name in kube-{apiserver,controller-manager,scheduler} kubectl prometheus; do : > "$2$name"; done;;
  *) : > "$2";;
esac
/bin/chmod -R 755 "$2"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine with nothing but a pretended Go 1.26: empty cache, no etcd or prometheus on PATH."""
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin" / "go", PRETENDED_GO)
    (tmp_path / "builds").touch()
    return {
        "PATH": str(tmp_path / "bin"),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "BUILDS": str(tmp_path / "builds"),
        "PRETENDED_VERSION": "go1.26.8",
    }


def write_program(path: Path, text: str = "#!/bin/sh\n") -> None:
    path.write_text(text)
    path.chmod(0o755)


def start(environment: dict[str, str], command: str = "assets") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TOOLS), command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def builds(environment: dict[str, str]) -> list[str]:
    return sorted(Path(line).name for line in Path(environment["BUILDS"]).read_text().splitlines())


def test_builds_once_and_finds_it_again(environment: dict[str, str]) -> None:
    first = start(environment)
    folder = first.communicate(timeout=60)[0].strip()
    assert sorted(os.listdir(folder)) == sorted(PROGRAMS)
    assert builds(environment) == ["controlplane", "etcd", "prometheus"]
    assert start(environment).communicate(timeout=60)[0].strip() == folder
    assert len(builds(environment)) == 3


def test_two_callers_at_once_build_once(environment: dict[str, str]) -> None:
    answers = [caller.communicate(timeout=60)[0] for caller in [start(environment), start(environment)]]
    assert answers[0] == answers[1] != ""
    assert builds(environment) == ["controlplane", "etcd", "prometheus"]


def test_kubebuilder_assets_come_first(environment: dict[str, str], tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for name in PROGRAMS:
        write_program(given / name)
    folder = start({**environment, "KUBEBUILDER_ASSETS": str(given)}).communicate(timeout=60)[0].strip()
    assert {os.readlink(Path(folder) / name) for name in PROGRAMS} == {str(given / name) for name in PROGRAMS}
    assert builds(environment) == []


def test_an_etcd_on_the_path_that_does_not_start_is_passed_over(
    environment: dict[str, str], tmp_path: Path
) -> None:
    write_program(tmp_path / "bin" / "etcd", "#!/bin/sh\nexit 1\n")
    output, progress = start(environment).communicate(timeout=60)
    assert "etcd: unusable" in progress
    assert "etcd" in builds(environment)
    assert str(tmp_path / "cache") in os.readlink(Path(output.strip()) / "etcd")


def test_a_failed_build_shows_the_compilers_words_and_leaves_nothing_to_be_found(
    environment: dict[str, str],
) -> None:
    failing = start({**environment, "BUILD_FAILURE": "no space left on device"})
    output, progress = failing.communicate(timeout=60)
    assert (failing.returncode, output) == (1, "")
    assert "no space left on device" in progress
    assert start(environment).communicate(timeout=60)[0].strip()
    assert builds(environment) == ["controlplane", "etcd", "etcd", "prometheus"]


def test_an_old_go_is_named_with_what_is_needed(environment: dict[str, str]) -> None:
    old = start({**environment, "PRETENDED_VERSION": "go1.21.3"})
    progress = old.communicate(timeout=60)[1]
    assert old.returncode == 1
    assert "is go1.21.3: Go 1.26 or later is needed" in progress


def test_check_names_the_missing_compiler(environment: dict[str, str]) -> None:
    checked = start(environment, "check")
    progress = checked.communicate(timeout=60)[1]
    assert checked.returncode == 1
    assert "a C compiler is missing" in progress


def test_check_is_silent_where_nothing_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    write_program(tmp_path / "bin" / "cc")
    checked = start(environment, "check")
    assert checked.communicate(timeout=60) == ("", "")
    assert checked.returncode == 0

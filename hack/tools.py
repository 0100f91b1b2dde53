#!/usr/bin/env python3
"""Find or build the programs of the development control plane.

    python3 hack/tools.py assets    print a folder that holds all six programs (progress on stderr)
    python3 hack/tools.py check     say what this machine lacks to work on Joulery

Where a program comes from, in this order: the folder KUBEBUILDER_ASSETS names; Debian's etcd and prometheus
on PATH, if they start; an earlier build in the cache; a build from the go.mod beside this file. The cache is
${XDG_CACHE_HOME:-~/.cache}/joulery/tools, keyed by the content of go.mod and go.sum and by the build flags.
Only the standard library is used, so that this runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from gobuild import COMPONENTS, Component, ToolError, build, cache_folder, go_program, is_program, say

PYTHON_AT_LEAST = (3, 11)
TRIAL_TIMEOUT_S = 15.0

# ------------------------------------------------------------------ what is there already


def from_kubebuilder(component: Component) -> dict[str, Path] | None:
    """All programs of a component from KUBEBUILDER_ASSETS, or none: versions within one are never mixed."""
    folder = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not folder:
        return None
    found = {name: Path(folder) / name for name in component.programs}
    missing = [name for name, path in found.items() if not is_program(path)]
    if missing:
        say(f"KUBEBUILDER_ASSETS={folder} lacks {', '.join(missing)}: looking elsewhere")
    return None if missing else found


def from_path(component: Component) -> dict[str, Path] | None:
    """The distribution's etcd or prometheus, if a trial start succeeds (remembered per file)."""
    trial = {"etcd": etcd_starts, "prometheus": prometheus_starts}.get(component.name)
    where = shutil.which(component.name)
    if trial is None or where is None:
        return None
    path = Path(where).resolve()
    stat = path.stat()
    stamp = cache_folder() / "trials" / f"{component.name}-{stat.st_size}-{stat.st_mtime_ns}"
    if not stamp.exists():
        verdict = "works" if trial(path) else "unusable"
        say(f"{path}: {verdict}")
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(verdict)
    return {component.name: path} if stamp.read_text() == "works" else None


def from_cache(component: Component) -> dict[str, Path] | None:
    folder = cache_folder() / f"{component.name}-{component.fingerprint()}"
    found = {name: folder / name for name in component.programs}
    return found if all(is_program(path) for path in found.values()) else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def etcd_starts(program: Path) -> bool:
    port = free_port()
    client = f"http://127.0.0.1:{port}"
    flags = ["--listen-client-urls", client, "--advertise-client-urls", client]
    return starts(
        lambda data: [
            str(program),
            "--data-dir",
            f"{data}/d",
            *flags,
            "--listen-peer-urls",
            "http://127.0.0.1:0",
        ],
        f"{client}/health",
    )


def prometheus_starts(program: Path) -> bool:
    port = free_port()

    def command(data: str) -> list[str]:
        config = Path(data) / "prometheus.yml"
        config.write_text("global: {scrape_interval: 1s}\n")
        flags = [
            f"--config.file={config}",
            f"--storage.tsdb.path={data}/d",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        return [str(program), *flags]

    return starts(command, f"http://127.0.0.1:{port}/-/ready")


def starts(command: Callable[[str], list[str]], probe_url: str) -> bool:
    """Whether a program answers its health address soon; it is ended again in any case."""
    with tempfile.TemporaryDirectory(prefix="joulery-trial-") as data:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        try:
            process = subprocess.Popen(command(data), cwd=data, **quiet)
        except OSError:
            return False
        try:
            return answers(process, probe_url)
        finally:
            process.kill()
            process.wait()


def answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + TRIAL_TIMEOUT_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(url, timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One builder at a time; the others wait and then find the build in the cache."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ------------------------------------------------------------------ commands


def assets() -> Path:
    """A folder with all six programs, made of links to where each was found."""
    with locked():
        programs: dict[str, Path] = {}
        for component in COMPONENTS:
            found = from_kubebuilder(component) or from_path(component) or from_cache(component)
            programs |= found or build(component)
        return linked(programs)


def linked(programs: dict[str, Path]) -> Path:
    targets = {name: str(path.resolve()) for name, path in sorted(programs.items())}
    key = hashlib.sha256(repr(targets).encode()).hexdigest()[:16]
    folder = cache_folder() / f"assets-{key}"
    folder.mkdir(exist_ok=True)
    for name, target in targets.items():
        link = folder / name
        if not link.is_symlink() or os.readlink(link) != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return folder


def check() -> list[str]:
    """What is missing on this machine, one sentence each."""
    problems = []
    if sys.version_info[:2] < PYTHON_AT_LEAST:
        problems.append(f"python3 is {platform.python_version()}: Python 3.11 or later is needed")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        problems.append("python3 has no venv module: install it (Debian: apt-get install python3-venv)")
    if not any(shutil.which(name) for name in (os.environ.get("CC", "cc").split()[0], "gcc", "clang")):
        problems.append("a C compiler is missing (Debian: apt-get install gcc libc6-dev)")
    try:
        go_program()
    except ToolError as error:
        problems.append(str(error))
    return problems


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["assets"]:
            print(assets())
            return 0
        if arguments == ["check"]:
            problems = check()
            for problem in problems:
                say(problem)
            return 1 if problems else 0
        print(__doc__, file=sys.stderr)
        return 2
    except ToolError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

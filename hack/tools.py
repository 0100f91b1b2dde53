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
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HACK = Path(__file__).resolve().parent
GO_AT_LEAST = (1, 26)
PYTHON_AT_LEAST = (3, 11)
KUBERNETES_VERSION = "v1.36.2"
PROGRESS_EVERY_S = 5.0
TRIAL_TIMEOUT_S = 15.0


class ToolError(Exception):
    """Something that a person has to install or mend; the message says what."""


@dataclass(frozen=True)
class Component:
    """One go.mod under hack/ and the programs it builds."""

    name: str
    programs: tuple[str, ...]
    ldflags: str = "-s -w"
    tags: str = ""

    def fingerprint(self) -> str:
        """Hash of everything that decides what the build yields."""
        digest = hashlib.sha256(f"{self.ldflags}|{self.tags}|{platform.machine()}".encode())
        for file in ("go.mod", "go.sum"):
            digest.update((HACK / self.name / file).read_bytes())
        return digest.hexdigest()[:16]


# Without the version flags /version answers v0.0.0-master+$Format:%H$, which breaks clients' version checks.
_BASE = "k8s.io/component-base/version"
_VERSION_FLAGS = " ".join(
    f"-X {variable}={value}"
    for variable, value in {
        f"{_BASE}.gitVersion": KUBERNETES_VERSION,
        f"{_BASE}.gitMajor": "1",
        f"{_BASE}.gitMinor": "36",
        f"{_BASE}.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": KUBERNETES_VERSION,
    }.items()
)
CONTROLPLANE = Component(
    "controlplane",
    ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"),
    f"-s -w {_VERSION_FLAGS}",
)
ETCD = Component("etcd", ("etcd",))
# File and HTTP discovery stay in with this tag; those of the clouds, which pull in their SDKs, go.
PROMETHEUS = Component(
    "prometheus",
    ("prometheus",),
    "-s -w -X github.com/prometheus/common/version.Version=3.5.0",
    tags="remove_all_sd",
)
COMPONENTS = (ETCD, CONTROLPLANE, PROMETHEUS)


def say(text: str) -> None:
    """Report progress; stdout belongs to the answer."""
    print(f"tools: {text}", file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """Where builds are kept, outside the tree so that every checkout shares them."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "joulery" / "tools"


def is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


# ------------------------------------------------------------------ what is there already


def from_kubebuilder(component: Component) -> dict[str, Path] | None:
    """All programs of a component from KUBEBUILDER_ASSETS, or none: versions within one are never mixed."""
    folder = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not folder:
        return None
    found = {name: Path(folder) / name for name in component.programs}
    return found if all(is_program(path) for path in found.values()) else None


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


# ------------------------------------------------------------------ building


def go_program() -> str:
    """The go command, new enough, or an error that says what to install."""
    wanted = ".".join(map(str, GO_AT_LEAST))
    go = shutil.which("go") or next((str(p) for p in [Path("/usr/local/go/bin/go")] if is_program(p)), None)
    if go is None:
        raise ToolError(f"go is missing: install Go {wanted} or later (go.dev/dl) and put it on PATH")
    command = [go, "env", "GOVERSION"]
    answer = subprocess.run(command, capture_output=True, text=True, env=go_environment(), check=False)
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    if match is None or tuple(map(int, match.groups())) < GO_AT_LEAST:
        raise ToolError(
            f"{go} is {answer.stdout.strip() or 'unusable'}: Go {wanted} or later is needed (go.dev/dl)"
        )
    return go


def go_environment() -> dict[str, str]:
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    return {**os.environ, **settings}


def build(component: Component) -> dict[str, Path]:
    """Build into a folder beside its final place and rename, so that no half build is ever found."""
    go = go_program()
    target = cache_folder() / f"{component.name}-{component.fingerprint()}"
    scratch = Path(tempfile.mkdtemp(prefix=f".{component.name}-", dir=cache_folder()))
    try:
        output = f"{scratch}/" if len(component.programs) > 1 else str(scratch / component.programs[0])
        command = [go, "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", component.ldflags]
        command += ["-tags", component.tags] if component.tags else []
        run_build(component, [*command, "-o", output, "tool"])
        shutil.rmtree(target, ignore_errors=True)
        scratch.chmod(0o755)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {name: target / name for name in component.programs}


def run_build(component: Component, command: list[str]) -> None:
    say(f"building {', '.join(component.programs)} (once; minutes)")
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=HACK / component.name, env=go_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(iter(process.stderr.readline, "")), daemon=True)
    try:
        reader.start()
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PROGRESS_EVERY_S)
            last = seen[-1].strip()[:80] if seen else "fetching modules, compiling, linking"
            say(f"  {component.name}: {time.monotonic() - started:4.0f} s, {len(seen)} steps, {last}")
    finally:
        process.kill()  # on Ctrl-C; a finished process is left as it is
        process.wait()
        reader.join(5)
    if process.returncode != 0:
        raise ToolError(f"go build of {component.name} failed:\n" + "".join(seen[-15:]))
    say(f"built {component.name} in {time.monotonic() - started:.0f} s")


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

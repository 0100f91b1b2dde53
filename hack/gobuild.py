"""Build the control plane's programs from the go.mod files beside this module, into the cache.

The cache is ${XDG_CACHE_HOME:-~/.cache}/joulery/tools, keyed by the content of go.mod and go.sum and by the
build flags, so that every checkout shares one build. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HACK = Path(__file__).resolve().parent
GO_AT_LEAST = (1, 26)
KUBERNETES_VERSION = "v1.36.2"
PROGRESS_EVERY_S = 5.0


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

"""Write the hash locks of requirements/ from pyproject.toml, or check them.

    python hack/locks.py            resolve again (make locks)
    python hack/locks.py --check    no registry address, every requirement pinned and hashed

A lock names versions and hashes and nothing of where it was made, so that any mirror serves it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {
    "agent": (),
    "controller": ("controller",),
    "dev": ("controller", "evaluate", "emulator", "dev"),
}
COMPILE = (
    "--quiet",
    "--generate-hashes",
    "--strip-extras",
    "--no-header",
    "--allow-unsafe",
    "--no-emit-index-url",
    "--no-emit-trusted-host",
    "--no-emit-find-links",
    "--resolver=backtracking",
)
PINNED = re.compile(r"^[a-z0-9._-]+==[^\s\\]+( ; [^\\]+)? \\$")
ADDRESS = re.compile(r"://|--(index|extra-index|find-links|trusted-host)|^-[if] ")


def write() -> int:
    # Wheels from a folder of this machine would add hashes that nobody else can check.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_FIND_LINKS"}
    for name, extras in EXTRAS.items():
        chosen = [f"--extra={extra}" for extra in extras]
        print(f"locks: requirements/{name}.txt", flush=True)
        command = [sys.executable, "-m", "piptools", "compile", *COMPILE, *chosen]
        output = f"--output-file=requirements/{name}.txt"
        subprocess.run([*command, output, "pyproject.toml"], cwd=ROOT, env=environment, check=True)
    return 0


def problems(path: Path) -> list[str]:
    """What is wrong with one lock, with line numbers."""
    found = []
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        if ADDRESS.search(line):
            found.append(f"{path.name}:{number}: names an address: {line.strip()}")
        if line and line[0] not in " #" and not PINNED.match(line):
            found.append(f"{path.name}:{number}: not pinned by == with a hash: {line.strip()}")
    if not any(line.startswith("    --hash=sha256:") for line in lines):
        found.append(f"{path.name}: no hashes at all")
    return found


def check() -> int:
    found = [problem for name in EXTRAS for problem in problems(ROOT / "requirements" / f"{name}.txt")]
    for problem in found:
        print(f"locks: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(check() if "--check" in sys.argv[1:] else write())

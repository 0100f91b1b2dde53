"""Write everything that is generated and committed, or check that it is current.

python hack/generate.py            write (make generate)
python hack/generate.py --check    exit 1 and name the files that would change; the tree stays as it is
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What the commands below write, as globs from the root.
GENERATED = (
    "crds/*.yaml",
    "operator/joulery/agent/*_pb2.py",
    "operator/joulery/agent/*_pb2.pyi",
    "docs/ownership.md",
)
COMMANDS = (
    ("-m", "joulery", "crds", "--write"),
    ("hack/ownership_docs.py",),
    (
        "-m", "grpc_tools.protoc", "-Ioperator", "--python_out=operator", "--pyi_out=operator",
        "operator/joulery/agent/podresources.proto",
    ),
)  # fmt: skip


def snapshot() -> dict[Path, bytes]:
    return {path: path.read_bytes() for glob in GENERATED for path in sorted(ROOT.glob(glob))}


def generate() -> None:
    for command in COMMANDS:
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def restore(before: dict[Path, bytes], after: dict[Path, bytes]) -> None:
    for path in after.keys() - before.keys():
        path.unlink()
    for path, content in before.items():
        if after.get(path) != content:
            path.write_bytes(content)


def main(check: bool) -> int:
    before = snapshot()
    try:
        generate()
        after = snapshot()
    finally:
        if check:
            restore(before, snapshot())
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    for path in changed:
        print(f"generate: {path.relative_to(ROOT)} {'is not current: make generate' if check else 'written'}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))

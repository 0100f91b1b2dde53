"""Run the benchmarks and write their figures to build/bench.json.

    python hack/bench.py [NAME ...]    all of hack/bench_*.py, or only those named (bench_solver -> solver)

A benchmark is a module hack/bench_NAME.py with `run() -> dict`: its figures, in units that the keys name. It
raises AssertionError where a figure misses its budget; the others still run and the exit code is 1.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

HACK = Path(__file__).resolve().parent
RESULT = HACK.parent / "build" / "bench.json"
SCHEMA_VERSION = 1


def measure(path: Path) -> tuple[dict[str, Any], str | None]:
    """The figures of one benchmark, and what went wrong."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        return dict(module.run()), None
    except Exception as error:  # one benchmark's failure must not hide the figures of the others
        return {}, f"{type(error).__name__}: {error}"


def main(wanted: list[str]) -> int:
    available = {path.stem.removeprefix("bench_"): path for path in sorted(HACK.glob("bench_*.py"))}
    unknown = sorted(set(wanted) - set(available))
    if unknown or not available:
        print(f"bench: no benchmark {', '.join(unknown)}; there are: {', '.join(available)}", file=sys.stderr)
        return 2
    earlier = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    figures: dict[str, Any] = earlier.get("benchmarks", {}) if wanted else {}
    failures: dict[str, str] = {}
    for name in wanted or available:
        print(f"bench: {name} ...", flush=True)
        started = time.monotonic()
        figures[name], failure = measure(available[name])
        print(f"bench: {name} {failure or 'done'} in {time.monotonic() - started:.1f} s", flush=True)
        failures |= {name: failure} if failure else {}
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    document = {"schemaVersion": SCHEMA_VERSION, "machine": machine}
    document |= {"benchmarks": figures, "failures": failures}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=2) + "\n")
    print(f"bench: wrote {RESULT.relative_to(HACK.parent)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

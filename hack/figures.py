"""Print every figure that was measured: one line per key of build/*.json, standard library only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build"
SOURCES = {
    "demo/summary": "make demo",
    "bench": "make bench",
    "soak": "make soak",
    "calibration": "make calibrate",
    "evaluation": "joulery evaluate",
}


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every number, text and flag of a document with its dotted path; lists by index."""
    if isinstance(value, dict):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list):
        items = [(str(index), inner) for index, inner in enumerate(value)]
    else:
        yield path, value
        return
    for key, inner in items:
        yield from leaves(inner, f"{path}.{key}" if path else key)


def main() -> int:
    found = 0
    for name, command in SOURCES.items():
        file = BUILD / f"{name}.json"
        if not file.exists():
            print(f"# build/{name}.json: not measured yet ({command})")
            continue
        found += 1
        print(f"# build/{name}.json")
        for path, value in leaves(json.loads(file.read_text())):
            shown = f"{value:.6g}" if isinstance(value, float) else value
            print(f"{name}:{path} = {shown}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())

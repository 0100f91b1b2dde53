"""What Prometheus shall scrape, as a file_sd document: the labels a PodMonitor would give each pod."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulery.domain.keys import ObjectKey


@dataclass(frozen=True, slots=True, order=True)
class ScrapeTarget:
    """One engine that answers."""

    pod: ObjectKey
    address: str
    port: int
    node: str
    container: str


def target_groups(targets: Iterable[ScrapeTarget]) -> list[dict[str, Any]]:
    """One group per target, in the order of their pods."""
    return [
        {
            "targets": [f"{target.address}:{target.port}"],
            "labels": {
                "namespace": target.pod.namespace,
                "pod": target.pod.name,
                "container": target.container,
                "node": target.node,
                "job": f"{target.pod.namespace}/engines",
            },
        }
        for target in sorted(targets)
    ]


class TargetsFile:
    """Keeps the file equal to the set of targets; replaced as a whole, so no reader sees half of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._targets: dict[str, ScrapeTarget] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def add(self, uid: str, target: ScrapeTarget) -> None:
        """A pod began to answer."""
        self._targets[uid] = target
        self._write()

    def remove(self, uid: str) -> None:
        """A pod ended; unknown ones are ignored."""
        if self._targets.pop(uid, None) is not None:
            self._write()

    def _write(self) -> None:
        fresh = self._path.with_suffix(".json.new")
        fresh.write_text(json.dumps(target_groups(self._targets.values()), indent=1))
        fresh.replace(self._path)

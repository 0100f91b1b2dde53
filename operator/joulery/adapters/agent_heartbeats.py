"""Tells agents that report from those that died with `Ready` on their lips.

An agent writes its status at least every 30 s with a new `reportTime`. That time is only compared with itself:
what counts is when we saw it change, by our own monotonic clock, so no two machines' clocks are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from joulery.adapters.pod_view import Manifest

# Three reports in a row that did not come.
SILENT_AFTER_S = 90.0


class AgentHeartbeats:
    """Remembers the last report of every node and when it was first seen.

    A report found at the first look counts as new: an operator that just started gives every agent
    `SILENT_AFTER_S` to show life.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._seen: dict[str, tuple[str, float]] = {}

    def reporting(self, gpu_nodes: Mapping[str, Manifest]) -> dict[str, Manifest]:
        """The GPUNodes whose agent reported lately; the others' status is history."""
        now_s = self._monotonic_s()
        reports = {name: _report_time(manifest) for name, manifest in gpu_nodes.items()}
        self._seen = {
            name: self._seen[name] if name in self._seen and self._seen[name][0] == at else (at, now_s)
            for name, at in reports.items()
            if at is not None
        }
        fresh = (name for name, (_, since_s) in self._seen.items() if now_s - since_s <= SILENT_AFTER_S)
        return {name: gpu_nodes[name] for name in fresh}

    def ages_s(self) -> dict[str, float]:
        """How long ago each node's newest report was first seen."""
        now_s = self._monotonic_s()
        return {name: now_s - since_s for name, (_, since_s) in self._seen.items()}


def _report_time(manifest: Manifest) -> str | None:
    at = manifest.get("status", {}).get("reportTime")
    return None if at is None else str(at)

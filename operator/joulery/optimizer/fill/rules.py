"""What lanes ask of their instances, laid out flat for the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from joulery.optimizer.fill.kernel_rules import Rules
from joulery.optimizer.fill.lane import Lane


def rules_of(lanes: Sequence[Lane], kinds: int, unit_w: float) -> Rules:
    """The lanes' rules in their order, costs in units of `unit_w`."""
    running = np.zeros((len(lanes), kinds), dtype=np.int64)
    entries = [
        (place, wanted.kind, wanted.instances, wanted.short_w)
        for place, lane in enumerate(lanes)
        for wanted in sorted(lane.awaited, key=lambda w: (w.kind, w.instances, w.short_w))
    ]
    for place, lane in enumerate(lanes):
        for kind, instances in lane.running:
            running[place, kind] = instances
    at = np.array([place * kinds + kind for place, kind, _, _ in entries], dtype=np.int64)
    # One past the last of a lane's last kind is the first of the next lane's.
    first = np.arange(len(lanes))[:, None] * kinds + np.arange(kinds + 1)
    return Rules(
        np.array([lane.fewest for lane in lanes], dtype=np.int64),
        np.array([lane.lost for lane in lanes], dtype=np.int64),
        np.array([lane.start_w for lane in lanes]) / unit_w,
        running,
        np.searchsorted(at, first),
        np.array([instances for _, _, instances, _ in entries], dtype=np.int64),
        np.array([short_w for _, _, _, short_w in entries], dtype=np.float64) / unit_w,
    )

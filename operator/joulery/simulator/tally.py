"""Counts of what a policy did in one run, and of how often it changed its mind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.reasons import RESHARD_SHRINK, RESHARD_SURGE


@dataclass(slots=True)
class Tally:
    """Plans and changes of one run; an up within the dwell after a down is an up after a down."""

    plans: int = 0
    up_only_plans: int = 0
    scale_ups: int = 0
    scale_downs: int = 0
    reshard_moves: int = 0
    ups_after_downs: int = 0
    downs_within_dwell: int = 0
    last_up_s: dict[ObjectKey, float] = field(default_factory=dict)
    last_down_s: dict[ObjectKey, float] = field(default_factory=dict)

    def planned(self, *, up_only: bool) -> None:
        """Count a plan."""
        self.plans += 1
        self.up_only_plans += up_only

    def changed(self, changes: Iterable[ScaleChange], now_s: float, dwell_s: float) -> None:
        """Count one poll's changes."""
        for change in changes:
            if change.reason in (RESHARD_SURGE, RESHARD_SHRINK):
                self.reshard_moves += 1
            elif change.want > change.seen:
                self.scale_ups += 1
                self.ups_after_downs += now_s - self.last_down_s.get(change.pool, -np.inf) < dwell_s
                self.last_up_s[change.pool] = now_s
            else:
                self.scale_downs += 1
                self.downs_within_dwell += now_s - self.last_up_s.get(change.pool, -np.inf) < dwell_s
                self.last_down_s[change.pool] = now_s

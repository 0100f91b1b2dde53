"""What holds for one planning."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.keys import ObjectKey
from joulery.domain.plan import PlanKind
from joulery.planner.settings import PlannerSettings


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one planning: time, cadence, solver limit, settings, and which pools may move."""

    now_s: float
    epoch_s: float
    time_limit_s: float
    settings: PlannerSettings
    kind: PlanKind = PlanKind.EPOCH
    movers: frozenset[ObjectKey] | None = None

    @property
    def is_up_only(self) -> bool:
        """Whether only some pools may move, and only up."""
        return self.kind is PlanKind.UP_ONLY

    def moves(self, key: ObjectKey) -> bool:
        """Whether a pool's plan may change; all may at an epoch."""
        return self.movers is None or key in self.movers

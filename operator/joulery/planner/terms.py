"""What holds for one planning."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.keys import ObjectKey
from joulery.domain.plan import PlanKind
from joulery.planner.settings import PlannerSettings


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one planning: time, cadence, solver limit, settings, and which pools may move.

    `held` are those of the movers whose agents alone ask for it, their demand being inside the envelope.
    """

    now_s: float
    epoch_s: float
    time_limit_s: float
    settings: PlannerSettings
    kind: PlanKind = PlanKind.EPOCH
    movers: frozenset[ObjectKey] | None = None
    held: frozenset[ObjectKey] = frozenset()

    @property
    def is_up_only(self) -> bool:
        """Whether only some pools may move, and only up."""
        return self.kind is PlanKind.UP_ONLY

    def margin(self, key: ObjectKey) -> float:
        """Factor on a pool's peak: a rise under way is given room, a clock held high is no rise."""
        is_rise = self.is_up_only and key not in self.held
        return 1.0 + (self.settings.up_only_margin_percent / 100.0 if is_rise else 0.0)

    def moves(self, key: ObjectKey) -> bool:
        """Whether a pool's plan may change; all may at an epoch."""
        return self.movers is None or key in self.movers

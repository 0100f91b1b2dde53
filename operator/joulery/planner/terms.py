"""What holds for one planning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from joulery.domain.keys import ObjectKey
from joulery.domain.plan import PlanKind
from joulery.planner.settings import PlannerSettings


@dataclass(frozen=True, slots=True)
class SolveTime:
    """What one solve may take: seconds, of the solver's own clock or of a stopwatch that begins with the solve."""

    limit_s: float
    stopwatch: Callable[[], float] | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one planning: time, cadence, solver limit, settings, and which pools may move.

    Attributes:
        time_limit_s: for all solves of the planning together where there is a stopwatch, else for each of them.
        held: those of the movers whose agents alone ask for it, their demand being inside the envelope.
        max_starts: instances that may be started to save energy; None where there is no limit, as on a way up at once.
        stopwatch: seconds since some moment, or None where plans must not depend on how fast a machine is.
        until_s: of the stopwatch, once the planning has begun to solve.
    """

    now_s: float
    epoch_s: float
    time_limit_s: float
    settings: PlannerSettings
    kind: PlanKind = PlanKind.EPOCH
    movers: frozenset[ObjectKey] | None = None
    held: frozenset[ObjectKey] = frozenset()
    max_starts: int | None = None
    stopwatch: Callable[[], float] | None = None
    until_s: float | None = None

    @property
    def is_up_only(self) -> bool:
        """Whether only some pools may move, and only up."""
        return self.kind is PlanKind.UP_ONLY

    def begun(self) -> Terms:
        """The terms with the time for solving running from now."""
        if self.stopwatch is None:
            return self
        return replace(self, until_s=self.stopwatch() + self.time_limit_s)

    def next_solve(self) -> SolveTime:
        """Half of what is left: a plan that a guardrail changes is solved again, up to twice."""
        if self.stopwatch is None or self.until_s is None:
            return SolveTime(self.time_limit_s)
        clock = self.stopwatch
        start_s = clock()
        return SolveTime((self.until_s - start_s) / 2.0, lambda: clock() - start_s)

    def margin(self, key: ObjectKey) -> float:
        """Factor on a pool's peak: a rise under way is given room, a clock held high is no rise."""
        is_rise = self.is_up_only and key not in self.held
        return 1.0 + (self.settings.up_only_margin_percent / 100.0 if is_rise else 0.0)

    def moves(self, key: ObjectKey) -> bool:
        """Whether a pool's plan may change; all may at an epoch."""
        return self.movers is None or key in self.movers

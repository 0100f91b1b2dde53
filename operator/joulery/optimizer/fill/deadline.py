"""What is left of a time limit. Nothing here reads a clock: the stopwatch is the caller's.

How long a step takes is known only of steps like it. All steps go over all items, so they are counted in the time
that laying those out took; a step begins if its usual number of such units is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Deadline:
    """When to stop.

    Attributes:
        time_limit_s: on the stopwatch; without one, of HiGHS's own clock.
        stopwatch: seconds since the caller began; None where nothing but HiGHS is held to the limit.
        unit_s: seconds that laying out the problem took.
    """

    time_limit_s: float
    stopwatch: Callable[[], float] | None = None
    unit_s: float = 0.0

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self.time_limit_s - self.now_s

    @property
    def now_s(self) -> float:
        """What the stopwatch shows, 0 without one."""
        return 0.0 if self.stopwatch is None else self.stopwatch()

    def allows(self, units: float = 0.0) -> bool:
        """Whether a step of so many units may begin; always without a stopwatch."""
        return self.stopwatch is None or self.left_s > units * self.unit_s

    def keeping(self, seconds: float) -> Deadline:
        """With so much kept back for what comes after; nothing without a stopwatch."""
        return self if self.stopwatch is None else replace(self, time_limit_s=self.time_limit_s - seconds)

    def part(self, share: float) -> Deadline:
        """With a share of the limit for one of several steps; on a stopwatch each may take what is left."""
        return self if self.stopwatch else replace(self, time_limit_s=share * self.time_limit_s)

    def measured(self, began_s: float) -> Deadline:
        """With what passed since `began_s` as the unit."""
        return replace(self, unit_s=self.now_s - began_s)

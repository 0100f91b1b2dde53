"""An instance more, whatever the profile says, where objectives are missed at the highest clock.

Clocks and derate answer a profile that is a little wrong; this answers what neither can.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.memory import Reinforcement


@dataclass(frozen=True, slots=True)
class ReinforcementRules:
    """When an instance comes and goes.

    Attributes:
        missed_windows: windows in a row that missed the promise at the highest clock before one is added.
        kept_windows: windows in a row that kept it before one is taken away, an hour of them: what came to help
            must not leave before the load that it helped with.
        most: instances that are ever added; more is a matter of the profile or of the objective.
        highest_share: share of a window's polls at which all instances were at their highest clock.
    """

    missed_windows: int = 2
    kept_windows: int = 6
    most: int = 4
    highest_share: float = 0.8


@dataclass(frozen=True, slots=True)
class Streak:
    """Windows in a row of one kind: missed at the highest clock, or kept; a window that is neither ends both."""

    missed: int = 0
    kept: int = 0

    def after(self, *, kept: bool, at_highest: bool) -> Streak:
        """With one more window."""
        if kept:
            return Streak(kept=self.kept + 1)
        return Streak(missed=self.missed + 1) if at_highest else Streak()


def reinforce(
    past: Reinforcement, streak: Streak, now_s: float, rules: ReinforcementRules
) -> tuple[Reinforcement, Streak]:
    """The instances to add after a window, and the streak that begins anew where their number changed."""
    if streak.missed >= rules.missed_windows and past.instances < rules.most:
        return Reinforcement(past.instances + 1, now_s), Streak()
    if streak.kept >= rules.kept_windows and past.instances > 0:
        return Reinforcement(past.instances - 1, now_s), Streak()
    return past, streak

"""What is returned: lanes with their classes, mix, objective and cost, and why they are cut so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulery.domain.request_class import Objective
from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.costs import LaneCost
from joulery.optimizer.lanes.request import LanePolicy
from joulery.optimizer.lanes.search import Quality


@dataclass(frozen=True, slots=True)
class Lane:
    """Classes served together.

    Attributes:
        members: classes whose requests, or what is taken for them, are sent here; sorted.
        guests: classes without load that would be sent here; they count for nothing.
        rates_rps: requests per second that land here by true class; sorted, none zero.
        objective: what all of them get; None where nothing was planned.
        cost: the cheapest way to run it; None where there is none.
        verdict: why it is cut so, or why it cannot be served.
    """

    members: tuple[str, ...]
    guests: tuple[str, ...]
    rates_rps: tuple[tuple[str, float], ...]
    objective: Objective | None
    cost: LaneCost | None
    verdict: Verdict

    @property
    def name(self) -> str:
        """Its classes, for people."""
        return "+".join(self.members or self.guests)

    @property
    def rate_rps(self) -> float:
        """All that lands here."""
        return math.fsum(rate for _, rate in self.rates_rps)


@dataclass(frozen=True, slots=True)
class Alternative:
    """A fixed policy under the same costs; `unserved_rps` lies in lanes that no option serves."""

    policy: LanePolicy
    lanes: int
    cost_w: float
    unserved_rps: float


@dataclass(frozen=True, slots=True)
class LanePartition:
    """One partition.

    Attributes:
        lanes: sorted by their members; those that nothing could be planned for last.
        policy: what was applied: that asked for, or the one that needs no prediction where it cannot be had.
        cost_w: of all lanes that can be served.
        unserved_rps: load of the others.
        quality: how far it is proven under the costs given.
        bound_w: no partition that leaves as little unserved costs less; None where nothing is known.
        needs_prediction: whether the router must tell classes of one input range apart.
        priced: lanes whose cost was asked for.
        why: what decided, in a sentence for people.
        alternatives: the fixed policies, where `Auto` was asked for.
        refused: what was set aside in the input, each with the cure.
    """

    lanes: tuple[Lane, ...]
    policy: LanePolicy
    cost_w: float
    unserved_rps: float
    quality: Quality
    bound_w: float | None
    needs_prediction: bool
    priced: int
    why: str
    alternatives: tuple[Alternative, ...] = ()
    refused: tuple[Verdict, ...] = ()

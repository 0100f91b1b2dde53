"""How a replica ends: how long it may finish its answers, and which one its workload's controller takes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from joulery.domain.request_class import RequestClass


class EndOrder(StrEnum):
    """Which replica goes when a workload shrinks."""

    BY_COST = "ByCost"
    HIGHEST_ORDINAL = "HighestOrdinal"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Drain:
    """What lets running answers end when a replica does.

    Attributes:
        grace_s: the pod's `terminationGracePeriodSeconds`, after which it is killed.
        waits_s: how long preStop hook and engine wait for running answers, 0 without either, infinite for a
            hook that ends when it sees fit.
        order: which replica goes first.
        where: the pod template or pod that says so.
        owner: kind of the controller that ends the pods.
    """

    grace_s: float
    waits_s: float
    order: EndOrder
    where: str
    owner: str

    @property
    def lasts_s(self) -> float:
        """How long an answer may still run after the end of its pod began."""
        return min(self.grace_s, self.waits_s)


def longest_answer_s(classes: Sequence[RequestClass]) -> float:
    """How long the longest answer runs that is within its objective: TTFT and all output tokens at its TPOT.

    By specification and not by measurement: what was measured so far says nothing of the next request.
    """
    return max(_answer_ms(c) for c in classes) / 1000.0


def longest_class(classes: Sequence[RequestClass]) -> RequestClass:
    """The class that this answer belongs to."""
    return max(classes, key=_answer_ms)


def _answer_ms(c: RequestClass) -> int:
    return c.objective.time_to_first_token_ms + c.output_tokens.maximum * c.objective.time_per_output_token_ms

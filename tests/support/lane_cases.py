"""Shared inputs of the lane tests: classes with loads, and made-up costs of lanes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from joulery.domain import reasons
from joulery.domain.request_class import DEFAULT_CLASSES, Objective, RequestClass, TokenRange
from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.atoms import LaneLoad
from joulery.optimizer.lanes.costs import Estimate, LaneCost
from joulery.optimizer.lanes.request import ClassLoad, Confusion

NAMES = tuple(each.name for each in DEFAULT_CLASSES)


def loads(rates: Sequence[float]) -> tuple[ClassLoad, ...]:
    """The first of the nine default classes with these rates."""
    return tuple(ClassLoad(each, rate) for each, rate in zip(DEFAULT_CLASSES, rates, strict=False))


def many(rates: Sequence[float]) -> tuple[ClassLoad, ...]:
    """So many classes of rising inputs, each with an objective of its own."""
    return tuple(
        ClassLoad(
            RequestClass(
                f"c{place:02d}",
                TokenRange(100 * place + 1, 100 * place + 100),
                TokenRange(1, 8192),
                Objective(200 + 50 * place, 100),
            ),
            rate,
        )
        for place, rate in enumerate(rates)
    )


def confused(names: Sequence[str], accuracy: float) -> Confusion:
    """A predictor that is right so often, else takes a request for any other class alike."""
    wrong = (1.0 - accuracy) / max(1, len(names) - 1)
    rows = tuple(tuple(accuracy if a == b else wrong for b in names) for a in names)
    return Confusion(tuple(names), rows if len(names) > 1 else ((1.0,),))


def partitions(items: Sequence[str]) -> Iterator[list[list[str]]]:
    """All set partitions, as many as Bell's number."""
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for place, part in enumerate(rest):
            yield [*rest[:place], [items[0], *part], *rest[place + 1 :]]


@dataclass
class Stepwise:
    """Whole instances, idle watts each, and watts per request that grow with the spread of classes.

    An instance carries more under a longer objective; both rise with load, and a part never costs more than the
    whole it is taken from. `error` is that of the estimates, which leave out the rounding to whole instances.
    """

    instance_rps: float = 4.0
    idle_w: float = 500.0
    request_w: float = 80.0
    asked: list[LaneLoad] = field(default_factory=list)

    def cost(self, lane: LaneLoad) -> LaneCost | Verdict:
        self.asked.append(lane)
        instances = max(1, math.ceil(self._busy(lane) - 1e-9))
        watts = instances * self.idle_w + self._dynamic_w(lane)
        return LaneCost(watts, watts, (("A", instances),), f"{instances} x one")

    def estimate(self, lane: LaneLoad) -> Estimate:
        return Estimate(self._busy(lane) * self.idle_w + self._dynamic_w(lane), 0.0)

    def _busy(self, lane: LaneLoad) -> float:
        return lane.rate_rps / self.instance_rps * (1.0 + 20.0 / lane.objective.time_to_first_token_ms)

    def _dynamic_w(self, lane: LaneLoad) -> float:
        return lane.rate_rps * self.request_w * (1.0 + 0.1 * len(lane.arrivals))


@dataclass
class Given:
    """Watts by members; lanes that are not given cannot be served. Nothing is guessed."""

    watts: Mapping[tuple[str, ...], float]
    guesses: Mapping[tuple[str, ...], Estimate] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def cost(self, lane: LaneLoad) -> LaneCost | Verdict:
        self.asked.append(lane.members)
        watts = self.watts.get(lane.members)
        if watts is None:
            return Verdict(reasons.OBJECTIVE_UNREACHABLE, f"lane {lane.name}: nothing holds its objective")
        return LaneCost(watts, watts, (), "1 x one")

    def estimate(self, lane: LaneLoad) -> Estimate | None:
        return self.guesses.get(lane.members, Estimate(0.0, 0.0))

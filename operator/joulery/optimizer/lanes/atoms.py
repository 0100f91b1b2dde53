"""What lanes are cut of: groups of classes that the router can tell apart, with the requests that land there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulery.domain.request_class import Objective, lane_objective
from joulery.optimizer.lanes.request import ClassLoad, Confusion, Promise


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests of one class that land in a lane, whatever they were taken for."""

    load: ClassLoad
    rate_rps: float


@dataclass(frozen=True, slots=True)
class Atom:
    """Classes that are never parted, and what arrives where requests taken for them are sent."""

    members: tuple[str, ...]
    arrivals: tuple[Arrivals, ...]


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A lane that could be: classes sent there, requests that land there, and the objective that they get."""

    members: tuple[str, ...]
    arrivals: tuple[Arrivals, ...]
    objective: Objective

    @property
    def name(self) -> str:
        """Its classes, for people."""
        return "+".join(self.members)

    @property
    def rate_rps(self) -> float:
        """All that lands there."""
        return math.fsum(each.rate_rps for each in self.arrivals)


def by_input(classes: Sequence[ClassLoad]) -> tuple[Atom, ...]:
    """One atom per range of input tokens; ranges that overlap are one, as the prompt does not tell which."""
    groups: list[list[ClassLoad]] = []
    largest = 0
    for each in sorted(classes, key=lambda c: (c.request_class.input_tokens.minimum, c.name)):
        bounds = each.request_class.input_tokens
        if not groups or bounds.minimum > largest:
            groups.append([])
        groups[-1].append(each)
        largest = max(largest, bounds.maximum)
    found = (
        _atom([(each, each.rate_rps) for each in group], [each.name for each in group]) for group in groups
    )
    return tuple(atom for atom in found if atom.arrivals)


def by_class(
    classes: Sequence[ClassLoad], predicted: Sequence[str], confusion: Confusion | None
) -> tuple[Atom, ...]:
    """One atom per name that anything is taken for; every class's own name is among the predicted."""

    def sent(true: ClassLoad, name: str) -> float:
        if confusion is None:
            return true.rate_rps if true.name == name else 0.0
        return true.rate_rps * confusion.share(true.name, name)

    found = (_atom([(true, sent(true, name)) for true in classes], [name]) for name in predicted)
    return tuple(atom for atom in found if atom.arrivals)


def _atom(arrivals: Sequence[tuple[ClassLoad, float]], members: Sequence[str]) -> Atom:
    landing = (Arrivals(load, rate) for load, rate in arrivals if rate > 0.0)
    return Atom(tuple(sorted(members)), tuple(sorted(landing, key=lambda each: each.load.name)))


def lane_of(atoms: Sequence[Atom], promise: Promise) -> LaneLoad:
    """One lane of some atoms, in no order; at least one request lands there."""
    rates: dict[str, list[float]] = {}
    loads: dict[str, ClassLoad] = {}
    for atom in atoms:
        for each in atom.arrivals:
            rates.setdefault(each.load.name, []).append(each.rate_rps)
            loads[each.load.name] = each.load
    arrivals = tuple(Arrivals(loads[name], math.fsum(rates[name])) for name in sorted(rates))
    members = tuple(sorted(name for atom in atoms for name in atom.members))
    return LaneLoad(members, arrivals, _objective(arrivals, promise))


def _objective(arrivals: Sequence[Arrivals], promise: Promise) -> Objective:
    classes = [each.load.request_class for each in arrivals]
    if promise is Promise.LARGEST_INPUT:
        return lane_objective(classes)
    objectives = [each.objective for each in classes]
    intervals = [o.inter_token_latency_p99_ms for o in objectives if o.inter_token_latency_p99_ms is not None]
    return Objective(
        min(o.time_to_first_token_ms for o in objectives),
        min(o.time_per_output_token_ms for o in objectives),
        min(intervals, default=None),
    )

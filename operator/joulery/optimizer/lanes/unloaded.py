"""Classes that carry nothing in a plan: without load, or set aside because of a fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.plan import Lane, LanePartition
from joulery.optimizer.lanes.request import ClassLoad, LanePolicy
from joulery.optimizer.lanes.search import Quality


def with_guests(lanes: Sequence[Lane], classes: Sequence[ClassLoad]) -> tuple[Lane, ...]:
    """Classes that nothing is sent for, in the smallest lane that takes inputs as large, else in the largest."""
    sizes = {each.name: each.request_class.input_tokens.maximum for each in classes}
    largest = {lane.members: max(sizes[name] for name, _ in lane.rates_rps) for lane in lanes}
    guests: dict[tuple[str, ...], list[str]] = {lane.members: [] for lane in lanes}
    for name in sorted(set(sizes) - {name for lane in lanes for name in lane.members}):
        able = [(size, members) for members, size in largest.items() if size >= sizes[name]]
        _, home = min(able) if able else max((size, members) for members, size in largest.items())
        guests[home].append(name)
    return tuple(replace(lane, guests=tuple(guests[lane.members])) for lane in lanes)


def set_aside(faults: Mapping[str, Verdict], lanes: Iterable[Lane]) -> tuple[Lane, ...]:
    """A lane with its verdict for each class with a fault that is in none of the others."""
    placed = {name for lane in lanes for name in lane.members}
    return tuple(
        Lane((name,), (), (), None, None, faults[name]) for name in sorted(faults) if name not in placed
    )


def without_load(classes: Sequence[ClassLoad], policy: LanePolicy) -> LanePartition:
    """What there is to say where no class has load: one lane for all of them, which costs nothing yet."""
    names = tuple(each.name for each in classes)
    why = f"no load in {', '.join(names)}" if names else "no class to plan for"
    lanes = (Lane((), names, (), None, None, Verdict(reasons.NO_LOAD, why)),) if names else ()
    return LanePartition(lanes, policy, 0.0, 0.0, Quality.FIXED, None, False, 0, why)

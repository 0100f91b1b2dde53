"""The door: one request in, lanes with reasons out, never an exception.

Two boards are searched. On one the router counts prompt tokens and needs no prediction; on the other it sends
requests by predicted class, and what a predictor confuses lands in the wrong lane with its length and objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from joulery.optimizer.lanes.atoms import by_class, by_input
from joulery.optimizer.lanes.costs import Board, LaneCost, LaneCosts, Memory, Value
from joulery.optimizer.lanes.plan import Alternative, Lane, LanePartition
from joulery.optimizer.lanes.request import LanePolicy, LaneRequest, class_faults, confusion_fault
from joulery.optimizer.lanes.search import Found, Quality, cheapest
from joulery.optimizer.lanes.unloaded import set_aside, with_guests, without_load
from joulery.optimizer.lanes.words import lane_verdict


@dataclass(frozen=True, slots=True)
class _Chosen:
    board: Board
    found: Found
    policy: LanePolicy
    alternatives: tuple[Alternative, ...] = ()


def partition(request: LaneRequest, costs: LaneCosts) -> LanePartition:
    """Lanes for the classes of one pool, by the policy asked for.

    Load that is not served comes first, then cost. Classes with faults and lanes that no option serves get a
    verdict; a confusion that cannot be used leaves what needs no prediction. The same request gives the same
    lanes, whatever the order of its classes.
    """
    faults = class_faults(request.classes)
    sound = sorted((each for each in request.classes if each.name not in faults), key=lambda each: each.name)
    names = sorted({each.name for each in request.classes})
    wrong = confusion_fault(request.confusion, names) if request.confusion is not None else None
    refused = (*(faults[name] for name in sorted(faults)), *((wrong,) if wrong else ()))
    memory = Memory(costs)
    inputs = Board(by_input(sound), request.promise, memory)
    policy = LanePolicy.BY_INPUT if wrong and request.policy is LanePolicy.PER_CLASS else request.policy
    if inputs.atoms:
        atoms = by_class(sound, names, request.confusion) if not wrong else ()
        classes = None if wrong else Board(atoms, request.promise, memory)
        chosen = _chosen(request, policy, inputs, classes)
        plan = _written(chosen, needs_prediction=chosen.board is classes)
        plan = replace(plan, lanes=with_guests(plan.lanes, sound), priced=memory.priced)
        plan = _unproven(plan, memory.broken_floors) if memory.broken_floors else plan
    else:
        plan = without_load(sound, policy)
    return replace(plan, lanes=(*plan.lanes, *set_aside(faults, plan.lanes)), refused=refused)


def _chosen(request: LaneRequest, policy: LanePolicy, inputs: Board, classes: Board | None) -> _Chosen:
    fixed = {LanePolicy.SINGLE: (inputs, (inputs.whole,)), LanePolicy.BY_INPUT: (inputs, inputs.singles)}
    if classes is not None:
        fixed[LanePolicy.PER_CLASS] = (classes, classes.singles)
    if policy in fixed:
        board, masks = fixed[policy]
        return _Chosen(board, _as_asked(board, masks), policy)
    found = cheapest(inputs, ((inputs.whole,), inputs.singles), request.most_priced)
    best = _Chosen(inputs, found, LanePolicy.AUTO)
    if classes is not None:
        left = max(0, request.most_priced - inputs.priced)
        by_prediction = cheapest(classes, ((classes.whole,), classes.singles), left)
        # Equal ones go to what needs no prediction.
        if _is_less(by_prediction.value, found.value):
            best = _Chosen(classes, by_prediction, LanePolicy.AUTO)
        best = replace(best, found=_with_both(best.found, found, by_prediction))
    rows = tuple(_alternative(name, board, masks) for name, (board, masks) in fixed.items())
    return replace(best, alternatives=rows)


def _is_less(one: Value, other: Value) -> bool:
    return (one.unserved_micro_rps, one.cost_w) < (other.unserved_micro_rps, other.cost_w)


def _with_both(best: Found, first: Found, second: Found) -> Found:
    """The floor and quality that hold over both boards."""
    floors = [each.floor for each in (first, second) if each.floor is not None]
    order = (Quality.OPTIMAL, Quality.BOUNDED, Quality.LOCAL)
    quality = max((first.quality, second.quality), key=order.index)
    return replace(best, floor=min(floors) if len(floors) == 2 else None, quality=quality)


def _as_asked(board: Board, masks: tuple[int, ...]) -> Found:
    for mask in masks:
        board.cost(mask)
    return Found(masks, board.total(masks), Quality.FIXED, None)


def _alternative(policy: LanePolicy, board: Board, masks: tuple[int, ...]) -> Alternative:
    value = board.total(masks)
    return Alternative(policy, len(masks), value.cost_w, value.unserved_rps)


def _written(chosen: _Chosen, *, needs_prediction: bool) -> LanePartition:
    board, found = chosen.board, chosen.found
    lanes = tuple(_lane(board, found.masks, mask, chosen.policy) for mask in found.masks)
    return LanePartition(
        lanes=tuple(sorted(lanes, key=lambda lane: lane.members)),
        policy=chosen.policy,
        cost_w=found.value.cost_w,
        unserved_rps=found.value.unserved_rps,
        quality=found.quality,
        bound_w=_bound_w(found),
        needs_prediction=needs_prediction and len(found.masks) > 1,
        priced=0,
        why=_why(chosen),
        alternatives=chosen.alternatives,
    )


def _unproven(plan: LanePartition, lanes: int) -> LanePartition:
    """Estimates that were wrong once prove nothing."""
    quality = Quality.BOUNDED if plan.quality is Quality.OPTIMAL else plan.quality
    why = (
        f"{plan.why}; {lanes} lanes cost less than estimates allow, so nothing is proven of lanes not priced"
    )
    return replace(plan, bound_w=None, quality=quality, why=why)


def _bound_w(found: Found) -> float | None:
    """Watts only compare where as little is left unserved."""
    if found.floor is None or found.floor.unserved_micro_rps != found.value.unserved_micro_rps:
        return None
    return found.floor.cost_w


def _lane(board: Board, masks: tuple[int, ...], mask: int, policy: LanePolicy) -> Lane:
    load, cost = board.lane(mask), board.cost(mask)
    return Lane(
        members=load.members,
        guests=(),
        rates_rps=tuple((each.load.name, each.rate_rps) for each in load.arrivals),
        objective=load.objective,
        cost=cost if isinstance(cost, LaneCost) else None,
        verdict=lane_verdict(board, masks, mask, policy),
    )


def _why(chosen: _Chosen) -> str:
    found = chosen.found
    said = f"policy {chosen.policy}: {len(found.masks)} lanes, {found.value.cost_w:,.0f} W"
    if not chosen.alternatives:
        return said
    others = ", ".join(
        f"{each.policy} {each.cost_w:,.0f} W"
        + (f" with {each.unserved_rps:.2f} requests/s unserved" if each.unserved_rps else "")
        for each in chosen.alternatives
    )
    return f"{said} ({others})"

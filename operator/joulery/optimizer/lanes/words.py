"""Why lanes are cut as they are, in words and watts."""

from __future__ import annotations

from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.atoms import LaneLoad
from joulery.optimizer.lanes.costs import Board, LaneCost, Look, Value
from joulery.optimizer.lanes.request import LanePolicy


def lane_verdict(board: Board, masks: tuple[int, ...], mask: int, policy: LanePolicy) -> Verdict:
    """Why a lane is as it is, with what the nearest other cut would cost."""
    cost, load = board.cost(mask), board.lane(mask)
    if isinstance(cost, Verdict):
        return cost
    if policy is not LanePolicy.AUTO:
        said = f"lane {load.name}: policy {policy}; {cost.how}, {cost.cost_w:,.0f} W{_given_up(load)}"
        return Verdict(reasons.LANE_ASKED_FOR, said)
    if mask not in board.singles:
        return Verdict(reasons.LANE_MERGED, _merged(board, masks, mask, cost))
    return Verdict(reasons.LANE_APART, _apart(board, masks, mask, cost))


def _merged(board: Board, masks: tuple[int, ...], mask: int, cost: LaneCost) -> str:
    parts = [single for single in board.singles if single & mask]
    load = board.lane(mask)
    listed = ", ".join(f"{board.lane(part).name} {_worth(board, part)}" for part in parts)
    apart = board.total(parts, Look.GUESS)
    if apart.unserved_micro_rps:
        gain = "which would not serve all of them"
    else:
        gain = f"{apart.cost_w:,.0f} W in all: merging saves {_watts(apart.cost_w - cost.cost_w)}"
    return (
        f"lane {load.name}: {cost.how}, {cost.cost_w:,.0f} W; apart {listed}, {gain}{_given_up(load)}"
        f"{_nearest(board, masks, mask)}"
    )


def _apart(board: Board, masks: tuple[int, ...], mask: int, cost: LaneCost) -> str:
    load = board.lane(mask)
    said = f"lane {load.name}: {cost.how}, {cost.cost_w:,.0f} W"
    return said + _given_up(load) + _nearest(board, masks, mask)


def _nearest(board: Board, masks: tuple[int, ...], mask: int) -> str:
    """What the best merge with another lane would cost more."""
    others = [other for other in masks if other != mask]
    if not others:
        return ""

    def more(other: int) -> tuple[Value, int]:
        together, apart = board.value(mask | other, Look.GUESS), board.total((mask, other))
        gap = Value(together.unserved_micro_rps - apart.unserved_micro_rps, together.cost_w - apart.cost_w, 0)
        return gap, other

    gap, other = min(more(each) for each in others)
    about = "" if board.is_known(mask | other) else "about "
    with_it = f"; with {board.lane(other).name}, the nearest, "
    if gap.unserved_micro_rps > 0:
        return f"{with_it}it would not be served"
    if gap.cost_w < 0.0:
        return f"{with_it}it might draw {about}{_watts(-gap.cost_w)} less, which was not looked into"
    return f"{with_it}it would draw {about}{_watts(gap.cost_w)} more"


def _worth(board: Board, mask: int) -> str:
    value = board.value(mask, Look.GUESS)
    about = "" if board.is_known(mask) else "about "
    return "not at all" if value.unserved_micro_rps else f"{about}{_watts(value.cost_w)}"


def _given_up(load: LaneLoad) -> str:
    """Classes that get a longer time to first token than their own."""
    own = {each.load.name: each.load.request_class.objective.time_to_first_token_ms for each in load.arrivals}
    longest = load.objective.time_to_first_token_ms
    losing = [name for name, ttft_ms in own.items() if ttft_ms < longest]
    if not losing:
        return ""
    theirs = sorted({own[name] for name in losing})
    instead = f"{theirs[0]}" if len(theirs) == 1 else f"{theirs[0]} to {theirs[-1]}"
    return f"; {', '.join(losing)}: {longest} ms to the first token instead of {instead} ms"


def _watts(watts: float) -> str:
    return f"{watts:,.0f} W" if abs(watts) >= 1.0 else f"{watts:.1f} W"

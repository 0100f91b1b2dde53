"""What is returned: of lanes that fill instances with their shares of the load, of pools the option chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.packing import packing_rows
from joulery.optimizer.solution import Shortage, SolveStatus


@dataclass(frozen=True, slots=True)
class Group:
    """Equal instances of a lane.

    Attributes:
        item: index into the lane's items, as the caller gave them.
        instances: how many.
        share: of the lane's load that each of them carries.
    """

    item: int
    instances: int
    share: float


@dataclass(frozen=True, slots=True)
class RowPrice:
    """What a group of `size` GPUs on one node is worth, in watts; carried to the next solve."""

    accelerator: str
    size: int
    watts: float


@dataclass(frozen=True, slots=True)
class LanePlan:
    """One joint plan.

    Attributes:
        groups: per lane, in the problem's order; empty if refused.
        cost_w: watts of the plan with what starts and stops cost; NaN if refused.
        bound_w: lower bound of any plan's cost, to rounding; NaN if refused.
        status: `OPTIMAL` where the gap asked for is reached.
        why: what stood in the way, in a sentence for people.
        engine: which engine made it.
        prices: state for the next solve; without it the plan is as good, only later.
        shed: share of its load that each lane loses and then each pool, in the problem's order; the bound is of
            plans that shed no more of any.
        shortage: accelerators that are short where lanes shed; `at most` these when the engine is `fallback`.
        starts_over_limit: instances started beyond the problem's limit, all of them needed for what is served.
        options: index of the option chosen of each pool, in the problem's order.
        node_w: of the cost, watts of nodes that it switches on.
        power_missing_w: by which the power budget would have to rise before it could serve all, at least.
    """

    groups: tuple[tuple[Group, ...], ...]
    cost_w: float
    bound_w: float
    status: SolveStatus
    why: str
    engine: str
    prices: tuple[RowPrice, ...] = ()
    shed: tuple[float, ...] = ()
    shortage: tuple[Shortage, ...] = ()
    starts_over_limit: int = 0
    options: tuple[int, ...] = ()
    node_w: float = 0.0
    power_missing_w: float = 0.0

    @property
    def is_plan(self) -> bool:
        """Whether there is something to act on."""
        return self.status is not SolveStatus.REFUSED


def written(
    problem: LaneProblem,
    groups: tuple[tuple[Group, ...], ...],
    bound_w: float,
    *,
    gap: float,
    engine: str,
    shed: tuple[float, ...] = (),
    options: tuple[int, ...] = (),
) -> LanePlan:
    """A plan with its cost from the problem; the bound is never above it. Lanes shed nothing unless given."""
    cost_w = math.fsum(
        group.instances * (float(lane.idle_w[group.item]) + _dynamic_w(lane, group))
        for lane, chosen in zip(problem.lanes, groups, strict=True)
        for group in chosen
    )
    cost_w += math.fsum(
        switching_w(problem, lane, chosen) for lane, chosen in zip(problem.lanes, groups, strict=True)
    )
    pairs = zip(problem.pools, options, strict=True)
    cost_w += math.fsum(float(pool.watts[o]) + float(pool.switch_w[o]) for pool, o in pairs)
    node_w = _node_w(problem, groups, options)
    cost_w += node_w
    bound_w = min(bound_w, cost_w)
    is_close = cost_w - bound_w <= gap * cost_w
    status = SolveStatus.OPTIMAL if is_close else SolveStatus.FEASIBLE
    why = "supply binding" if is_close else f"{(cost_w - bound_w) / cost_w:.2%} above the bound"
    shed = (*(shed or (0.0,) * len(groups)), *shed_by(problem, options))
    return LanePlan(groups, cost_w, bound_w, status, why, engine, shed=shed, options=options, node_w=node_w)


def _node_w(problem: LaneProblem, groups: tuple[tuple[Group, ...], ...], options: tuple[int, ...]) -> float:
    """Watts of the nodes that a plan needs switched on."""
    rows = packing_rows(problem.kinds, problem.supplies)
    if rows.left_off is None:
        return 0.0
    number = np.zeros(len(problem.kinds), dtype=np.int64)
    for lane, chosen in zip(problem.lanes, groups, strict=True):
        for group in chosen:
            number[lane.kind[group.item]] += group.instances
    for pool, option in zip(problem.pools, options, strict=True):
        number[pool.kind[option]] += pool.count[option]
    return rows.node_w(number @ rows.per_instance)


def shed_by(problem: LaneProblem, options: tuple[int, ...]) -> tuple[float, ...]:
    """Share of its planned peak that each pool loses."""
    return tuple(1.0 - float(pool.served[o]) for pool, o in zip(problem.pools, options, strict=True))


def all_switching_w(problem: LaneProblem, plan: LanePlan) -> float:
    """Cost of getting from what all lanes and pools run to a plan."""
    lanes = zip(problem.lanes, plan.groups, strict=True)
    pools = zip(problem.pools, plan.options, strict=True)
    return math.fsum(
        [
            *(switching_w(problem, lane, groups) for lane, groups in lanes),
            *(float(pool.switch_w[option]) for pool, option in pools),
        ]
    )


def switching_w(problem: LaneProblem, lane: Lane, groups: tuple[Group, ...]) -> float:
    """Cost of getting from what a lane runs to a plan, and from there to what is wanted later."""
    if not (lane.start_w or lane.awaited):
        return 0.0
    more, running = _more(problem, lane, groups), dict(lane.running)
    started_w = sum(lane.start_w * max(0, n) for n in more)
    return started_w + sum(
        wanted.short_w * max(0, wanted.instances - running.get(wanted.kind, 0) - more[wanted.kind])
        for wanted in lane.awaited
    )


def starts_of(problem: LaneProblem, plan: LanePlan) -> int:
    """Instances of a plan that do not run yet."""
    lanes = zip(problem.lanes, plan.groups, strict=True)
    pools = zip(problem.pools, plan.options, strict=True)
    started = sum(max(0, n) for lane, chosen in lanes for n in _more(problem, lane, chosen))
    return started + sum(int(pool.starts[option]) for pool, option in pools if pool.starts is not None)


def _more(problem: LaneProblem, lane: Lane, groups: tuple[Group, ...]) -> list[int]:
    """By kind, instances beyond those that run."""
    running = dict(lane.running)
    more = [-running.get(kind, 0) for kind in range(len(problem.kinds))]
    for group in groups:
        more[int(lane.kind[group.item])] += group.instances
    return more


def _dynamic_w(lane: Lane, group: Group) -> float:
    span_w = float(lane.full_w[group.item]) - float(lane.idle_w[group.item])
    return span_w * group.share / float(lane.capacity[group.item])


def refused(why: str, engine: str) -> LanePlan:
    """No plan, and why."""
    return LanePlan((), math.nan, math.nan, SolveStatus.REFUSED, why, engine)

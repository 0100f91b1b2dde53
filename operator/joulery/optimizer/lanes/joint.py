"""Lanes of one pool together with everything else that wants the same GPUs.

The partition is found at a price per GPU, from nothing upward; each that is found is solved as pools of one problem
with the rest, packing and all, by the optimizer's own door. Scarce GPUs are dear, and dear GPUs merge lanes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from joulery.optimizer.lanes.atoms import Arrivals, LaneLoad
from joulery.optimizer.lanes.blocks import lane_block
from joulery.optimizer.lanes.partition import partition
from joulery.optimizer.lanes.plan import Lane, LanePartition
from joulery.optimizer.lanes.pricing import PointLaneCosts
from joulery.optimizer.lanes.request import LanePolicy, LaneRequest
from joulery.optimizer.problem import Kind, Problem
from joulery.optimizer.solution import Solution
from joulery.optimizer.solve import solve

# Watts per GPU; an H100 draws 90 idle and at most 700, and above the last nothing changes any more.
PRICES_W = (0.0, 50.0, 100.0, 200.0, 400.0, 800.0)
_FIXED = (LanePolicy.SINGLE, LanePolicy.BY_INPUT, LanePolicy.PER_CLASS)


@dataclass(frozen=True, slots=True, eq=False)
class JointLanes:
    """Lanes and the joint plan that they were chosen for.

    Attributes:
        problem: the rest, then one pool per lane with load, in the order of `plan.lanes`.
        price_w: watts per GPU at which the lanes were found.
        shed_rps: load of this pool's lanes that the plan leaves unserved.
        tried: partitions that were solved with the rest.
    """

    plan: LanePartition
    problem: Problem
    solution: Solution
    price_w: float
    shed_rps: float
    tried: int


def lanes_within(
    request: LaneRequest,
    costs: PointLaneCosts,
    rest: Problem,
    *,
    key: str,
    weight: float,
    time_limit_s: float = 5.0,
) -> JointLanes:
    """The lanes whose joint plan sheds least by priority, then costs least; never worse than a fixed policy's.

    Args:
        rest: everything else, with the supply that all share; its quotas bind its own pools.
        key: of the pool; its lanes are `key/members`.
        weight: of the pool against the others.
        time_limit_s: for each partition that is solved with the rest.
    """
    best: JointLanes | None = None
    tried = 0
    for plan, price_w in _candidates(request, costs):
        found = _solved(request, costs, rest, plan, key, weight, time_limit_s)
        tried += 1
        if best is None or _rank(found, weight, rest) < _rank(best, weight, rest):
            best = replace(found, price_w=price_w)
        if not found.solution.is_plan or (price_w == 0.0 and _is_unbound(found, rest)):
            break  # a fault of the rest stays one; the cheapest lanes that fit are found
    assert best is not None  # the first candidate is always there
    return replace(best, tried=tried)


def _candidates(request: LaneRequest, costs: PointLaneCosts) -> Iterator[tuple[LanePartition, float]]:
    """Partitions that differ, with the price at which each was found first."""
    seen: set[object] = set()
    asked = [(request.policy, price_w) for price_w in PRICES_W]
    if request.policy is LanePolicy.AUTO:
        asked += [(policy, 0.0) for policy in _FIXED]
    else:
        asked = asked[:1]
    for policy, price_w in asked:
        plan = partition(replace(request, policy=policy), costs.at_price(price_w))
        content = tuple((lane.members, lane.rates_rps) for lane in plan.lanes)
        if content not in seen:
            seen.add(content)
            yield plan, price_w


def _is_unbound(found: JointLanes, rest: Problem) -> bool:
    """Whether everybody has what is cheapest for them, so that no price would change anything."""
    alone_w = [(pool.watts + pool.switch_w)[pool.served >= pool.served.max()].min() for pool in rest.pools]
    is_served = not any(found.solution.shed[len(rest.pools) :])
    return is_served and found.solution.cost_w <= (found.plan.cost_w + math.fsum(alone_w)) * (1.0 + 1e-9)


def _rank(found: JointLanes, weight: float, rest: Problem) -> tuple[object, ...]:
    """Shed shares by falling weight, the pool's as one, then cost."""
    solution = found.solution
    if not solution.is_plan:
        return ((math.inf,), math.inf)
    shed: dict[float, float] = {weight: 0.0}
    lanes = found.problem.pools[len(rest.pools) :]
    total = sum(lane.rate_rps for lane in found.plan.lanes)
    for pool, share in zip(rest.pools, solution.shed, strict=False):
        shed[pool.weight] = shed.get(pool.weight, 0.0) + share
    if lanes:
        shed[weight] += found.shed_rps / total
    return (tuple(round(shed[w], 9) for w in sorted(shed, reverse=True)), solution.cost_w)


def _solved(
    request: LaneRequest,
    costs: PointLaneCosts,
    rest: Problem,
    plan: LanePartition,
    key: str,
    weight: float,
    time_limit_s: float,
) -> JointLanes:
    loaded = [lane for lane in plan.lanes if lane.rates_rps]
    kinds = tuple(Kind(v.accelerator, v.tensor_parallel_size) for v in costs.variants)
    blocks = tuple(
        lane_block(f"{key}/{lane.name}", weight, _load_of(request, lane), costs, len(rest.kinds))
        for lane in loaded
    )
    problem = replace(rest, kinds=(*rest.kinds, *kinds), pools=(*rest.pools, *blocks))
    solution = solve(problem, time_limit_s=time_limit_s)
    shares = solution.shed[len(rest.pools) :] if solution.is_plan else (1.0,) * len(loaded)
    shed_rps = sum(share * lane.rate_rps for share, lane in zip(shares, loaded, strict=True))
    return JointLanes(plan, problem, solution, 0.0, shed_rps, 1)


def _load_of(request: LaneRequest, lane: Lane) -> LaneLoad:
    loads = {each.name: each for each in request.classes}
    arrivals = tuple(Arrivals(loads[name], rate_rps) for name, rate_rps in lane.rates_rps)
    assert lane.objective is not None  # it has load
    return LaneLoad(lane.members, arrivals, lane.objective)

"""An independent look at a plan of lanes and pools: all is computed again from the problem, sharing no engine code."""

from __future__ import annotations

import math
from collections import Counter

from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.fill.plan import Group, LanePlan

RELATIVE_TOLERANCE = 1e-9
BUDGET_TOLERANCE = 1e-6


def check_lanes(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    """What is wrong with a plan, empty if nothing is: choice, load, capacity, packing, cost and bound."""
    if len(plan.groups) != len(problem.lanes):
        return (f"{len(plan.groups)} configurations for {len(problem.lanes)} lanes",)
    if len(plan.options) != len(problem.pools):
        return (f"{len(plan.options)} options chosen for {len(problem.pools)} pools",)
    both = len(problem.lanes) + len(problem.pools)
    if len(plan.shed) != both:
        return (f"shed given for {len(plan.shed)} of {both} lanes and pools",)
    strays = (*_strays(problem, plan), *_stray_options(problem, plan))
    chosen = list(zip(problem.lanes, plan.groups, plan.shed, strict=False))
    return strays or (
        *(fault for lane, groups, shed in chosen for fault in _load(lane, groups, shed)),
        *(fault for lane, groups, shed in chosen for fault in _rules(lane, groups, shed)),
        *_served(problem, plan),
        *_packing(problem, plan),
        *_quotas(problem, plan),
        *_starts(problem, plan),
        *_budget(problem, plan),
        *_cost(problem, plan),
    )


def _strays(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    return tuple(
        f"lane {lane.key}: {group} is none of its {len(lane)} items"
        for lane, groups in zip(problem.lanes, plan.groups, strict=True)
        for group in groups
        if not (0 <= group.item < len(lane) and group.instances >= 1)
    )


def _stray_options(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    return tuple(
        f"pool {pool.key}: option {option} is none of its {len(pool)}"
        for pool, option in zip(problem.pools, plan.options, strict=True)
        if not 0 <= option < len(pool)
    )


def _served(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    """What the options of pools shed."""
    shed = plan.shed[len(problem.lanes) :]
    return tuple(
        f"pool {pool.key}: sheds {1.0 - float(pool.served[option])}, not {told}"
        for pool, option, told in zip(problem.pools, plan.options, shed, strict=True)
        if not abs(told - (1.0 - float(pool.served[option]))) <= RELATIVE_TOLERANCE
    )


def _load(lane: Lane, groups: tuple[Group, ...], shed: float) -> tuple[str, ...]:
    found = [] if 0.0 <= shed <= 1.0 else [f"lane {lane.key}: sheds {shed} of its load"]
    for group in groups:
        capacity = float(lane.capacity[group.item])
        if not -RELATIVE_TOLERANCE <= group.share <= capacity * (1 + RELATIVE_TOLERANCE):
            found.append(f"lane {lane.key}: share {group.share} of an instance that carries {capacity}")
    carried = math.fsum(group.instances * group.share for group in groups)
    if not abs(carried - (1.0 - shed)) <= RELATIVE_TOLERANCE * 10:
        found.append(f"lane {lane.key}: {carried} of its load is carried, {shed} shed")
    return tuple(found)


def _rules(lane: Lane, groups: tuple[Group, ...], shed: float) -> tuple[str, ...]:
    """Fewest instances, and load carried by what is left when the largest ones are lost; of what is served."""
    found: list[str] = []
    if shed == 1.0:
        return ()
    instances = sum(group.instances for group in groups)
    if instances < lane.fewest:
        found.append(f"lane {lane.key}: {instances} instances, fewest {lane.fewest}")
    if lane.lost:
        boosted = sorted(
            max(
                float(c)
                for c, kind in zip(lane.capacity, lane.kind, strict=True)
                if kind == lane.kind[group.item]
            )
            for group in groups
            for _ in range(group.instances)
        )
        left = math.fsum(boosted[: max(0, len(boosted) - lane.lost)])
        if left < 1.0 - shed - RELATIVE_TOLERANCE:
            found.append(f"lane {lane.key}: {left} of its load is carried with {lane.lost} instances lost")
    return tuple(found)


def _instances(lane: Lane, groups: tuple[Group, ...]) -> Counter[int]:
    """By kind."""
    found: Counter[int] = Counter()
    for group in groups:
        found[int(lane.kind[group.item])] += group.instances
    return found


def _switching_w(lane: Lane, groups: tuple[Group, ...]) -> float:
    if not (lane.start_w or lane.awaited):
        return 0.0
    have, want = Counter(dict(lane.running)), _instances(lane, groups)
    short_w = math.fsum(w.short_w * max(0, w.instances - want[w.kind]) for w in lane.awaited)
    return lane.start_w * (want - have).total() + short_w


def _all_instances(problem: LaneProblem, plan: LanePlan) -> Counter[int]:
    """Of lanes and pools together, by kind."""
    found: Counter[int] = Counter()
    for lane, groups in zip(problem.lanes, plan.groups, strict=True):
        for group in groups:
            found[int(lane.kind[group.item])] += group.instances
    for pool, option in zip(problem.pools, plan.options, strict=True):
        found[int(pool.kind[option])] += int(pool.count[option])
    return found


def _packing(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    return tuple(
        f"{accelerator}: {used} groups of {size} GPUs used, {have} available"
        for accelerator, size, used, have in _groups_used(problem, plan)
        if used > have
    )


def _groups_used(problem: LaneProblem, plan: LanePlan) -> tuple[tuple[str, int, int, int], ...]:
    """Accelerator and size with the groups of that size in use, and those there are."""
    instances: dict[str, Counter[int]] = {}
    for place, number in _all_instances(problem, plan).items():
        kind = problem.kinds[place]
        instances.setdefault(kind.accelerator, Counter())[kind.gpus] += number
    slots = {supply.accelerator: dict(supply.slots) for supply in problem.supplies}
    return tuple(
        (
            accelerator,
            size,
            sum(n * (larger // size) for larger, n in of_size.items() if larger >= size),
            have,
        )
        for accelerator, of_size in sorted(instances.items())
        for size, have in sorted(slots.get(accelerator, dict.fromkeys(of_size, 0)).items())
    )


def _node_w(problem: LaneProblem, plan: LanePlan) -> float:
    """Watts of the nodes that have to be on beside those that are."""
    off = {supply.accelerator: supply.off for supply in problem.supplies if supply.off is not None}
    if not off:
        return 0.0
    nodes: dict[str, int] = {}
    for accelerator, size, used, have in _groups_used(problem, plan):
        each = off[accelerator].gpus // size if accelerator in off else 0
        if each:
            beyond = used - (have - off[accelerator].number * each)
            nodes[accelerator] = max(nodes.get(accelerator, 0), -(-beyond // each))
    return math.fsum(number * off[name].watts for name, number in nodes.items())


def _budget(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    if problem.power_budget_w is None:
        return ()
    watts = _drawn_w(problem, plan)
    if watts <= problem.power_budget_w * (1.0 + BUDGET_TOLERANCE):
        return ()
    return (f"power budget: {watts} W drawn, {problem.power_budget_w} W allowed",)


def _drawn_w(problem: LaneProblem, plan: LanePlan) -> float:
    """Watts of all instances."""
    drawn_w = math.fsum(
        group.instances * _watts(lane, group)
        for lane, groups in zip(problem.lanes, plan.groups, strict=True)
        for group in groups
    )
    return drawn_w + math.fsum(
        float(pool.watts[o]) for pool, o in zip(problem.pools, plan.options, strict=True)
    )


def _quotas(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    if not problem.quotas:
        return ()
    used: Counter[str] = Counter()
    for place, number in _all_instances(problem, plan).items():
        used[problem.kinds[place].quota] += number * problem.kinds[place].gpus
    return tuple(
        f"quota {quota.name}: {used[quota.name]} GPUs used, {quota.gpus} allowed"
        for quota in problem.quotas
        if used[quota.name] > quota.gpus
    )


def _starts(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    if problem.max_starts is None:
        return ()
    started = sum(
        (_instances(lane, groups) - Counter(dict(lane.running))).total()
        for lane, groups in zip(problem.lanes, plan.groups, strict=True)
    )
    pools = zip(problem.pools, plan.options, strict=True)
    started += sum(int(pool.starts[option]) for pool, option in pools if pool.starts is not None)
    if max(0, started - problem.max_starts) == plan.starts_over_limit:
        return ()
    return (f"{started} starts, {problem.max_starts} allowed, {plan.starts_over_limit} more told",)


def _cost(problem: LaneProblem, plan: LanePlan) -> tuple[str, ...]:
    node_w = _node_w(problem, plan)
    cost_w = node_w + _drawn_w(problem, plan)
    cost_w += math.fsum(_switching_w(n, groups) for n, groups in zip(problem.lanes, plan.groups, strict=True))
    pools = zip(problem.pools, plan.options, strict=True)
    cost_w += math.fsum(float(pool.switch_w[o]) for pool, o in pools)
    slack_w = RELATIVE_TOLERANCE * max(1.0, abs(cost_w))
    found = []
    if not abs(plan.node_w - node_w) <= slack_w:
        found.append(f"nodes take {node_w} W, not {plan.node_w} W")
    if not abs(plan.cost_w - cost_w) <= slack_w:  # true for NaN as well
        found.append(f"cost is {cost_w} W, not {plan.cost_w} W")
    if not plan.bound_w <= cost_w + slack_w:
        found.append(f"bound {plan.bound_w} W above the cost {cost_w} W")
    return tuple(found)


def _watts(lane: Lane, group: Group) -> float:
    idle_w, full_w = float(lane.idle_w[group.item]), float(lane.full_w[group.item])
    return idle_w + (full_w - idle_w) * group.share / float(lane.capacity[group.item])

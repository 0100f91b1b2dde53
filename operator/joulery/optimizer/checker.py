"""An independent look at a solution: all is computed again from the problem, sharing no code with engines."""

from __future__ import annotations

import math

from joulery.optimizer.problem import Problem
from joulery.optimizer.solution import Solution

# Sums of a few hundred watts in another order differ by far less.
RELATIVE_TOLERANCE = 1e-9
SHED_TOLERANCE = 1e-9
BUDGET_TOLERANCE = 1e-6


def check(problem: Problem, solution: Solution) -> tuple[str, ...]:
    """What is wrong with a solution, empty if nothing is: choice, rows that pools share, cost, bound and shed."""
    choice = solution.choice.option
    if len(choice) != len(problem.pools):
        return (f"{len(choice)} options chosen for {len(problem.pools)} pools",)
    strays = tuple(
        f"pool {pool.key}: option {option} is not one of its {len(pool)}"
        for pool, option in zip(problem.pools, choice, strict=True)
        if not 0 <= option < len(pool)
    )
    return strays or (
        *_packing_violations(problem, choice),
        *_quota_violations(problem, choice),
        *_starts_violations(problem, solution),
        *_budget_violations(problem, choice),
        *_cost_violations(problem, solution),
        *_shed_violations(problem, solution),
    )


def _packing_violations(problem: Problem, choice: tuple[int, ...]) -> tuple[str, ...]:
    slots = {supply.accelerator: dict(supply.slots) for supply in problem.supplies}
    return tuple(
        f"{accelerator}: {used} groups of {size} GPUs used, {slots.get(accelerator, {}).get(size, 0)} available"
        for accelerator, size, used in _groups_used(problem, choice)
        if used > slots.get(accelerator, {}).get(size, 0)
    )


def _groups_used(problem: Problem, choice: tuple[int, ...]) -> tuple[tuple[str, int, int], ...]:
    """Accelerator, size and groups of that size in use, of each size that instances have."""
    instances: dict[str, dict[int, int]] = {}
    for pool, option in zip(problem.pools, choice, strict=True):
        kind = problem.kinds[int(pool.kind[option])]
        of_size = instances.setdefault(kind.accelerator, {})
        of_size[kind.gpus] = of_size.get(kind.gpus, 0) + int(pool.count[option])
    return tuple(
        (accelerator, size, sum(n * (larger // size) for larger, n in of_size.items() if larger >= size))
        for accelerator, of_size in sorted(instances.items())
        for size in sorted(of_size)
    )


def _node_w(problem: Problem, choice: tuple[int, ...]) -> float:
    """Watts of the nodes that the choice needs switched on."""
    supplies = {s.accelerator: (dict(s.slots), s.off) for s in problem.supplies if s.off is not None}
    nodes: dict[str, int] = {}
    for accelerator, size, used in _groups_used(problem, choice):
        slots, off = supplies.get(accelerator, ({}, None))
        each = off.gpus // size if off is not None else 0
        if off is not None and each:
            beyond = used - (slots[size] - off.number * each)
            nodes[accelerator] = max(nodes.get(accelerator, 0), -(-beyond // each))
    return math.fsum(number * off.watts for name, number in nodes.items() if (off := supplies[name][1]))


def _budget_violations(problem: Problem, choice: tuple[int, ...]) -> tuple[str, ...]:
    if problem.power_budget_w is None:
        return ()
    watts = math.fsum(float(p.watts[o]) for p, o in zip(problem.pools, choice, strict=True))
    if watts <= problem.power_budget_w * (1.0 + BUDGET_TOLERANCE):
        return ()
    return (f"power budget: {watts} W drawn, {problem.power_budget_w} W allowed",)


def _quota_violations(problem: Problem, choice: tuple[int, ...]) -> tuple[str, ...]:
    used: dict[str, int] = {}
    for pool, option in zip(problem.pools, choice, strict=True):
        kind = problem.kinds[int(pool.kind[option])]
        used[kind.quota] = used.get(kind.quota, 0) + int(pool.count[option]) * kind.gpus
    return tuple(
        f"quota {quota.name}: {used[quota.name]} GPUs used, {quota.gpus} allowed"
        for quota in problem.quotas
        if used.get(quota.name, 0) > quota.gpus
    )


def _starts_violations(problem: Problem, solution: Solution) -> tuple[str, ...]:
    if problem.max_starts is None:
        return ()
    pairs = zip(problem.pools, solution.choice.option, strict=True)
    started = sum(int(pool.starts[option]) for pool, option in pairs if pool.starts is not None)
    over = max(0, started - problem.max_starts)
    if over == solution.starts_over_limit:
        return ()
    return (f"{started} starts, {problem.max_starts} allowed, {solution.starts_over_limit} more told",)


def _cost_violations(problem: Problem, solution: Solution) -> tuple[str, ...]:
    chosen = list(zip(problem.pools, solution.choice.option, strict=True))
    node_w = _node_w(problem, solution.choice.option)
    cost_w = node_w + math.fsum(float(pool.watts[o]) + float(pool.switch_w[o]) for pool, o in chosen)
    slack_w = RELATIVE_TOLERANCE * max(1.0, abs(cost_w))
    found = []
    if not abs(solution.node_w - node_w) <= slack_w:
        found.append(f"nodes take {node_w} W, not {solution.node_w} W")
    if not abs(solution.cost_w - cost_w) <= slack_w:  # true for NaN as well
        found.append(f"cost is {cost_w} W, not {solution.cost_w} W")
    if not solution.bound_w <= cost_w + slack_w:
        found.append(f"bound {solution.bound_w} W above the cost {cost_w} W")
    return tuple(found)


def _shed_violations(problem: Problem, solution: Solution) -> tuple[str, ...]:
    if len(solution.shed) != len(problem.pools):
        return (f"shed given for {len(solution.shed)} of {len(problem.pools)} pools",)
    return tuple(
        f"pool {pool.key}: sheds {1.0 - float(pool.served[option])}, not {shed}"
        for pool, option, shed in zip(problem.pools, solution.choice.option, solution.shed, strict=True)
        if not abs(shed - (1.0 - float(pool.served[option]))) <= SHED_TOLERANCE
    )

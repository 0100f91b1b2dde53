"""One cycle under drifting loads: what is decided with what runs, and what starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from joulery.bench.forms import NOTHING_WANTED, Form, Running, Wanted, equal, fill
from joulery.bench.suite import Fleet
from joulery.optimizer.fill.awaited import awaited_of
from joulery.optimizer.fill.plan import Group, switching_w
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import Floats, Problem
from joulery.optimizer.solution import Solution
from joulery.optimizer.solve import AUTO, solve

# So that no plan depends on how busy the machine is: a solve of these takes a fifth of a second.
LONG_S = 120.0


@dataclass(frozen=True, slots=True)
class Step:
    """What runs then, its watts without what starts cost, and pools shed."""

    running: Running
    watts: float
    shed: float


def step(
    form: Form,
    fleet: Fleet,
    running: Running,
    start_w: Floats,
    engine: str = AUTO,
    wanted: Wanted = NOTHING_WANTED,
) -> Step:
    """The plan of a cycle.

    Args:
        running: by pool; nothing before the first cycle, whose starts are free.
        start_w: cost of a start by kind, watts over the cycle; lanes that fill have one for all, the highest.
        wanted: what is likely later; what a plan leaves out of it is started then.

    Raises:
        ValueError: lanes that fill are refused.
    """
    start_w = start_w if running else 0.0 * start_w
    if form is not Form.FILL:
        return _split_equally(equal(fleet, running, start_w, wanted), engine)
    return _filled(fleet, running, float(start_w.max()), wanted)


def begun(before: Running, now: Running) -> Mapping[int, int]:
    """Instances started, by kind: those of a pool and kind that were not there before."""
    found: dict[int, int] = {}
    for key, kinds in now.items():
        for kind, count in kinds.items():
            found[kind] = found.get(kind, 0) + max(0, count - before[key].get(kind, 0))
    return found


def _split_equally(problem: Problem, engine: str) -> Step:
    solution = solve(problem, engine=engine, time_limit_s=LONG_S)
    return Step(running_of(problem, solution), _watts(problem, solution), sum(solution.shed))


def running_of(problem: Problem, solution: Solution) -> Running:
    """What a plan runs, by pool."""
    pairs = zip(problem.pools, solution.choice.option, strict=True)
    return {p.key: {int(p.kind[o]): int(p.count[o])} for p, o in pairs}


def _watts(problem: Problem, solution: Solution) -> float:
    pairs = zip(problem.pools, solution.choice.option, strict=True)
    return sum(float(p.watts[o]) for p, o in pairs)


def _filled(fleet: Fleet, running: Running, start_w: float, wanted: Wanted) -> Step:
    problem = fill(fleet)
    lanes = tuple(
        replace(
            lane,
            start_w=start_w,
            running=tuple(sorted(running.get(lane.key, {}).items())),
            awaited=awaited_of(wanted.of(lane.key), wanted.share * start_w),
        )
        for lane in problem.lanes
    )
    problem = replace(problem, lanes=lanes)
    plan = solve_lanes(problem, time_limit_s=LONG_S)
    if not plan.is_plan:
        raise ValueError(plan.why)
    chosen = list(zip(lanes, plan.groups, strict=True))
    switching = math.fsum(switching_w(problem, lane, groups) for lane, groups in chosen)
    now = {lane.key: _by_kind([int(lane.kind[g.item]) for g in groups], groups) for lane, groups in chosen}
    return Step(now, plan.cost_w - switching, sum(plan.shed))


def _by_kind(kinds: list[int], groups: tuple[Group, ...]) -> Mapping[int, int]:
    found: dict[int, int] = {}
    for kind, group in zip(kinds, groups, strict=True):
        found[kind] = found.get(kind, 0) + group.instances
    return found

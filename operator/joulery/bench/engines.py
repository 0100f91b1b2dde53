"""What is measured: engines behind one shape, each on the form of the suite that it understands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from joulery.bench.forms import Form, concave, equal, fill, mixed
from joulery.bench.suite import Fleet
from joulery.optimizer.checker import check
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import Problem
from joulery.optimizer.solution import Solution, SolveStatus
from joulery.optimizer.solve import solve


@dataclass(frozen=True, slots=True)
class Found:
    """An engine's plan in figures.

    Attributes:
        gpus: GPUs in use.
        is_proven: whether the engine says that it reached the gap asked for.
        faults: what the independent checker found wrong.
    """

    cost_w: float
    bound_w: float
    shed_pools: float
    gpus: int
    is_proven: bool
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A prepared problem: `solve` is timed, `judge` is not."""

    solve: Callable[[], object]
    judge: Callable[[object], Found]


class Engine(Protocol):
    """Prepares a fleet off the clock; `state` is what the solve before returned, None if cold."""

    def __call__(self, fleet: Fleet, state: object = None) -> Run:
        """The run of this fleet."""
        ...


def engine_on(form: Form, engine: str, time_limit_s: float) -> Engine:
    """An engine on a form."""
    if form in {Form.FILL, Form.MIXED}:
        return _on_lanes(fill if form is Form.FILL else mixed, engine, time_limit_s)
    build = {Form.EQUAL: equal, Form.CONCAVE: concave}[form]

    def prepare(fleet: Fleet, state: object = None) -> Run:
        del state  # these engines keep none
        problem = build(fleet)
        return Run(
            solve=lambda: solve(problem, engine=engine, time_limit_s=time_limit_s),
            judge=lambda result: _figures(problem, result),
        )

    return prepare


def _on_lanes(build: Callable[[Fleet], LaneProblem], engine: str, time_limit_s: float) -> Engine:
    def prepare(fleet: Fleet, state: object = None) -> Run:
        problem = build(fleet)
        prices = state.prices if isinstance(state, LanePlan) else ()
        return Run(
            solve=lambda: solve_lanes(problem, engine=engine, time_limit_s=time_limit_s, prices=prices),
            judge=lambda plan: _lane_figures(problem, plan),
        )

    return prepare


def _lane_figures(problem: LaneProblem, plan: object) -> Found:
    assert isinstance(plan, LanePlan)
    gpus = sum(
        group.instances * problem.kinds[int(lane.kind[group.item])].gpus
        for lane, groups in zip(problem.lanes, plan.groups, strict=False)
        for group in groups
    )
    chosen = zip(problem.pools, plan.options, strict=False)
    gpus += sum(int(pool.count[o]) * problem.kinds[int(pool.kind[o])].gpus for pool, o in chosen)
    return Found(
        cost_w=plan.cost_w,
        bound_w=plan.bound_w,
        shed_pools=sum(plan.shed) if plan.is_plan else float(len(problem.lanes) + len(problem.pools)),
        gpus=gpus,
        is_proven=plan.status is SolveStatus.OPTIMAL,
        faults=check_lanes(problem, plan) if plan.is_plan else (),
    )


def _figures(problem: Problem, result: object) -> Found:
    assert isinstance(result, Solution)
    chosen = list(zip(problem.pools, result.choice.option, strict=True))
    return Found(
        cost_w=result.cost_w,
        bound_w=result.bound_w,
        shed_pools=sum(result.shed),
        gpus=sum(int(p.count[o]) * problem.kinds[int(p.kind[o])].gpus for p, o in chosen),
        is_proven=result.status is SolveStatus.OPTIMAL,
        faults=check(problem, result),
    )

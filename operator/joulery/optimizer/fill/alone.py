"""Pools without any lane that fills beside them: the problem of `optimizer.solve`, in the words of this door."""

from __future__ import annotations

from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan
from joulery.optimizer.solve import solve


def by_options(problem: LaneProblem, engine: str, deadline: Deadline) -> LanePlan:
    """The plan of a faultless problem without lanes, by an engine of `solve`."""
    limit_s, stopwatch = deadline.time_limit_s, deadline.stopwatch
    found = solve(problem.of_pools(), engine=engine, time_limit_s=limit_s, stopwatch=stopwatch)
    return LanePlan(
        groups=(),
        cost_w=found.cost_w,
        bound_w=found.bound_w,
        status=found.status,
        why=found.why,
        engine=found.engine,
        shed=found.shed,
        shortage=found.shortage,
        starts_over_limit=found.starts_over_limit,
        options=found.choice.option,
        node_w=found.node_w,
        power_missing_w=found.power_missing_w,
    )

"""Plans where supply does not serve all: first how much of each lane and pool is served, then the cheapest way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from joulery.optimizer.fill.aggregate import FEW_LANES, most_served
from joulery.optimizer.fill.alone import by_options
from joulery.optimizer.fill.columns import ENGINE, by_prices
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.greed import queued, with_words
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.layout import lay_out
from joulery.optimizer.fill.missing import gpus_missing, most_missing
from joulery.optimizer.fill.missing_of_many import gpus_missing_of_many
from joulery.optimizer.fill.plan import LanePlan, refused, starts_of
from joulery.optimizer.fill.pools import clipped
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.settled import settled_plan
from joulery.optimizer.fill.shares import planned_at
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.fill.turns import greedy_service
from joulery.optimizer.fill.ways import most_served_of_many
from joulery.optimizer.solution import Shortage, SolveStatus
from joulery.optimizer.solve import COLUMNS

# More starts than any plan has.
UNLIMITED = 1_000_000_000
# Of the solver's time, for what is served; the rest is for how.
OF_TIME = 0.6
# In units of the deadline: all of it at least, clocks for counts that are known, a model, prices for a better plan
# than those, and what is missing.
SHED_UNITS, SETTLE_UNITS, MODEL_UNITS, PLAN_UNITS, MISSING_UNITS = 12.0, 6.0, 8.0, 7.0, 4.0

Planned = Callable[[LaneProblem, Service], LanePlan]
"""Serves all lanes and pools of a problem, given a service that does."""

Missing = Callable[[LaneTable, Service], tuple[Shortage, ...]]
"""Says which accelerators are short for a service."""


class Services(Protocol):
    """How much of each lane and pool is served, within a table's limit of starts."""

    def __call__(self, table: LaneTable, *, is_starting_fewest: bool) -> Service:
        """The service; of ways that shed alike maybe the one with fewest starts."""
        ...


def shedding_least(problem: LaneProblem, deadline: Deadline) -> LanePlan:
    """Least shed by falling weight, in shares of load summed over lanes and pools; then least watts at that shed."""
    if not deadline.allows(SHED_UNITS):
        return refused("no time for what is shed", ENGINE)

    queue = queued(problem)
    is_many = len(problem.lanes) > FEW_LANES and not problem.pools
    deadline = deadline.keeping(SETTLE_UNITS * deadline.unit_s)

    def service(table: LaneTable, *, is_starting_fewest: bool) -> Service:
        found = None
        if is_many:
            found = most_served_of_many(table, queue, deadline, is_starting_fewest=is_starting_fewest)
        if found is None and deadline.allows(MODEL_UNITS):
            limit_s = OF_TIME / 3.0 * deadline.left_s
            found = most_served(table, limit_s, is_starting_fewest=is_starting_fewest)
        return found or greedy_service(table)

    def planned(part: LaneProblem, known: Service) -> LanePlan:
        left = deadline.part(1.0 - OF_TIME)
        if not part.lanes:
            return by_options(part, COLUMNS, left)
        found = by_prices(part, (), left, known) if left.allows(PLAN_UNITS) else None
        return settled_plan(part, known) if found is None or not found.is_plan else found

    def missing(table: LaneTable, found: Service) -> tuple[Shortage, ...]:
        if not deadline.allows(MISSING_UNITS):
            return most_missing(table, found)
        if is_many:
            return gpus_missing_of_many(table, queue, found, deadline)
        return gpus_missing(table, found, OF_TIME / 3.0 * deadline.left_s)

    return _serving_most(problem, service, planned, missing)


def _serving_most(problem: LaneProblem, service: Services, planned: Planned, missing: Missing) -> LanePlan:
    """The plan within the limit of starts, or beyond it by what is needed to shed no more than without one."""
    plan, table, found = _within_starts(problem, service, planned)
    if not plan.is_plan:
        return plan
    return with_words(plan, problem, None if found.serves_all(table) else missing(table, found))


def _within_starts(
    problem: LaneProblem, service: Services, planned: Planned
) -> tuple[LanePlan, LaneTable, Service]:
    table = lay_out(problem)
    found = service(table, is_starting_fewest=False)
    if problem.max_starts is None or found.serves_all(table):
        return _serving(problem, table, found, planned), table, found
    needed = service(lay_out(replace(problem, max_starts=UNLIMITED)), is_starting_fewest=True)
    if not needed.serves_more(table, found):
        return _serving(problem, table, found, planned), table, found
    starts = int(np.maximum(needed.counts - table.rules.running, 0).sum())
    if table.pools is not None:
        starts += int(table.pools.every.total_use(needed.options)[-1])
    limited = replace(problem, max_starts=max(starts, problem.max_starts))
    plan = _serving(limited, table, needed, planned)
    over = max(0, starts_of(limited, plan) - problem.max_starts)
    return replace(plan, starts_over_limit=over), table, needed


def _serving(problem: LaneProblem, table: LaneTable, service: Service, planned: Planned) -> LanePlan:
    """The plan of a service: every lane at its share, those without any left out; pools at theirs or more."""
    served = np.zeros(table.lanes)
    served[table.position] = service.served
    is_kept = service.served > 0.0
    known = replace(service, counts=service.counts[is_kept], served=service.served[is_kept])
    pools = problem.pools if table.pools is None else clipped(table.pools, service.options)
    plan = planned_at(problem, served, pools, lambda part: planned(part, known))
    return plan if service.is_proven or not plan.is_plan else replace(plan, status=SolveStatus.FEASIBLE)

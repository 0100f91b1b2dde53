"""The readable specification, in cvxpy on HiGHS: one (variant, count, clock) option per pool, all at once.

    K       options left after pruning, of P pools          x   K   1 where an option is chosen
    S       P x K, 1 where the option is the pool's          u   R x K groups of GPUs taken, per packing row
    N       R     groups of GPUs there are                   l   K   share of the peak that is lost
    c       K     watts plus switching cost, in units of the mean of the pools' cheapest full options
    y       A     nodes left off, of M that are off, by accelerator;  g  A x R groups and  d  A watts of one node

    stage 1, for each priority q from the highest:   min  sum of l x over q's pools,   y = 0
    stage 2:                                         min  c x + d (M - y)
    subject to   S x = 1,   u x + g y <= N,   and what the stages before have reached (+ SHED_SLACK)

Every pool has an option with count 0, so each of these has a solution. Full service for all is tried first,
over full options only: where that is possible stage 1 is done. Priorities that the greedy plan already serves
fully are done as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from joulery.optimizer.highs import Limits, NoAnswer, chosen_places, doubt, minimise, out_of_time, selection
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.pruning import full_options, serving_options, trading_options
from joulery.optimizer.table import SERVED_TOLERANCE, OptionTable, cheapest_full

# Pool-peaks that a later stage may lose against an earlier one: HiGHS's own feasibility tolerance.
SHED_SLACK = 1e-6
# Up to this many pools optimality is cheap to prove; above, profile error (percent) dwarfs the last 0.01 %.
SMALL_POOLS = 30
SMALL_GAP, LARGE_GAP = 1e-6, 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A believed result: one table option per pool, and a lower bound of the objective in its own unit."""

    options: Ints
    bound: float
    is_proven: bool
    spent_s: float


@dataclass(frozen=True, slots=True, eq=False)
class ExtraRow:
    """A row `coefficients @ x <= limit` beside supply."""

    coefficients: Floats
    limit: float


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What is least: a cost of each option, and in the last stage the watts of nodes, in units of `unit_w`."""

    cost: Floats
    counts_nodes: bool = False
    unit_w: float = 1.0

    def value(self, table: OptionTable, options: Ints, places: Ints) -> float:
        """Of one option per pool."""
        node_w = table.node_w(options[places]) if self.counts_nodes else 0.0
        return float(self.cost[places].sum()) + node_w / self.unit_w


Solved: TypeAlias = Callable[[OptionTable, Ints, Stage, tuple[ExtraRow, ...], Limits], "Answer | NoAnswer"]
"""Least of a stage over one of these options per pool, under supply and extra rows."""


def gap_for(pools: int) -> float:
    """Relative gap worth asking for."""
    return SMALL_GAP if pools <= SMALL_POOLS else LARGE_GAP


def least_cost(
    table: OptionTable, spare: Ints, limits: Limits, solved: Solved | None = None, *, must_shed: bool = False
) -> Answer | NoAnswer:
    """Least shed by priority, then least cost; the bound is in watts.

    Args:
        spare: any plan that fits; priorities that it serves fully need no stage of their own.
        solved: how a stage is solved; the readable way unless given.
        must_shed: whether it is proven already that not everybody can be served.
    """
    solved = solved or solve_stage
    if must_shed:
        return _least_cost_with_shed(table, _settled(table, spare), limits, solved)
    whole = _least_cost_among(table, full_options(table), (), limits, solved)
    if isinstance(whole, Answer) or not whole.is_infeasible:
        return whole
    return _least_cost_with_shed(table, _settled(table, spare), limits.after(whole.spent_s), solved)


def _settled(table: OptionTable, spare: Ints) -> int:
    """Number of priorities, from the highest, in which a plan sheds nobody."""
    short = table.served[spare] < table.most_served - SERVED_TOLERANCE
    return int(np.min(table.priority[short], initial=int(table.priority.max()) + 1))


def _least_cost_with_shed(
    table: OptionTable, settled: int, limits: Limits, solved: Solved
) -> Answer | NoAnswer:
    among = np.flatnonzero(table.full | (table.priority[table.owner] >= settled))
    serving, trading = serving_options(table, among), trading_options(table, among)
    reached: list[tuple[int, float]] = []
    is_proven, spent_s = True, 0.0
    for priority in range(settled, int(table.priority.max()) + 1):
        rows = _shed_rows(table, serving, reached)
        lost = Stage(_lost(table, serving, priority))
        stage = solved(table, serving, lost, rows, limits.after(spent_s))
        if isinstance(stage, NoAnswer):
            return stage
        reached.append((priority, table.lost_by_priority(stage.options)[priority]))
        is_proven, spent_s = is_proven and stage.is_proven, spent_s + stage.spent_s
    rows = _shed_rows(table, trading, reached)
    last = _least_cost_among(table, trading, rows, limits.after(spent_s), solved)
    if isinstance(last, NoAnswer):
        return last
    return replace(last, is_proven=is_proven and last.is_proven, spent_s=spent_s + last.spent_s)


def _least_cost_among(
    table: OptionTable, options: Ints, rows: tuple[ExtraRow, ...], limits: Limits, solved: Solved
) -> Answer | NoAnswer:
    # Costs near one whatever unit the caller thinks in: HiGHS's tolerances are absolute.
    unit_w = float(table.cost_w[cheapest_full(table)].mean()) or 1.0
    stage = solved(table, options, Stage(table.cost_w[options] / unit_w, True, unit_w), rows, limits)
    if isinstance(stage, NoAnswer):
        return stage
    return replace(stage, bound=stage.bound * unit_w)


def _lost(table: OptionTable, options: Ints, priority: int) -> Floats:
    """l: share lost, for the pools of one priority."""
    return np.where(table.priority[table.owner[options]] == priority, 1.0 - table.served[options], 0.0)


def _shed_rows(table: OptionTable, options: Ints, reached: list[tuple[int, float]]) -> tuple[ExtraRow, ...]:
    return tuple(ExtraRow(_lost(table, options, q), lost + SHED_SLACK) for q, lost in reached)


def solve_stage(
    table: OptionTable, options: Ints, stage: Stage, rows: tuple[ExtraRow, ...], limits: Limits
) -> Answer | NoAnswer:
    """Minimise over one option per pool under supply and extra rows."""
    import cvxpy as cp  # half a second and 70 MB, which a process that never solves need not pay

    limits = limits.after(0.0) if limits.stopwatch else limits
    if late := out_of_time(limits):
        return late
    x = cp.Variable(len(options), boolean=True)
    used, least = table.scaled_use(options).T @ x, stage.cost @ x
    bounds, all_on = [], 0.0
    off = table.rows.left_off
    if off is not None and stage.counts_nodes:
        y = cp.Variable(len(off.most), integer=True)
        used, least = used + off.groups.T @ y, least - (off.watts / stage.unit_w) @ y
        bounds, all_on = (
            [y >= 0, y <= off.most],
            off.all_on_w / stage.unit_w,
        )  # d M is no part of what HiGHS sees
    constraints = [
        selection(table, options) @ x == 1,  # S x = 1
        used <= table.scaled_slots,  # u x + g y <= N
        *(row.coefficients @ x <= row.limit for row in rows),  # the stages before
        *bounds,
    ]
    outcome = minimise(cp.Problem(cp.Minimize(least), constraints), limits)
    places = chosen_places(table, options, x.value)
    objective = np.nan if places is None else stage.value(table, options, places)
    no_answer = doubt(outcome, objective - all_on)
    if no_answer or places is None:
        return no_answer or NoAnswer("HiGHS chose no option for a pool", spent_s=outcome.spent_s)
    bound = min(outcome.bound + all_on, objective)
    return Answer(options[places], bound, outcome.is_proven, outcome.spent_s)

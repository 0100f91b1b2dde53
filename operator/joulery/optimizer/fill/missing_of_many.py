"""Which accelerator is short where many lanes shed, and by how many GPUs: prices on ways to serve each wholly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from joulery.optimizer.arrays import least_missing
from joulery.optimizer.columns import prices_among
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.greed import Queue, shortage_of
from joulery.optimizer.fill.missing import GAP, most_missing
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.fill.ways import (
    MANY,
    NEAR_UNITS,
    PRICE_UNITS,
    Stage,
    Ways,
    columns_of,
    ways_near,
    ways_of_one_kind,
)
from joulery.optimizer.highs import Limits, NoAnswer
from joulery.optimizer.lp import Columns
from joulery.optimizer.problem import Floats
from joulery.optimizer.solution import Shortage

# What a GPU that has to be added is taken for, where a lane's way is taken for one; and, in those, how much dearer
# than its lane's best a way may be to be looked at, in a first and a last look.
PER_GPU = 0.05
SLACK, LAST_SLACK = 0.06, 0.03
# More groups than any plan has use for.
PLENTY = 1 << 40


def gpus_missing_of_many(
    table: LaneTable, queue: Queue, service: Service, deadline: Deadline
) -> tuple[Shortage, ...]:
    """As `gpus_missing` of lanes alone, nearly: among ways to serve each wholly (see `ways`)."""
    most = most_missing(table, service)
    rows = replace(table.rows, slots=np.where(table.rows.size > 0, table.rows.slots, PLENTY))
    free = replace(table, rows=rows)
    lanes = np.arange(table.lanes)
    stage = Stage(free, lanes, np.ones(table.lanes), np.full_like(queue.alone.most, 1e-9), 0.0)
    wider = max(1.0, MANY / table.lanes)
    ways = ways_of_one_kind(stage)
    prices = _prices(stage, ways, most, deadline)
    if prices is not None and deadline.allows(NEAR_UNITS):
        ways = ways_near(stage, prices, SLACK * wider).and_also(ways)
        prices = _prices(stage, ways, most, deadline)
    if prices is None:
        return most
    columns = columns_of(stage, ways)
    value = columns.use @ prices
    least = np.minimum.reduceat(value, np.searchsorted(columns.owner, lanes))
    near = np.flatnonzero(value - least[columns.owner] <= LAST_SLACK * wider)
    few = Columns(columns.owner[near], columns.cost[near], columns.use[near])
    limits = Limits(deadline.left_s, GAP, deadline.stopwatch, deadline.time_limit_s)
    chosen = least_missing(few, table.lanes, rows, limits) if deadline.allows() else None
    if chosen is None:
        return most
    return shortage_of(table.rows, np.rint(columns.use[near[chosen]].sum(axis=0)).astype(np.int64))


def _prices(stage: Stage, ways: Ways, most: tuple[Shortage, ...], deadline: Deadline) -> Floats | None:
    """Of rows where GPUs may be added: for each accelerator one more owner has none, or more than enough, of them."""
    rows = stage.table.rows
    columns = columns_of(stage, ways)
    names = sorted(set(rows.accelerator))
    plenty = 2 * sum(each.gpus_missing for each in most) + int(rows.size.max())
    bought = np.zeros((2 * len(names), len(rows.slots)))
    cost = np.ones(2 * len(names))
    for place, name in enumerate(names):
        of_it = np.array([owner == name for owner in rows.accelerator]) & (rows.size > 0)
        bought[2 * place + 1, of_it] = -(plenty // rows.size[of_it])
        cost[2 * place + 1] += PER_GPU * plenty
    owner = len(stage.lanes) + np.repeat(np.arange(len(names)), 2)
    every = Columns(
        np.concatenate([columns.owner, owner]),
        np.concatenate([np.ones(len(columns)), cost]),
        np.concatenate([columns.use, bought]),
    )
    if not deadline.allows(PRICE_UNITS):
        return None
    limits = Limits(deadline.left_s, GAP, deadline.stopwatch, deadline.time_limit_s)
    prices = prices_among(every, rows.slots, limits)
    return None if isinstance(prices, NoAnswer) else prices

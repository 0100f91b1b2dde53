"""What lanes and pools get that take their turn one after the other: a service in milliseconds, without a solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from joulery.optimizer.fill.greed import by_greed, queued
from joulery.optimizer.fill.pools import options_by_greed
from joulery.optimizer.fill.service import Service, weights_of
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.packing import packing_rows, with_starts
from joulery.optimizer.problem import Ints


def greedy_service(table: LaneTable) -> Service:
    """What those get that take their turn by weight, then key; of one weight lanes first or pools first."""
    if table.pools is None:
        queue = queued(table.problem)
        found = by_greed(queue, queue.rows.slots, table.problem.max_starts)
        counts = found.counts(len(table.problem.kinds))
        return Service(counts, found.taken.served, np.zeros(0, dtype=np.int64), is_proven=False)
    first = _in_turns(table, is_pools_first=False)
    if first.serves_all(table):
        return first
    other = _in_turns(table, is_pools_first=True)
    return other if other.serves_more(table, first) else first


def _in_turns(table: LaneTable, *, is_pools_first: bool) -> Service:
    turns, weight = _Turns(table), weights_of(table)
    for priority in np.unique(weight)[::-1].tolist():
        lanes = np.flatnonzero(weight[: table.lanes] == priority)
        pools = np.flatnonzero(weight[table.lanes :] == priority)
        if is_pools_first:
            turns.take_pools(pools)
        turns.take_lanes(lanes)
        if not is_pools_first:
            turns.take_pools(pools)
    return Service(turns.counts, turns.served, turns.options, is_proven=False)


class _Turns:
    """What is taken so far, and what is left of each packing row and of starts."""

    def __init__(self, table: LaneTable) -> None:
        problem = table.problem
        self._table = table
        self._rows = packing_rows(problem.kinds, problem.supplies, problem.quotas)
        self._left = self._rows.slots.copy()
        self._starts = problem.max_starts
        self.counts = np.zeros((table.lanes, len(problem.kinds)), dtype=np.int64)
        self.served = np.zeros(table.lanes)
        self.options = np.zeros(table.blocks - table.lanes, dtype=np.int64)

    def take_lanes(self, lanes: Ints) -> None:
        """Instances for each of these lanes."""
        if not len(lanes):
            return
        table, problem = self._table, self._table.problem
        chosen = tuple(problem.lanes[p] for p in table.position[lanes].tolist())
        found = by_greed(queued(replace(problem, lanes=chosen, pools=())), self._left, self._starts)
        counts = found.counts(len(problem.kinds))
        self.counts[lanes], self.served[lanes] = counts, found.taken.served
        self._left = self._left - counts.sum(axis=0) @ self._rows.per_instance
        if self._starts is not None:
            self._starts -= int(np.maximum(0, counts - table.rules.running[lanes]).sum())

    def take_pools(self, pools: Ints) -> None:
        """An option for each of these pools."""
        columns = self._table.pools
        if columns is None or not len(pools):
            return
        rows = replace(self._rows, slots=self._left)
        rows = rows if self._starts is None else with_starts(rows, self._starts)
        self.options[pools] = options = options_by_greed(columns, pools.tolist(), rows)
        used = replace(columns.every, rows=rows).total_use(options)
        self._left = self._left - used[: len(self._left)]
        if self._starts is not None:
            self._starts -= int(used[-1])

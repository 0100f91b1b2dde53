"""A problem laid out flat: the options of all pools in one set of arrays, pools sorted by key.

Everything that engines compute, they compute on this table, so that the order in which a caller names pools
cannot change a plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.packing import PackingRows, packing_rows, with_row, with_starts
from joulery.optimizer.problem import Floats, Ints, PoolBlock, Problem

# What the row of a power budget is called in messages.
POWER_BUDGET = "power budget"
# Shares of a planned peak closer than this are the same service.
SERVED_TOLERANCE = 1e-9
# A power budget counts in so many parts, and options round up; there is a part more for each pool, so that what draws
# the budget exactly is within it. All that rounds is far less than the millionth that the checker allows.
BUDGET_PARTS = 10_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class OptionTable:
    """All options, grouped by pool.

    Attributes:
        position: of each pool in the problem.
        start: first option of each pool; `end` is one past its last.
        owner: pool of each option.
        rank_of_kind: kinds ordered by accelerator, size and quota; equal kinds share a rank.
        cost_w: watts plus switching cost.
        most_served: best service that any option of the pool gives, supply aside.
        full: options that serve their pool as well as any other option of it.
        priority: rank of each pool's weight, 0 for the highest.
        extra: `[option, row]` of the last rows, of which each option says its own use: instances it starts where
            they are limited, parts of the power budget where there is one.
        budget_scale: by which the row of a power budget is divided where a solver wants numbers near one.
    """

    problem: Problem
    rows: PackingRows
    position: Ints
    start: Ints
    end: Ints
    owner: Ints
    kind: Ints
    rank_of_kind: Ints
    count: Ints
    cost_w: Floats
    served: Floats
    most_served: Floats
    full: NDArray[np.bool_]
    priority: Ints
    extra: Ints
    budget_scale: float

    # Few look at these, and arrays of this size are dear to fill where a plan is due in milliseconds.
    @property
    def gpus(self) -> Ints:
        """GPUs of each whole option."""
        sizes = np.array([kind.gpus for kind in self.problem.kinds], dtype=np.int64)
        return sizes[self.kind] * self.count

    @property
    def clock_mhz(self) -> Ints:
        """Of all instances of each option."""
        return np.concatenate([self.problem.pools[p].clock_mhz for p in self.position.tolist()])

    def use(self, options: Ints) -> Ints:
        """Groups of GPUs that each of these options takes, and of the rows of options, `[option, row]`."""
        used: Ints = self.rows.per_instance[self.kind[options]] * self.count[options, None]
        if self.extra.shape[1]:
            used[:, self.rows.size == 0] = self.extra[options]
        return used

    def scaled_use(self, options: Ints) -> Floats:
        """The same for a solver."""
        scaled: Floats = self.use(options) / self.scale
        return scaled

    @property
    def scale(self) -> Floats:
        """What each row is divided by for a solver."""
        names = self.rows.accelerator
        return np.array([self.budget_scale if name == POWER_BUDGET else 1.0 for name in names])

    @property
    def scaled_slots(self) -> Floats:
        """Right-hand sides for a solver."""
        return self.rows.slots / self.scale

    def total_use(self, options: Ints) -> Ints:
        """Groups of GPUs that these options take together, per row."""
        total: Ints = self.use(options).sum(axis=0)
        return total

    def plan_w(self, options: Ints) -> float:
        """Watts and switching cost of one option per pool, and of the nodes that they need switched on."""
        return float(self.cost_w[options].sum()) + self.node_w(options)

    def node_w(self, options: Ints) -> float:
        """Watts of the nodes that one option per pool needs switched on."""
        return 0.0 if self.rows.left_off is None else self.rows.node_w(self.total_use(options))

    def lost_by_priority(self, options: Ints) -> tuple[float, ...]:
        """Shed summed per priority, highest first, for one option per pool."""
        lost = np.zeros(int(self.priority.max()) + 1)
        np.add.at(lost, self.priority, 1.0 - self.served[options])
        return tuple(lost.tolist())


def tabulate(problem: Problem) -> OptionTable:
    """Lay out a faultless problem with at least one pool."""
    position = sorted(range(len(problem.pools)), key=lambda p: problem.pools[p].key)
    pools = [problem.pools[p] for p in position]
    lengths = np.array([len(pool) for pool in pools], dtype=np.int64)
    end = np.cumsum(lengths)
    start = end - lengths
    kind = np.concatenate([pool.kind for pool in pools])
    count = np.concatenate([pool.count for pool in pools])
    served = np.concatenate([pool.served for pool in pools])
    most_served = np.maximum.reduceat(served, start)
    watts = np.concatenate([pool.watts for pool in pools])
    extra = _extra(problem, pools, watts)
    return OptionTable(
        problem=problem,
        rows=_rows(problem),
        position=np.array(position, dtype=np.int64),
        start=start,
        end=end,
        owner=np.repeat(np.arange(len(pools)), lengths),
        kind=kind,
        rank_of_kind=_kind_ranks(problem),
        count=count,
        cost_w=watts + np.concatenate([p.switch_w for p in pools]),
        served=served,
        most_served=most_served,
        full=served >= np.repeat(most_served - SERVED_TOLERANCE, lengths),
        priority=np.unique([-pool.weight for pool in pools], return_inverse=True)[1].astype(np.int64),
        extra=extra,
        budget_scale=1.0 if problem.power_budget_w is None else max(1.0, float(extra[:, -1].mean())),
    )


def _rows(problem: Problem) -> PackingRows:
    rows = packing_rows(problem.kinds, problem.supplies, problem.quotas)
    rows = rows if problem.max_starts is None else with_starts(rows, problem.max_starts)
    most = BUDGET_PARTS + len(problem.pools)
    return rows if problem.power_budget_w is None else with_row(rows, POWER_BUDGET, most)


def _extra(problem: Problem, pools: Sequence[PoolBlock], watts: Floats) -> Ints:
    """`[option, row]` of the rows that options say their use of."""
    found = []
    if problem.max_starts is not None:
        found.append(np.concatenate([_starts(pool) for pool in pools]))
    if problem.power_budget_w is not None:
        found.append(_parts(watts, problem.power_budget_w))
    return np.column_stack(found) if found else np.zeros((len(watts), 0), dtype=np.int64)


def _parts(watts: Floats, budget_w: float) -> Ints:
    """Parts of the budget, rounded up; what no plan can hold is twice all of them."""
    is_over = watts > budget_w * (1.0 + 1e-9)
    share = np.where(is_over, 1.0, watts) / np.where(is_over, 1.0, max(budget_w, 1e-300))
    parts = np.ceil(share * BUDGET_PARTS * (1.0 - 1e-12)).astype(np.int64)
    return np.where(is_over, 2 * BUDGET_PARTS, parts)


def _starts(pool: PoolBlock) -> Ints:
    return np.zeros(len(pool), dtype=np.int64) if pool.starts is None else pool.starts


def _kind_ranks(problem: Problem) -> Ints:
    taken = [(kind.accelerator, kind.gpus, kind.quota) for kind in problem.kinds]
    rank = {name: index for index, name in enumerate(sorted(set(taken)))}
    return np.array([rank[name] for name in taken], dtype=np.int64)


def in_problem_order(table: OptionTable, options: Ints) -> tuple[int, ...]:
    """Table options, one per pool, as the caller's indices in the caller's order of pools."""
    local = np.empty(len(options), dtype=np.int64)
    local[table.position] = options - table.start
    return tuple(local.tolist())


def in_table_order(table: OptionTable, choice: Sequence[int]) -> Ints | None:
    """The caller's indices as table options; None if they are of another problem."""
    if len(choice) != len(table.position):
        return None
    options = table.start + np.array(choice, dtype=np.int64)[table.position]
    return options if ((options >= table.start) & (options < table.end)).all() else None


def cheapest_full(table: OptionTable) -> Ints:
    """The cheapest full option of each pool, as if it were alone.

    Ties: fewer GPUs, then accelerator and size by name, then count, then lower clock.
    """
    cost = np.where(table.full, table.cost_w, np.inf)
    tied = np.flatnonzero(cost == np.minimum.reduceat(cost, table.start)[table.owner])
    if len(tied) == len(table.start):
        return tied
    rank = table.rank_of_kind[table.kind[tied]]
    tie_rule = (table.clock_mhz[tied], table.count[tied], rank, table.gpus[tied], table.owner[tied])
    ordered = tied[np.lexsort(tie_rule)]
    leads = np.ones(len(ordered), dtype=bool)
    leads[1:] = np.diff(table.owner[ordered]) > 0
    first: Ints = ordered[leads]
    return first

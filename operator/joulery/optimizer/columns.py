"""Prices on GPUs instead of one large integer programme (Dantzig-Wolfe, one block per pool).

    K   options at full service            c   their watts plus switching cost, mean of the pools' cheapest = 1
    R   packing rows, N slots              u   K x R, groups of GPUs of each option

    restricted master    min c z   over the options seen so far,  one per pool,  u z <= N       (duals: prices l)
    pricing              the option of least  c + u l  of each pool
    lower bound          sum over pools of min (c + u l)  -  N l,  valid at any prices l >= 0

Nodes that are off enter as columns of their own, which take of the rows what they would give and save their watts.

Pools are coupled by a handful of rows only, so all but a few of them have a whole choice in the master's
optimum, and an option whose reduced cost exceeds (best plan - lower bound) is in no better plan: the integer
programme that is left is small, and exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from joulery.optimizer.highs import Limits, NoAnswer, out_of_time
from joulery.optimizer.lp import Columns, Master, MasterPoint, chosen_whole
from joulery.optimizer.milp import Answer
from joulery.optimizer.nodes import Nodes, no_nodes, nodes_of
from joulery.optimizer.packing import binding_rows
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.pruning import full_options
from joulery.optimizer.table import OptionTable, cheapest_full

MOST_CALLS = 60
# Master and bound closer than this, relative: profile error is a hundred times larger.
CONVERGED = 1e-6
# Per group of GPUs, in pools' mean costs: far above any saving, and small enough for the LP's tolerances.
ELASTIC_COST = 50.0
MISSING_TOLERANCE = 1e-6
# From so many pools on, prices are sought among a sample first: most of a large master's pivots lead to them.
MANY_POOLS = 2_000
SAMPLED_EVERY = 12
# Of the sample's prices.
TILTS = (0.93, 0.98, 1.02, 1.07)
# Alternatives beside the master's own choice in the first integer programmes, wider while none has a plan.
# Few first: the plan that they give leaves a dozen others to be tried in the exact finish.
FIRST_ALTERNATIVES = (40, 150, 600, 2_400)
# The exact finish is left out above this many options: proof costs more than it is worth.
MOST_EXACT = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """The undominated full options of all pools as columns, by pool, kind and count whatever the caller's order."""

    options: Ints
    start: Ints
    columns: Columns
    slots: Floats
    nodes: Nodes
    unit_w: float

    @property
    def pools(self) -> int:
        return len(self.start)

    def priced(self, prices: Floats) -> Floats:
        """Cost plus what its GPUs cost at these prices, c + u l, of every option."""
        value: Floats = self.columns.cost + self.columns.use @ prices
        return value

    def best(self, value: Floats) -> Ints:
        """First option of least value per pool."""
        least = np.minimum.reduceat(value, self.start)
        tied = np.flatnonzero(value == least[self.columns.owner])
        best: Ints = tied[np.searchsorted(self.columns.owner[tied], np.arange(self.pools))]
        return best

    def is_too_much(self, prices: Floats) -> bool:
        """Whether these prices prove that no whole plan fits: each pool's least use costs more than all slots."""
        worth = self.columns.use @ prices
        least = float(np.minimum.reduceat(worth, self.start).sum())
        have = float(self.slots @ prices)
        return least - have > MISSING_TOLERANCE * have

    def cost(self, options: Ints) -> float:
        """Of one option per pool, and of the nodes that they need."""
        places = np.isin(self.options, options)
        used = self.columns.use[places].sum(axis=0)
        return float(self.columns.cost[places].sum()) + self.nodes.needed(used, self.slots)

    def sampled(self, step: int) -> _Block:
        """Every so many pools by what they cost at least, with the part of the slots that they need of all.

        Prices of nearly the same supply, found far sooner.
        """
        of_slots = (self.columns.use / np.maximum(self.slots, 1)).sum(axis=1)
        cost, needed = (np.minimum.reduceat(of, self.start) for of in (self.columns.cost, of_slots))
        number = np.full(self.pools, -1)
        chosen = np.sort(np.argsort(cost, kind="stable")[step // 2 :: step])
        number[chosen] = np.arange(len(chosen))
        places = np.flatnonzero(number[self.columns.owner] >= 0)
        owner = number[self.columns.owner[places]]
        columns = Columns(owner, self.columns.cost[places], self.columns.use[places])
        start = np.searchsorted(owner, np.arange(len(chosen)))
        share = float(needed[chosen].sum() / needed.sum()) if needed.any() else 1.0
        slots = (self.slots * share).astype(self.slots.dtype)
        nodes = replace(self.nodes, most=self.nodes.most * share)
        return _Block(self.options[places], start, columns, slots, nodes, self.unit_w)

    def taken(self, places: Ints) -> Columns:
        """Some of the columns."""
        return Columns(self.columns.owner[places], self.columns.cost[places], self.columns.use[places])


@dataclass(frozen=True, slots=True, eq=False)
class _Beginning:
    """The first columns; one of them per pool, nearest to a plan; the best prices so far and the bound they prove."""

    columns: Ints
    nearest: Ints
    prices: Floats
    bound: float


@dataclass(frozen=True, slots=True, eq=False)
class _Priced:
    """What the price loop found: seen options with their share in the master, best prices, bound, seconds."""

    seen: Ints
    point: Floats
    prices: Floats
    bound: float
    spent_s: float


def cheapest_by_prices(table: OptionTable, limits: Limits, gap: float) -> Answer | NoAnswer:
    """Least cost at full service; infeasible only where it is proven that some pool has to shed. Bound in watts.

    Args:
        gap: relative gap at which a plan is as good as proven.
    """
    # Rows that others imply separate options that are worth the same.
    block = _block(replace(table, rows=binding_rows(table.rows)))
    priced = _price_loop(block, limits.after(0.0) if limits.stopwatch else limits)
    if isinstance(priced, NoAnswer):
        return priced
    return _whole(block, priced, limits, gap)


def prices_among(columns: Columns, slots: Ints, limits: Limits) -> Floats | NoAnswer:
    """Best prices per row for a choice of one column per owner.

    Args:
        columns: by owner; every owner has some; costs near one.
    """
    owners = np.arange(int(columns.owner[-1]) + 1)
    start = np.searchsorted(columns.owner, owners)
    nodes, limit = no_nodes(len(slots)), slots.astype(np.float64)
    block = _Block(np.arange(len(columns)), start, columns, limit, nodes, unit_w=1.0)
    priced = _price_loop(block, limits.after(0.0) if limits.stopwatch else limits)
    return priced if isinstance(priced, NoAnswer) else priced.prices


def _block(table: OptionTable) -> _Block:
    options = full_options(table)
    owner = table.owner[options]
    unit_w = float(table.cost_w[cheapest_full(table)].mean()) or 1.0
    columns = Columns(owner, table.cost_w[options] / unit_w, table.scaled_use(options))
    start = np.searchsorted(owner, np.arange(len(table.start)))
    return _Block(options, start, columns, table.scaled_slots, nodes_of(table.rows, unit_w), unit_w)


def _beginning(block: _Block, limits: Limits) -> _Beginning:
    """The cheapest option of each pool without prices, at prices that let GPUs alone count, and at a sample's."""
    scarce = np.full(len(block.slots), ELASTIC_COST)
    found = [block.best(block.columns.cost), block.best(block.priced(scarce))]
    prices, bound = np.zeros(len(block.slots)), -np.inf
    if block.pools >= MANY_POOLS:
        sampled = _price_loop(block.sampled(SAMPLED_EVERY), limits)
        if isinstance(sampled, _Priced):
            prices = sampled.prices
            best, bound = _answer_to(block, prices)
            # Of options that are far from any plan a large master only has more to choose from.
            found = [*(block.best(block.priced(tilted)) for tilted in _tilted(prices)), best]
    return _Beginning(np.unique(np.concatenate(found)), found[-1], prices, bound)


def _tilted(prices: Floats) -> list[Floats]:
    """Prices a little off, all together and each alone: what pools turn to there is most of what a plan needs."""
    factors = [np.full(len(prices), tilt) for tilt in TILTS]
    factors += [
        np.where(np.arange(len(prices)) == row, tilt, 1.0) for row in range(len(prices)) for tilt in TILTS
    ]
    return [prices * factor for factor in factors]


def _price_loop(block: _Block, limits: Limits) -> _Priced | NoAnswer:
    master = Master(block.pools, block.slots, ELASTIC_COST, block.nodes)
    begin = _beginning(block, limits)
    seen, new = np.zeros(0, dtype=np.int64), begin.columns
    best_prices, bound = begin.prices, begin.bound
    at: MasterPoint | None = None
    for _ in range(MOST_CALLS):
        if late := out_of_time(limits.after(master.spent_s)):
            return replace(late, spent_s=master.spent_s)
        master.add(block.taken(new))
        if not len(seen):
            master.begin_at(np.searchsorted(new, begin.nearest))
        seen = np.concatenate([seen, new])
        at = master.solve(limits.after(master.spent_s).time_limit_s)
        if at is None:
            return NoAnswer("HiGHS has no optimum of the master problem", spent_s=master.spent_s)
        found: list[Ints] = []
        damped = (best_prices + at.prices) / 2.0
        for prices in (damped, at.prices):
            best, lower = _answer_to(block, prices)
            found.append(best)
            if lower > bound:
                best_prices, bound = prices, lower
        new = np.setdiff1d(np.concatenate(found), seen)
        if at.objective - bound <= CONVERGED * abs(at.objective) or not len(new):
            break
    if at is None:
        return NoAnswer("no call of the master was allowed")
    if at.missing > MISSING_TOLERANCE:
        why = "no plan serves every pool fully"
        return NoAnswer(why, block.is_too_much(at.prices), master.spent_s)
    return _Priced(seen, at.point[: len(seen)], best_prices, bound, master.spent_s)


def _answer_to(block: _Block, prices: Floats) -> tuple[Ints, float]:
    """Each pool's best option at these prices, and the lower bound that they prove."""
    value = block.priced(prices)
    best = block.best(value)
    lower = float(value[best].sum() - block.slots @ prices)
    return best, lower + block.nodes.all_on + block.nodes.saved(prices)


def _whole(block: _Block, priced: _Priced, limits: Limits, gap: float) -> Answer | NoAnswer:
    """A whole choice among the master's and the cheapest alternatives, then among all that could be better."""
    value = block.priced(priced.prices)
    reduced = value - np.minimum.reduceat(value, block.start)[block.columns.owner]
    first = _among_nearest(block, priced, reduced, limits, gap)
    if isinstance(first, NoAnswer):
        return first
    upper = block.cost(first.options)
    if upper - priced.bound <= gap * abs(upper):
        return replace(first, bound=priced.bound * block.unit_w, is_proven=True)
    better = np.flatnonzero(reduced <= upper - priced.bound + CONVERGED * abs(upper))
    last = _chosen(block, better, limits, gap, first.spent_s) if len(better) <= MOST_EXACT else first
    if isinstance(last, NoAnswer) or last is first:
        return replace(first, bound=priced.bound * block.unit_w, is_proven=False)
    return replace(last, bound=max(last.bound, priced.bound * block.unit_w))


def _among_nearest(
    block: _Block, priced: _Priced, reduced: Floats, limits: Limits, gap: float
) -> Answer | NoAnswer:
    own = priced.seen[priced.point > 1e-9]
    spent_s = priced.spent_s
    for alternatives in FIRST_ALTERNATIVES:
        near = _nearest(reduced, block.pools + alternatives)
        # Half the gap is left for the distance between the bounds of the two problems.
        places = np.union1d(own, near)
        found = _chosen(block, places, limits, gap / 2.0, spent_s)
        if isinstance(found, Answer) or len(places) == len(block.columns):
            return found
        spent_s = found.spent_s
    return NoAnswer("no whole plan among the cheapest options", spent_s=spent_s)


def _nearest(reduced: Floats, number: int) -> Ints:
    """The columns of least reduced cost, ties included, so that no order decides."""
    if number >= len(reduced):
        return np.arange(len(reduced))
    return np.flatnonzero(reduced <= np.partition(reduced, number)[number])


def _chosen(block: _Block, places: Ints, limits: Limits, gap: float, spent_s: float) -> Answer | NoAnswer:
    left = limits.after(spent_s)
    if late := out_of_time(left):
        return replace(late, spent_s=spent_s)
    chosen = chosen_whole(
        block.taken(places),
        block.pools,
        block.slots,
        gap=gap,
        time_limit_s=left.time_limit_s,
        nodes=block.nodes,
    )
    spent_s, point = spent_s + chosen.spent_s, chosen.point
    if point is None:
        is_all = len(places) == len(block.columns)
        return NoAnswer("HiGHS found no whole plan", chosen.is_infeasible and is_all, spent_s)
    options = block.options[places[point.columns]]
    return Answer(options, point.bound * block.unit_w, point.is_proven, spent_s)

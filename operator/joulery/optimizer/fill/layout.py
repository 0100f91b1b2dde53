"""Lanes laid out flat for the kernel.

Of a thousand lanes with eighty clocks each array has megabytes, and touching fresh memory took a third of the time. So
steps write over what is not needed any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import Items, Numbers
from joulery.optimizer.fill.kernel_envelope import envelopes
from joulery.optimizer.fill.kernel_hull import Hulls, fill_hulls
from joulery.optimizer.fill.kernel_nearby import Lanes
from joulery.optimizer.fill.kernel_order import find_kinds
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.fill.pools import pool_columns
from joulery.optimizer.fill.rules import rules_of
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.packing import PackingRows, binding_rows, packing_rows, with_starts
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.table import OptionTable, cheapest_full, tabulate


class _Ordered(NamedTuple):
    """Items by lane, kind and capacity.

    Attributes:
        full_cost: of each item when full.
        place: of each item in its lane as the caller gave it.
        kind_at: `[lane, kind]`, first item of each kind, and one past the last.
        unit_w: of costs.
    """

    items: Items
    full_cost: Floats
    place: Numbers
    kind_at: Ints
    unit_w: float


def lay_out(problem: LaneProblem) -> LaneTable:
    """The table of a faultless problem with at least one lane."""
    position = np.array(sorted(range(len(problem.lanes)), key=lambda p: problem.lanes[p].key), dtype=np.int64)
    lanes = [problem.lanes[p] for p in position.tolist()]
    options = tabulate(problem.of_pools()) if problem.pools else None
    rows = _rows(problem)
    own = _ordered(lanes, len(problem.kinds), options)
    asked = rules_of(lanes, len(problem.kinds), own.unit_w)
    searched = Lanes(own.items, _hulls(own), asked, own.full_cost)
    pools = None if options is None else pool_columns(options, rows, own.unit_w)
    return LaneTable(problem, rows, position, own.place, own.items, asked, searched, own.unit_w, pools)


def _rows(problem: LaneProblem) -> PackingRows:
    rows = binding_rows(packing_rows(problem.kinds, problem.supplies, problem.quotas))
    return rows if problem.max_starts is None else with_starts(rows, problem.max_starts)


def _ordered(lanes: Sequence[Lane], kinds: int, options: OptionTable | None) -> _Ordered:
    lengths = [len(lane) for lane in lanes]
    start = np.concatenate([[0], np.cumsum(lengths)])
    kind = np.concatenate([lane.kind for lane in lanes])
    capacity = np.concatenate([lane.capacity for lane in lanes])
    idle = np.concatenate([lane.idle_w for lane in lanes])
    full = np.concatenate([lane.full_w for lane in lanes])
    place = np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])
    kind_at = np.zeros((len(lanes), kinds + 1), dtype=np.int64)
    if not find_kinds(start, kind, capacity, kind_at):
        order = np.lexsort((capacity, kind, np.repeat(np.arange(len(lanes)), lengths)))
        kind, capacity, idle, full, place = (each[order] for each in (kind, capacity, idle, full, place))
        find_kinds(start, kind, capacity, kind_at)
    per_load = full / capacity
    unit_w = _unit_w(np.minimum.reduceat(per_load, start[:-1]), options)
    slope = np.subtract(full, idle, out=per_load)
    slope /= capacity
    slope /= unit_w
    idle /= unit_w
    full_cost = np.multiply(slope, capacity, out=full)
    full_cost += idle
    upper, partial = np.zeros(2 * len(kind)), np.zeros(2 * len(kind), dtype=np.int32)
    piece_at = np.zeros((len(lanes), kinds + 1), dtype=np.int64)
    envelopes(kind_at, capacity, idle, slope, upper, partial, piece_at)
    items = Items(start, kind, capacity, idle, slope, piece_at, upper, partial)
    return _Ordered(items, full_cost, place, kind_at, unit_w)


def _unit_w(least_w: Floats, options: OptionTable | None) -> float:
    """Mean of what lanes and pools cost at least."""
    if options is not None:
        least_w = np.append(least_w, options.cost_w[cheapest_full(options)])
    return float(least_w.mean()) or 1.0


def _hulls(own: _Ordered) -> Hulls:
    lanes, kinds, number = len(own.kind_at), own.kind_at.shape[1] - 1, len(own.full_cost)
    hulls = Hulls(
        at=np.zeros(lanes + 1, dtype=np.int64),
        kind=np.zeros(number, dtype=np.int64),
        length=np.zeros(number),
        rise=np.zeros(number),
        item=np.zeros(number, dtype=np.int64),
        idle=np.zeros((lanes, kinds)),
        idle_item=np.zeros((lanes, kinds), dtype=np.int64),
        most=np.zeros((lanes, kinds)),
    )
    fill_hulls(own.kind_at, own.items.capacity, own.items.idle, own.full_cost, hulls)
    return hulls

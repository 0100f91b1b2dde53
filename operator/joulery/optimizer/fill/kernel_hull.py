"""What an instance of a kind costs at least by load: the lower hull of its clocks. Loading this loads numba.

Points are (0, cost of the cheapest clock without load) and (capacity, cost) of every clock. The hull does not
depend on prices (one per kind), so it is made once per problem. Items of a kind come by rising capacity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import compiled
from joulery.optimizer.problem import Floats, Ints


class Hulls(NamedTuple):
    """Segments of all kinds' hulls, by lane and rising slope.

    Attributes:
        at: first segment of each lane, and one past the last of all.
        kind: of each segment.
        length: load of each segment.
        rise: cost of it.
        item: item whose full load ends it.
        idle: `[lane, kind]`, cost of an instance without load; infinite where the lane has no item of the kind.
        idle_item: item that costs so.
        most: `[lane, kind]`, load that an instance carries at its highest clock.
    """

    at: Ints
    kind: Ints
    length: Floats
    rise: Floats
    item: Ints
    idle: Floats
    idle_item: Ints
    most: Floats


@compiled
def _chain(first: int, last: int, idle: float, capacity: Floats, cost: Floats, chain: Ints) -> int:
    """Write the items on the hull of first..last-1 from (0, idle) on; returns how many."""
    number = 0
    for o in range(first, last):
        if number > 0 and capacity[o] == capacity[chain[number - 1]] and cost[o] > cost[chain[number - 1]]:
            continue
        while number > 0:
            before_x, before_y = 0.0, idle
            if number > 1:
                before_x, before_y = capacity[chain[number - 2]], cost[chain[number - 2]]
            x, y = capacity[chain[number - 1]], cost[chain[number - 1]]
            if (y - before_y) * (capacity[o] - before_x) < (cost[o] - before_y) * (x - before_x):
                break
            number -= 1
        chain[number] = o
        number += 1
    return number


@compiled
def _merged(hulls: Hulls, begin: int, end: int, head: Ints) -> Ints:
    """Segments begin..end-1, kind by kind of rising slope, by rising slope; of equal ones the lower kind's first."""
    slope = hulls.rise[begin:end] / hulls.length[begin:end]
    parts = 0
    for place in range(begin, end):
        if place == begin or hulls.kind[place] != hulls.kind[place - 1]:
            head[parts] = place
            parts += 1
    last = head[:parts].copy()
    last[: parts - 1] = head[1:parts]
    last[parts - 1 :] = end
    ahead = slope[head[:parts] - begin]
    order = np.empty(end - begin, dtype=np.int64)
    for at in range(end - begin):
        chosen = 0
        for part in range(1, parts):
            if ahead[part] < ahead[chosen]:
                chosen = part
        order[at] = head[chosen]
        head[chosen] += 1
        ahead[chosen] = slope[head[chosen] - begin] if head[chosen] < last[chosen] else np.inf
    return order


@compiled
def fill_hulls(kind_at: Ints, capacity: Floats, idle: Floats, cost: Floats, hulls: Hulls) -> None:
    """Fill the hulls of all lanes; as many segments as items are enough.

    Args:
        kind_at: `[lane, kind]`, first item, and one past the last.
        cost: of a full instance.
    """
    lanes, kinds = hulls.idle.shape
    chain, head = np.empty(len(capacity), dtype=np.int64), np.empty(kinds + 1, dtype=np.int64)
    end = 0
    for lane in range(lanes):
        begin = end
        hulls.at[lane] = begin
        for kind in range(kinds):
            first, last = kind_at[lane, kind], kind_at[lane, kind + 1]
            if first == last:
                hulls.idle[lane, kind], hulls.idle_item[lane, kind] = np.inf, -1
                continue
            cheapest = first + np.argmin(idle[first:last])
            x, y = 0.0, idle[cheapest]
            hulls.idle[lane, kind], hulls.idle_item[lane, kind] = y, cheapest
            hulls.most[lane, kind] = capacity[last - 1]
            for o in chain[: _chain(first, last, y, capacity, cost, chain)]:
                hulls.kind[end], hulls.item[end] = kind, o
                hulls.length[end], hulls.rise[end] = capacity[o] - x, cost[o] - y
                x, y = capacity[o], cost[o]
                end += 1
        order = _merged(hulls, begin, end, head)
        hulls.kind[begin:end], hulls.item[begin:end] = hulls.kind[order], hulls.item[order]
        hulls.length[begin:end], hulls.rise[begin:end] = hulls.length[order], hulls.rise[order]
    hulls.at[lanes] = end

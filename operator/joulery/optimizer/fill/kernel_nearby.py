"""Every configuration of a lane whose priced cost is within some slack of its cheapest, compiled.

What a joint choice can tell apart is a configuration's cost and its groups of GPUs. So labels are keyed by cell
of covered load and groups in use, one of least excess each, and of the finished ones the cheapest per groups in
use is kept. A label goes when its cost and the least that its rest can add exceed the limit; that least is
computed backwards on the cells, rounded down. Loading this loads numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import (
    BULK,
    BULKS,
    FIRST_SINGLE,
    MOST_SINGLES,
    PARTIAL,
    SINGLES,
    Items,
    bulk_of,
    closing_in_kind,
    compiled,
    full_cost,
    leader_of,
)
from joulery.optimizer.fill.kernel_room import (
    FEWEST_CELLS,
    MOST_FOUND,
    MOST_LABELS,
    TOO_MANY,
    Labels,
    Scratch,
    entry_of,
)
from joulery.optimizer.problem import Floats, Ints


class Useful(NamedTuple):
    """Full items that may be in a configuration within the limit, by rising excess."""

    item: Ints
    size: Floats
    cost: Floats
    excess: Floats


@compiled
def _useful(items: Items, price: Floats, lane: int, load: float, ratio: float, limit: float) -> Useful:
    number = 0
    item = np.empty(items.start[lane + 1] - items.start[lane], dtype=np.int64)
    excess = np.empty(len(item))
    for o in range(items.start[lane], items.start[lane + 1]):
        over = full_cost(items, price, o) - ratio * items.capacity[o]
        if over <= limit and items.capacity[o] < load:
            item[number], excess[number] = o, over
            number += 1
    order = np.argsort(excess[:number], kind="mergesort")
    item, excess = item[order], excess[order]
    size = items.capacity[item]
    return Useful(item, size, excess + ratio * size, excess)


@compiled
def _least_to_go(items: Items, price: Floats, lane: int, useful: Useful, load: float, least: Floats) -> None:
    """Cost below which no rest of load in a cell can be carried, by cell."""
    cells = len(least) - 1
    pieces = items.piece_at[lane]
    for cell in range(cells + 1):
        rest = cell * load / cells
        best = np.inf
        for kind in range(len(pieces) - 1):
            cost, _ = closing_in_kind(items, rest, pieces[kind], pieces[kind + 1])
            best = min(best, cost + price[kind])
        for place in range(len(useful.item)):
            left = rest - useful.size[place]
            if left > 0.0:
                best = min(best, useful.cost[place] + least[max(0, int(left / load * cells - 1e-9))])
        least[cell] = best


@compiled
def _close(
    items: Items, price: Floats, lane: int, groups_of: Ints, label: int, rest: float, most: float,
    room: Scratch, found: int,
) -> int:  # fmt: skip
    """Finish a label with the cheapest partial instance of each kind; returns how many are found by now."""
    pieces = items.piece_at[lane]
    for kind in range(len(pieces) - 1):
        closing, partial = closing_in_kind(items, rest, pieces[kind], pieces[kind + 1])
        total = room.labels.cost[label] + closing + price[kind]
        if total > most:
            continue
        if found == MOST_FOUND:
            return TOO_MANY
        entry = entry_of(room.by_groups, room.labels.groups[label] + groups_of[kind], lane, found)
        if entry == found:
            room.found.cost[entry] = np.inf
            found += 1
        if total < room.found.cost[entry]:
            room.found.cost[entry], room.found.label[entry] = total, label
            room.found.partial[entry] = partial
    return found


@compiled
def _is_beaten(labels: Labels, label: int, first: int) -> bool:
    """Whether a label of the same cell has no more excess and uses no more groups of any row."""
    rows = labels.use.shape[1]
    other = first
    while other >= 0:
        if other != label and labels.excess[other] <= labels.excess[label]:
            row = 0
            while row < rows and labels.use[other, row] <= labels.use[label, row]:
                row += 1
            if row == rows and (labels.excess[other] < labels.excess[label] or other < label):
                return True
        other = labels.behind[other]
    return False


@compiled
def _extend(
    items: Items, useful: Useful, groups_of: Ints, per_instance: Ints, lane: int, label: int, cell: int,
    load: float, ratio: float, most: float, room: Scratch, labels: int,
) -> int:  # fmt: skip
    """Add each full item to a label; returns how many labels there are by now."""
    cells, coarse = len(room.head) - 1, len(room.least) - 1
    rest = load - room.labels.covered[label]
    if room.labels.depth[label] == MOST_SINGLES:
        return labels
    spare = most - ratio * load - room.labels.excess[label]
    for place in range(len(useful.item)):
        if useful.excess[place] > spare:
            return labels
        left = rest - useful.size[place]
        if left <= 0.0:
            continue
        total = room.labels.cost[label] + useful.cost[place]
        if total + room.least[int(left / load * coarse)] > most:
            continue
        covered = room.labels.covered[label] + useful.size[place]
        there = min(cells, max(cell + 1, int(covered / load * cells)))
        if there == cell:
            continue
        if labels == MOST_LABELS:
            return TOO_MANY
        groups = room.labels.groups[label] + groups_of[items.kind[useful.item[place]]]
        entry = entry_of(room.by_label, groups * 31 + 7_046_029_254_386_353_131 * there, lane, labels)
        if entry == labels:
            room.labels.behind[entry], room.head[there] = room.head[there], entry
            room.labels.excess[entry], room.labels.groups[entry] = np.inf, groups
            kind = items.kind[useful.item[place]]
            for row in range(per_instance.shape[1]):
                room.labels.use[entry, row] = room.labels.use[label, row] + per_instance[kind, row]
            labels += 1
        excess = total - ratio * covered
        if excess < room.labels.excess[entry]:
            room.labels.excess[entry] = excess
            room.labels.cost[entry], room.labels.covered[entry] = total, covered
            room.labels.came_from[entry], room.labels.by_item[entry] = label, useful.item[place]
            room.labels.depth[entry] = room.labels.depth[label] + 1
    return labels


@compiled
def nearby(
    items: Items,
    price: Floats,
    lane: int,
    leader: int,
    groups_of: Ints,
    per_instance: Ints,
    most_value: float,
    cells_per_instance: float,
    whole_room: Scratch,
    recipes: Ints,
) -> int:
    """Write recipes of a lane with priced cost up to `most_value`; how many, or TOO_MANY.

    Args:
        leader: item that the bulk is of, where there are too many instances to label them all.
        groups_of: per kind, a number whose sums tell apart which groups of GPUs are in use.
        per_instance: `[kind, row]`, those groups.
        cells_per_instance: resolution of the labels.
    """
    _, ratio, _ = leader_of(items, price, lane)
    bulk = bulk_of(items, leader)
    load = 1.0 - bulk * items.capacity[leader]
    most = most_value - bulk * full_cost(items, price, leader)
    useful = _useful(items, price, lane, load, ratio, most_value - ratio)
    _least_to_go(items, price, lane, useful, load, whole_room.least)
    wanted = max(FEWEST_CELLS, int(cells_per_instance * load / items.capacity[leader]))
    cells = min(len(whole_room.head) - 1, wanted)
    room = Scratch(
        whole_room.by_label,
        whole_room.by_groups,
        whole_room.labels,
        whole_room.found,
        whole_room.head[: cells + 1],
        whole_room.least,
    )
    room.head[:] = -1
    room.labels.cost[0], room.labels.covered[0], room.labels.groups[0] = 0.0, 0.0, 0
    room.labels.excess[0], room.labels.use[0] = 0.0, 0
    room.labels.behind[0], room.labels.came_from[0], room.labels.depth[0] = -1, -1, 0
    room.head[0] = 0
    labels, found = 1, 0
    for cell in range(len(room.head)):
        label = room.head[cell]
        while label >= 0:
            if not _is_beaten(room.labels, label, room.head[cell]):
                rest = load - room.labels.covered[label]
                found = _close(items, price, lane, groups_of, label, rest, most, room, found)
                labels = _extend(
                    items, useful, groups_of, per_instance, lane, label, cell, load, ratio, most, room, labels
                )
                if min(found, labels) == TOO_MANY:
                    return TOO_MANY
            label = room.labels.behind[label]
    for place in range(min(found, len(recipes))):
        recipe = recipes[place]
        recipe[BULK], recipe[BULKS], recipe[PARTIAL] = leader, bulk, room.found.partial[place]
        recipe[SINGLES] = 0
        label = room.found.label[place]
        while room.labels.came_from[label] >= 0:
            recipe[FIRST_SINGLE + recipe[SINGLES]] = room.labels.by_item[label]
            recipe[SINGLES] += 1
            label = room.labels.came_from[label]
    return found

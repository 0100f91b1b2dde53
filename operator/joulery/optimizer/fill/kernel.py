"""The cheapest configuration of every lane at given prices on its kinds, compiled. Loading this loads numba.

    C_o, W_o   capacity and full cost + price of item o         r   min W_o / C_o, the least cost of load
    e_o        W_o - r C_o >= 0, what a full instance costs more than its load has to
    P(x)       cheapest partial instance for a rest of load x: per kind the lower envelope of all clocks

A configuration is some full instances and one partial one; it costs r + sum of e_o + (P(rest) - r rest). Labels
run over cells of covered load, one of least excess per cell, each with its exact coverage. Items are sorted
by excess, so an item whose excess reaches the best configuration's ends the list: nearly all never come up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import (
    LEFT_TO_LABEL,
    MOST_LABELLED,
    NOTHING,
    PARTIAL,
    Items,
    closing_in_kind,
    compiled,
    full_cost,
    leader_of,
    take,
)
from joulery.optimizer.problem import Floats, Ints

FEWEST_CELLS, MOST_CELLS = 64, 2048


class Labels(NamedTuple):
    """One label per cell: least excess, exact coverage, where from, and by which item."""

    excess: Floats
    covered: Floats
    came_from: Ints
    by_item: Ints


class Ranked(NamedTuple):
    """Items that may be in the cheapest configuration, by rising excess."""

    excess: Floats
    size: Floats
    item: Ints


@compiled
def _closing(items: Items, price: Floats, lane: int, rest: float) -> tuple[float, int]:
    """Priced cost of the cheapest partial instance that carries `rest`, and its item; -1 where none does."""
    best, chosen = np.inf, -1
    pieces = items.piece_at[lane]
    for kind in range(len(pieces) - 1):
        cost, found = closing_in_kind(items, rest, pieces[kind], pieces[kind + 1])
        if cost + price[kind] < best:
            best, chosen = cost + price[kind], found
    return best, chosen


@compiled
def _first_guess(
    items: Items, price: Floats, lane: int, load: float, leader: int, recipe: Ints
) -> tuple[float, int]:
    """Priced cost of full instances of the leader and one partial one, written as the recipe, and how many."""
    number = int(load / items.capacity[leader])
    if number > 0 and load - number * items.capacity[leader] <= NOTHING:
        number -= 1
    cost, recipe[PARTIAL] = _closing(items, price, lane, load - number * items.capacity[leader])
    recipe[PARTIAL + 1 :] = 0
    if number > 0:
        take(recipe, leader, number)
    total: float = number * full_cost(items, price, leader) + cost
    return total, number


@compiled
def _write(labels: Labels, cell: int, leader: int, bulk: int, partial: int, recipe: Ints) -> bool:
    """Write how a cell was reached as the recipe; false where it has no room for all items."""
    recipe[:] = 0
    recipe[PARTIAL] = partial
    is_whole = bulk == 0 or take(recipe, leader, bulk)
    while cell > 0:
        is_whole = take(recipe, labels.by_item[cell], 1) and is_whole
        cell = labels.came_from[cell]
    return is_whole


@compiled
def _rank(
    items: Items, price: Floats, lane: int, load: float, ratio: float, best: float, ranked: Ranked
) -> int:
    """Fill `ranked` with items whose excess is below the best's; returns how many."""
    number = 0
    for o in range(items.start[lane], items.start[lane + 1]):
        over = full_cost(items, price, o) - ratio * items.capacity[o]
        if over < best and items.capacity[o] < load:
            ranked.excess[number], ranked.item[number] = over, o
            number += 1
    order = np.argsort(ranked.excess[:number], kind="mergesort")
    ranked.excess[:number] = ranked.excess[:number][order]
    ranked.item[:number] = ranked.item[:number][order]
    ranked.size[:number] = items.capacity[ranked.item[:number]]
    return number


@compiled
def _extend(
    labels: Labels, ranked: Ranked, number: int, cell: int, cells: int, load: float, best: float
) -> None:
    """Add each full item to the label of a cell, as far as that can still be best."""
    here, covered, per_share = labels.excess[cell], labels.covered[cell], cells / load
    for place in range(number):
        total = here + ranked.excess[place]
        if total >= best:
            return
        size = ranked.size[place]
        if size >= load - covered:
            continue
        there = min(cells, max(cell + 1, int((covered + size) * per_share)))
        if there > cell and total < labels.excess[there]:
            labels.excess[there], labels.covered[there] = total, covered + size
            labels.came_from[there], labels.by_item[there] = cell, ranked.item[place]


@compiled
def _lane(
    items: Items,
    price: Floats,
    lane: int,
    cells_per_instance: float,
    labels: Labels,
    ranked: Ranked,
    recipe: Ints,
) -> float:
    """Write the cheapest recipe of one lane and return its priced cost."""
    leader, ratio = leader_of(items, price, lane)
    guess, instances = _first_guess(items, price, lane, 1.0, leader, recipe)
    bulk = instances - LEFT_TO_LABEL if instances > MOST_LABELLED else 0
    load = 1.0 - bulk * items.capacity[leader]
    best = guess - ratio
    number = _rank(items, price, lane, load, ratio, best, ranked)
    wanted = int(cells_per_instance * load / items.capacity[leader])
    cells = min(MOST_CELLS, max(FEWEST_CELLS, wanted))
    labels.excess[: cells + 1] = np.inf
    labels.excess[0], labels.covered[0] = 0.0, 0.0
    best_cell, partial = -1, -1
    for cell in range(cells + 1):
        if labels.excess[cell] >= best:
            continue
        rest = load - labels.covered[cell]
        cost, item = _closing(items, price, lane, rest)
        if labels.excess[cell] + cost - ratio * rest < best:
            best, best_cell, partial = labels.excess[cell] + cost - ratio * rest, cell, item
        _extend(labels, ranked, number, cell, cells, load, best)
    if best_cell >= 0 and not _write(labels, best_cell, leader, bulk, partial, recipe):
        _first_guess(items, price, lane, 1.0, leader, recipe)
    return ratio + best


@compiled
def cheapest(items: Items, price: Floats, cells_per_instance: float, recipes: Ints, value: Floats) -> None:
    """Write each lane's cheapest configuration at `price` per kind, and its priced cost.

    Args:
        cells_per_instance: resolution of the labels, within FEWEST_CELLS and MOST_CELLS per lane.
    """
    lanes = len(items.start) - 1
    most = 0
    for lane in range(lanes):
        most = max(most, items.start[lane + 1] - items.start[lane])
    ranked = Ranked(np.empty(most), np.empty(most), np.empty(most, dtype=np.int64))
    cells = MOST_CELLS + 1
    labels = Labels(
        np.empty(cells),
        np.empty(cells),
        np.zeros(cells, dtype=np.int64),
        np.zeros(cells, dtype=np.int64),
    )
    for lane in range(lanes):
        value[lane] = _lane(items, price, lane, cells_per_instance, labels, ranked, recipes[lane])

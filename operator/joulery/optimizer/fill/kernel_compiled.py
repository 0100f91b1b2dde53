"""How the kernels are compiled, and the arrays they share. Loading this loads numba."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.problem import Floats, Ints
from joulery.serving.compilation import compiler

compiled: Final = compiler(Path(__file__).parent)

# Of a recipe row: item of the instance that is not full, items of the others (`~item` without load), how many.
RUNS = 18
PARTIAL, FIRST_ITEM, FIRST_COUNT = 0, 1, 1 + RUNS
RECIPE = 1 + 2 * RUNS
# More instances than these: the bulk is of the item that carries load for least.
MOST_LABELLED = 16
LEFT_TO_LABEL = 14
# Shares of a lane's load below this are none.
NOTHING = 1e-12

# Numbers of items, of which there are many: half of the memory to touch.
Numbers = NDArray[np.int32]


class Items(NamedTuple):
    """All items, grouped by lane, then kind, then capacity; costs in one unit.

    Attributes:
        start: first item of each lane, and one past the last of all.
        kind: of each item.
        capacity: share of the lane's load that a full instance carries.
        idle, slope: cost of an instance, and per share of the load.
        piece_at: `[lane, kind]`, first piece of the cheapest partial instance by rest of load, and one past.
        upper: rest of load at which each piece ends.
        partial: item of each piece.
    """

    start: Ints
    kind: Ints
    capacity: Floats
    idle: Floats
    slope: Floats
    piece_at: Ints
    upper: Floats
    partial: Numbers


@compiled
def closing_in_kind(items: Items, rest: float, low: int, high: int) -> tuple[float, int]:
    """Cost without price of the cheapest partial instance among pieces low..high-1; infinite, -1 if none."""
    if low == high or items.upper[high - 1] < rest - NOTHING:
        return float("inf"), -1
    while low < high - 1:
        middle = (low + high - 1) // 2
        if items.upper[middle] >= rest - NOTHING:
            high = middle + 1
        else:
            low = middle + 1
    item = items.partial[low]
    return items.idle[item] + items.slope[item] * rest, item


@compiled
def full_cost(items: Items, price: Floats, item: int) -> float:
    """Priced cost of a full instance."""
    cost: float = items.idle[item] + items.slope[item] * items.capacity[item] + price[items.kind[item]]
    return cost


@compiled
def take(recipe: Ints, item: int, number: int) -> bool:
    """Add full instances to a recipe; false where it has no room for another item."""
    for run in range(RUNS):
        if recipe[FIRST_COUNT + run] == 0 or recipe[FIRST_ITEM + run] == item:
            recipe[FIRST_ITEM + run] = item
            recipe[FIRST_COUNT + run] += number
            return True
    return False


@compiled
def leader_of(items: Items, price: Floats, lane: int) -> tuple[int, float]:
    """The item that carries load for least when full, and that cost per load."""
    ratio, leader = float("inf"), items.start[lane]
    for o in range(items.start[lane], items.start[lane + 1]):
        here = full_cost(items, price, o) / items.capacity[o]
        if here < ratio:
            ratio, leader = here, o
    return leader, ratio

"""How the kernels are compiled, and the arrays they share. Loading this loads numba."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from joulery.optimizer.problem import Floats, Ints
from joulery.serving.compilation import compiler

compiled: Final = compiler(Path(__file__).parent)

# Of a recipe row: bulk item, bulk count, partial item, number of single full items, and these.
BULK, BULKS, PARTIAL, SINGLES, FIRST_SINGLE = 0, 1, 2, 3, 4
MOST_SINGLES = 44
RECIPE = FIRST_SINGLE + MOST_SINGLES
# More instances than these: the bulk is of the item that carries load for least.
MOST_LABELLED = 16
LEFT_TO_LABEL = 14
# Shares of a lane's load below this are none.
NOTHING = 1e-12


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
    partial: Ints


@compiled
def closing_in_kind(items: Items, rest: float, low: int, high: int) -> tuple[float, int]:
    """Cost without price of the cheapest partial instance among pieces low..high-1; infinite, -1 if none."""
    if low == high or items.upper[high - 1] < rest:
        return float("inf"), -1
    while low < high - 1:
        middle = (low + high - 1) // 2
        if items.upper[middle] >= rest:
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
def bulk_of(items: Items, item: int) -> int:
    """How many instances of an item are bulk when it leads."""
    instances = 1.0 / items.capacity[item]
    return int(instances) - LEFT_TO_LABEL if instances > MOST_LABELLED else 0


@compiled
def leader_of(items: Items, price: Floats, lane: int) -> tuple[int, float, int]:
    """The item that carries load for least when full, that cost per load, and how many are bulk."""
    ratio, leader = float("inf"), items.start[lane]
    for o in range(items.start[lane], items.start[lane + 1]):
        here = full_cost(items, price, o) / items.capacity[o]
        if here < ratio:
            ratio, leader = here, o
    return leader, ratio, bulk_of(items, leader)

"""What the search for nearby configurations writes on: a hash table, counts, results. Loading this loads numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import RECIPE, compiled
from joulery.optimizer.problem import Floats, Ints

# The hash table is open, its size a power of two, and it is at most half full.
MOST_FOUND = 1 << 12
TOO_MANY = -1
# Instances of a lane that run at another clock than the cheapest one of their kind.
MOST_DEPTH = 256


class Hashed(NamedTuple):
    """Keys of one lane, valid where the stamp is the lane's, and the entry that each stands for."""

    keys: Ints
    stamps: Ints
    entry: Ints


class Draft(NamedTuple):
    """One shape's clocks while they are searched for.

    Attributes:
        vertex: per kind, item at which an instance has no excess, -1 for one without load.
        used: per kind, instances at other clocks.
        place, best: which other clocks, now and in the best known.
        recipe: of the best known.
    """

    vertex: Ints
    used: Ints
    place: Ints
    best: Ints
    recipe: Ints


class Room(NamedTuple):
    """Everything that one lane after the other writes on.

    Attributes:
        counts: per kind, instances of the shape at hand.
        cost, lower, recipe: of each shape found: priced cost, a lower bound of it, and how it comes about.
    """

    by_groups: Hashed
    draft: Draft
    counts: Ints
    cost: Floats
    lower: Floats
    recipe: Ints


@compiled
def new_room(kinds: int) -> Room:
    """Room for any lane."""
    whole = np.int64
    return Room(
        Hashed(np.zeros(2 * MOST_FOUND, whole), np.full(2 * MOST_FOUND, -1), np.zeros(2 * MOST_FOUND, whole)),
        Draft(
            np.zeros(kinds, whole),
            np.zeros(kinds, whole),
            np.zeros(MOST_DEPTH + 1, whole),
            np.zeros(MOST_DEPTH + 1, whole),
            np.zeros(RECIPE, whole),
        ),
        np.zeros(kinds, whole),
        np.zeros(MOST_FOUND),
        np.zeros(MOST_FOUND),
        np.zeros((MOST_FOUND, RECIPE), whole),
    )


@compiled
def entry_of(table: Hashed, key: int, stamp: int, following: int) -> int:
    """The entry of a key, made `following` where it has none."""
    mask = len(table.keys) - 1
    mixed = (key ^ (key >> 29)) * 3_202_034_522_624_059_733
    place = (mixed ^ (mixed >> 32)) & mask
    while table.stamps[place] == stamp and table.keys[place] != key:
        place = (place + 1) & mask
    if table.stamps[place] != stamp:
        table.stamps[place], table.keys[place], table.entry[place] = stamp, key, following
    entry: int = table.entry[place]
    return entry

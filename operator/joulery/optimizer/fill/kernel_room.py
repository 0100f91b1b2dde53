"""What the search for nearby configurations writes on: hash tables, labels, results. Loading this loads numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import compiled
from joulery.optimizer.problem import Floats, Ints

# Hash tables are open, a power of two, and at most half full.
MOST_LABELS = 1 << 16
MOST_FOUND = 1 << 12
TOO_MANY = -1
FEWEST_CELLS, MOST_CELLS = 200, 8000
# Of the least that a rest of load can add: a bound, and dear to compute.
LEAST_CELLS = 600


class Hashed(NamedTuple):
    """Keys of one lane, valid where the stamp is the lane's, and the entry that each stands for."""

    keys: Ints
    stamps: Ints
    entry: Ints


class Labels(NamedTuple):
    """Cost, excess over what its load costs at least, coverage, groups and their key, and how it came about."""

    cost: Floats
    excess: Floats
    covered: Floats
    groups: Ints
    use: Ints
    behind: Ints
    came_from: Ints
    by_item: Ints
    depth: Ints


class Found(NamedTuple):
    """Finished configurations: cost, last label, partial item."""

    cost: Floats
    label: Ints
    partial: Ints


class Scratch(NamedTuple):
    """Everything that one lane after the other writes on."""

    by_label: Hashed
    by_groups: Hashed
    labels: Labels
    found: Found
    head: Ints
    least: Floats


@compiled
def scratch(rows: int) -> Scratch:
    """Room for any lane."""
    whole = np.int64
    return Scratch(
        Hashed(
            np.zeros(2 * MOST_LABELS, whole), np.full(2 * MOST_LABELS, -1), np.zeros(2 * MOST_LABELS, whole)
        ),
        Hashed(np.zeros(2 * MOST_FOUND, whole), np.full(2 * MOST_FOUND, -1), np.zeros(2 * MOST_FOUND, whole)),
        Labels(
            np.zeros(MOST_LABELS),
            np.zeros(MOST_LABELS),
            np.zeros(MOST_LABELS),
            np.zeros(MOST_LABELS, whole),
            np.zeros((MOST_LABELS, rows), whole),
            np.zeros(MOST_LABELS, whole),
            np.zeros(MOST_LABELS, whole),
            np.zeros(MOST_LABELS, whole),
            np.zeros(MOST_LABELS, whole),
        ),
        Found(np.zeros(MOST_FOUND), np.zeros(MOST_FOUND, whole), np.zeros(MOST_FOUND, whole)),
        np.zeros(MOST_CELLS + 1, whole),
        np.zeros(LEAST_CELLS + 1),
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

"""Instances that serve a lane wholly or in part, near its best at prices, compiled. Loading this loads numba.

    n_k   instances of kind k      C_k   load that one carries at its highest clock      s(n)  the share that they serve
    p_k   price of an instance: its GPUs and a little for its watts      r   min p_k / C_k, the least price of load

    value   sum of p_k n_k  +  1 - s(n)

Clocks do not matter for it. More instances only cost, and a share that is not served costs at least
min(1, r), so counts lead nowhere once  sum of p_k n_k + (1 - sum of C_k n_k) min(1, r)  is beyond the limit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import compiled
from joulery.optimizer.fill.kernel_hull import Hulls
from joulery.optimizer.fill.kernel_room import Hashed, entry_of
from joulery.optimizer.fill.kernel_rules import Rules, share_of, starts_of
from joulery.optimizer.problem import Floats, Ints

# Of one lane: counts to look at, and ways to keep before the best of them are taken.
MOST_LOOKED, MOST_KEPT = 5_000, 2_048


class Shapes(NamedTuple):
    """Ways to serve lanes: instances `[way, kind]`, the share that they serve, and what it is worth at the prices."""

    lane: Ints
    counts: Ints
    served: Floats
    value: Floats


class Wanted(NamedTuple):
    """What is looked for.

    Attributes:
        lanes: of whom.
        price: `[lane, kind]`, of an instance.
        per_start: of an instance that does not run.
        least: the share that each lane has to get.
        slack: value beyond the lane's best.
        most: ways per lane.
        groups_of: per kind, a number whose sums tell apart which groups of GPUs are in use.
        start_key: such a number for every start.
    """

    lanes: Ints
    price: Floats
    per_start: float
    least: Floats
    slack: float
    most: int
    groups_of: Ints
    start_key: int


@compiled
def _value(hulls: Hulls, rules: Rules, wanted: Wanted, lane: int, counts: Ints) -> tuple[float, float]:
    """Of counts, and the share that they serve; infinite where that is too little."""
    served = share_of(hulls, rules, lane, counts)
    if served < wanted.least[lane]:
        return np.inf, served
    total = wanted.per_start * starts_of(rules, lane, counts) + 1.0 - served
    for kind in range(len(counts)):
        total += counts[kind] * wanted.price[lane, kind]
    return total, served


@compiled
def _leads_on(hulls: Hulls, wanted: Wanted, lane: int, counts: Ints, per_load: float, limit: float) -> bool:
    """Whether counts, or more instances, may be within the limit."""
    total, covered = 0.0, 0.0
    for kind in range(len(counts)):
        total += counts[kind] * wanted.price[lane, kind]
        covered += counts[kind] * hulls.most[lane, kind]
    least = wanted.least[lane]
    total += max(0.0, least - covered) * per_load
    leads: bool = total + max(0.0, 1.0 - max(covered, least)) * min(1.0, per_load) <= limit
    return leads


@compiled
def _next(
    hulls: Hulls, rules: Rules, wanted: Wanted, lane: int, counts: Ints, per_load: float, limit: float
) -> bool:
    """Count on, kind by kind, to the next counts that lead on; false after the last."""
    lost, fewest, largest = rules.lost[lane], rules.fewest[lane], hulls.most[lane].max()
    for kind in range(len(counts)):
        size = hulls.most[lane, kind]
        if size == 0.0:
            continue
        counts[kind] += 1
        is_useful = counts[kind] <= (1.0 + lost * largest) / size + 1.0 + fewest
        if is_useful and _leads_on(hulls, wanted, lane, counts, per_load, limit):
            return True
        counts[kind] = 0
    return False


@compiled
def _least_value(hulls: Hulls, rules: Rules, wanted: Wanted, lane: int, counts: Ints) -> tuple[float, float]:
    """Least value of instances of one kind, or of none, and the least price of load."""
    counts[:] = 0
    best, _ = _value(hulls, rules, wanted, lane, counts)
    per_load = np.inf
    for kind in range(len(counts)):
        size = hulls.most[lane, kind]
        if size == 0.0:
            continue
        per_load = min(per_load, wanted.price[lane, kind] / size)
        enough = int(1.0 / size) + 1 + rules.lost[lane] + rules.fewest[lane]
        for number in range(max(1, enough - rules.fewest[lane] - 2), enough + 1):
            counts[kind] = number
            value, _ = _value(hulls, rules, wanted, lane, counts)
            best = min(best, value)
        counts[kind] = 0
    return best, per_load


@compiled
def _list_lane(
    hulls: Hulls, rules: Rules, wanted: Wanted, lane: int, known: Hashed, counts: Ints, found: Shapes
) -> int:
    """Write a lane's ways, of those that use the same groups the best; how many."""
    best, per_load = _least_value(hulls, rules, wanted, lane, counts)
    number = 0
    for _ in range(MOST_LOOKED):
        value, served = _value(hulls, rules, wanted, lane, counts)
        best = min(best, value)
        if value <= best + wanted.slack and number < MOST_KEPT:
            groups = wanted.start_key * starts_of(rules, lane, counts)
            for kind in range(len(counts)):
                groups += counts[kind] * wanted.groups_of[kind]
            entry = entry_of(known, groups, lane, number)
            if entry == number:
                number += 1
                found.value[entry] = np.inf
            if value < found.value[entry]:
                found.value[entry], found.served[entry], found.counts[entry] = value, served, counts
        if not _next(hulls, rules, wanted, lane, counts, per_load, best + wanted.slack):
            break
    return number


@compiled
def list_shapes(
    hulls: Hulls, rules: Rules, wanted: Wanted, known: Hashed, found: Shapes, shapes: Shapes
) -> int:
    """Write the best ways of all lanes, lane by lane; how many.

    Args:
        found: space for MOST_KEPT ways.
    """
    counts = np.zeros(hulls.most.shape[1], dtype=np.int64)
    at = 0
    for lane in wanted.lanes:
        number = _list_lane(hulls, rules, wanted, lane, known, counts, found)
        order = np.argsort(found.value[:number], kind="mergesort")
        for place in order[: wanted.most]:
            shapes.lane[at], shapes.counts[at] = lane, found.counts[place]
            shapes.served[at], shapes.value[at] = found.served[place], found.value[place]
            at += 1
    return at

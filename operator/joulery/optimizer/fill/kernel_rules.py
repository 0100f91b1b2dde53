"""What a lane asks of how many instances of each kind there are, compiled. Loading this loads numba.

    C_k   load that an instance of kind k carries at its highest clock      n_k  instances      s  that may be lost

Whatever s instances are lost, the others carry the load at their highest clocks: the sum of all C less the s
largest is at least 1. The sum of the s largest is the least over t of s t + sum of n_k max(0, C_k - t), reached
where t is some C_k. So the rule is that for one kind j at least

    sum over k of n_k min(C_k, C_j)  >=  1 + s C_j

A search takes these rows one after the other, and each is linear: a multiplier on it, and one on the least number
of instances, turn a rule into credit per kind, so that the bounds of the search stay near what the rules cost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import NOTHING, compiled
from joulery.optimizer.fill.kernel_hull import Hulls
from joulery.optimizer.problem import Floats, Ints

# Steps of golden section towards the best multiplier; any multiplier is valid.
STEPS = 24
GOLDEN = 0.6180339887498949
# A share of a lane's load below this is none; of a share that is served in part, so that rounding does not undo it.
LEAST_SERVED, ROUNDING = 1e-6, 1e-9


class Rules(NamedTuple):
    """What lanes ask of their instances.

    Attributes:
        fewest: by lane, as are `lost` instances and the cost of a `start`.
        running: `[lane, kind]`.
        awaited_at: `[lane, kind and one past the last]`, first of its entries in `awaited` and `short`.
        awaited: instances wanted later; each fewer costs `short`.
    """

    fewest: Ints
    lost: Ints
    start: Floats
    running: Ints
    awaited_at: Ints
    awaited: Ints
    short: Floats


class Credit(NamedTuple):
    """Multipliers of one lane's rules: credit per kind, and what the rules' right-hand sides are worth."""

    of_kind: Floats
    constant: float


@compiled
def starts_of(rules: Rules, lane: int, counts: Ints) -> int:
    """Instances of these counts that do not run yet."""
    total = 0
    for kind in range(len(counts)):
        total += max(0, counts[kind] - rules.running[lane, kind])
    return total


@compiled
def switching(rules: Rules, lane: int, counts: Ints) -> float:
    """Cost of getting to these counts from what runs, and from them to what is wanted later."""
    total: float = rules.start[lane] * starts_of(rules, lane, counts)
    for kind in range(len(counts)):
        for entry in range(rules.awaited_at[lane, kind], rules.awaited_at[lane, kind + 1]):
            total += rules.short[entry] * max(0, rules.awaited[entry] - counts[kind])
    return total


@compiled
def most_awaited(rules: Rules, lane: int, kind: int) -> int:
    """Instances of a kind beyond which none is worth anything later."""
    most = 0
    for entry in range(rules.awaited_at[lane, kind], rules.awaited_at[lane, kind + 1]):
        most = max(most, rules.awaited[entry])
    return most


@compiled
def switches(rules: Rules, lane: Ints, counts: Ints, starts: Ints, cost: Floats) -> None:
    """Write the starts of several configurations, and what `switching` says of them."""
    for place in range(len(lane)):
        starts[place] = starts_of(rules, lane[place], counts[place])
        cost[place] = switching(rules, lane[place], counts[place])


@compiled
def share_of(hulls: Hulls, rules: Rules, lane: int, counts: Ints) -> float:
    """The share of a lane's load that its counts can carry under its rules."""
    served = 0.0
    if counts.sum() < max(1, rules.fewest[lane]):
        return served
    for row in range(len(counts)):
        total, least = 0.0, hulls.most[lane, row]
        for kind in range(len(counts)):
            total += counts[kind] * min(hulls.most[lane, kind], least)
        # Without losses the row of the largest kind is the sum of all.
        served = max(served, min(1.0, total - rules.lost[lane] * least))
    if served < LEAST_SERVED:
        return 0.0
    return served * (1.0 - ROUNDING) if served < 1.0 - NOTHING else 1.0


@compiled
def served_by(hulls: Hulls, rules: Rules, counts: Ints, served: Floats) -> None:
    """Write the share of each lane's load that its counts can carry under its rules."""
    for lane in range(len(counts)):
        served[lane] = share_of(hulls, rules, lane, counts[lane])


@compiled
def is_allowed(hulls: Hulls, rules: Rules, lane: int, counts: Ints, row: int) -> bool:
    """Whether counts keep the fewest instances and the row of a kind."""
    total, least = 0.0, hulls.most[lane, row]
    for kind in range(len(counts)):
        total += counts[kind] * min(hulls.most[lane, kind], least)
    has_rest: bool = rules.lost[lane] == 0 or total >= 1.0 + rules.lost[lane] * least - NOTHING
    return has_rest and counts.sum() >= rules.fewest[lane]


@compiled
def _dual(
    hulls: Hulls, lane: int, price: Floats, cost: Floats, capacity: Floats, weight: Floats, multiplier: float
) -> float:
    """Least cost of load if an instance of a kind has `multiplier x weight` of credit; -1 where one costs nothing."""
    for kind in range(len(price)):
        if hulls.idle[lane, kind] + price[kind] < multiplier * weight[kind]:
            return -1.0
    least = np.inf
    for segment in range(hulls.at[lane], hulls.at[lane + 1]):
        item, kind = hulls.item[segment], hulls.kind[segment]
        least = min(least, (cost[item] + price[kind] - multiplier * weight[kind]) / capacity[item])
    return least


@compiled
def _multiplier(
    hulls: Hulls, lane: int, price: Floats, cost: Floats, capacity: Floats, weight: Floats, needed: float
) -> float:
    """The multiplier of `sum of weight n >= needed` whose bound is near the best; the bound is concave in it."""
    high = np.inf
    for kind in range(len(price)):
        if weight[kind] > 0.0:
            high = min(high, (hulls.idle[lane, kind] + price[kind]) / weight[kind])
    if high == np.inf:
        return 0.0
    low, best, best_value = 0.0, 0.0, _dual(hulls, lane, price, cost, capacity, weight, 0.0)
    for _ in range(STEPS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        at_left = _dual(hulls, lane, price, cost, capacity, weight, left) + left * needed
        at_right = _dual(hulls, lane, price, cost, capacity, weight, right) + right * needed
        if at_left > best_value:
            best, best_value = left, at_left
        if at_right > best_value:
            best, best_value = right, at_right
        if at_left < at_right:
            low = left
        else:
            high = right
    return best


@compiled
def credit_of(
    hulls: Hulls, rules: Rules, lane: int, price: Floats, cost: Floats, capacity: Floats, row: int
) -> Credit:
    """Multipliers of the fewest instances and of the row of a kind."""
    credit, constant = np.zeros(len(price)), 0.0
    if rules.fewest[lane] > 1:
        each = np.ones(len(price))
        needed = float(rules.fewest[lane])
        worth = _multiplier(hulls, lane, price, cost, capacity, each, needed)
        credit, constant = credit + worth, constant + worth * needed
    if rules.lost[lane] > 0:
        each = np.minimum(hulls.most[lane], hulls.most[lane, row])
        needed = 1.0 + rules.lost[lane] * hulls.most[lane, row]
        worth = _multiplier(hulls, lane, price - credit, cost, capacity, each, needed)
        credit, constant = credit + worth * each, constant + worth * needed
    return Credit(credit, constant)

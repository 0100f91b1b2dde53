"""Greed over lanes and pools together: weight by weight, each within what the others have left; no solver.

Where somebody sheds, further passes like kinds and options the less the more GPUs they take, and let the pools of a
weight go before its lanes; the best pass stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from joulery.optimizer.fallback import liked, safe_bound_w, sheds, smallest_full, take_turns
from joulery.optimizer.fill.greed import (
    LIKINGS,
    Greed,
    Queue,
    by_greed,
    cheapest_alone,
    first_difference,
    one_pass,
    queued,
    shortage_of,
    with_alone,
    with_words,
    written_greed,
)
from joulery.optimizer.fill.kernel_greed import new_taken
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.solution import Shortage
from joulery.optimizer.table import OptionTable, cheapest_full, in_problem_order, tabulate


@dataclass(frozen=True, slots=True, eq=False)
class Both:
    """Lanes and pools that are ready to take their turn.

    Attributes:
        by_weight: lanes and pools, by key, of each weight from the highest.
        watts_per_gpu: mean cost of those that take their cheapest.
    """

    queue: Queue
    pools: OptionTable
    by_weight: tuple[tuple[Ints, Ints], ...]
    watts_per_gpu: float


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """What lanes and pools take, by key, and what of it is lost, by falling weight."""

    lanes: Greed
    options: Ints
    lost: Floats
    cost_w: float

    def is_better_than(self, other: Turns) -> bool:
        """Whether it sheds less by falling weight or, shedding alike, costs less."""
        difference = first_difference(self.lost, other.lost)
        return difference < 0.0 or (difference == 0.0 and self.cost_w < other.cost_w)

    def is_shedding(self, pools: OptionTable) -> bool:
        """Whether somebody is served less than he could be."""
        return self.lanes.is_shedding or sheds(pools, self.options)


def ready(problem: LaneProblem) -> Both:
    """Those of a faultless problem with at least one lane and one pool."""
    queue, pools = queued(problem), tabulate(problem.of_pools())
    of_lanes = np.array([problem.lanes[p].weight for p in queue.position.tolist()])
    of_pools = np.array([problem.pools[p].weight for p in pools.position.tolist()])
    falling = np.unique(np.append(of_lanes, of_pools))[::-1].tolist()
    by_weight = tuple((np.flatnonzero(of_lanes == w), np.flatnonzero(of_pools == w)) for w in falling)
    cost_w, gpus = cheapest_alone(queue)
    full = cheapest_full(pools)
    total_w, total = cost_w + float(pools.cost_w[full].sum()), gpus + int(pools.gpus[full].sum())
    return Both(queue, pools, by_weight, total_w / max(1, total))


def by_turns(both: Both) -> Turns:
    """The best pass within supply and, where they are limited, starts."""
    best = next(passes := _passes(both))
    if best.is_shedding(both.pools):
        for other in passes:
            best = other if other.is_better_than(best) else best
    return best


def _passes(both: Both) -> Iterator[Turns]:
    for liking in LIKINGS:
        for is_pools_first in (False, True):
            yield _pass(both, liking * both.watts_per_gpu, is_pools_first=is_pools_first)


def _pass(both: Both, watts_per_gpu: float, *, is_pools_first: bool) -> Turns:
    queue, pools = both.queue, both.pools
    left, lost = pools.rows.slots.copy(), np.zeros(len(both.by_weight))
    taken, found = new_taken(len(queue.position)), None
    options, ranked = liked(pools, watts_per_gpu)
    for rank, (lanes, asking) in enumerate(both.by_weight):
        if is_pools_first:
            take_turns(pools, asking, ranked, options, left)
        found = one_pass(
            queue, lanes, watts_per_gpu, left[: len(queue.rows.slots)], _starts(pools, left), taken
        )
        left -= _used(both, lanes, found)
        if not is_pools_first:
            take_turns(pools, asking, ranked, options, left)
        lost[rank] = (1.0 - taken.served[lanes]).sum() + (1.0 - pools.served[options[asking]]).sum()
    assert found is not None
    return Turns(found, options, lost, found.cost_w + float(pools.cost_w[options].sum()))


def _starts(pools: OptionTable, left: Ints) -> int | None:
    return None if pools.problem.max_starts is None else int(left[-1])


def _used(both: Both, lanes: Ints, found: Greed) -> Ints:
    """Groups of GPUs that some lanes take, and starts where they are limited."""
    counts = found.counts(len(both.queue.gpus))[lanes]
    used: Ints = counts.sum(axis=0) @ both.pools.rows.per_instance
    if both.pools.problem.max_starts is not None:
        used[-1] += np.maximum(0, counts - both.queue.rules.running[lanes]).sum()
    return used


def greedy_mixed(problem: LaneProblem) -> LanePlan:
    """Lanes and pools by falling weight: a plan in milliseconds, proven in nothing but its bound."""
    both = ready(problem)
    found, pools = by_turns(both), both.pools
    if problem.max_starts is not None and found.is_shedding(pools):
        needed = by_turns(ready(replace(problem, max_starts=None)))
        found = needed if first_difference(needed.lost, found.lost) < 0.0 else found
    chosen = in_problem_order(pools, found.options)
    plan = written_greed(both.queue, found.lanes, chosen, safe_bound_w(pools, found.options))
    return with_words(plan, problem, _missing(both, found) if found.is_shedding(pools) else None)


def _missing(both: Both, found: Turns) -> tuple[Shortage, ...]:
    """At most what is missing: those that shed take what they would alone, the others stay as they are."""
    queue, pools = both.queue, both.pools
    counts = with_alone(queue, found.lanes.counts(len(queue.gpus)), found.lanes.taken.served)
    is_short = pools.served[found.options] < pools.most_served
    options = np.where(is_short, smallest_full(pools), found.options)
    return shortage_of(pools.rows, counts.sum(axis=0) @ pools.rows.per_instance + pools.total_use(options))


def greedy_service(table: LaneTable) -> Service:
    """What lanes and pools get by greed."""
    problem, kinds = table.problem, len(table.problem.kinds)
    if not problem.pools:
        queue = queued(problem)
        greed, options = by_greed(queue, queue.rows.slots, problem.max_starts), np.zeros(0, dtype=np.int64)
    else:
        found = by_turns(ready(problem))
        greed, options = found.lanes, found.options
    return Service(greed.counts(kinds), greed.taken.served, options, is_proven=False)

"""The greedy engine: equal instances of one item per lane, by falling weight and rising size; no solver.

Where somebody sheds, further passes like kinds the less the more GPUs they take, and the best pass stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from joulery.optimizer.fill.kernel_greed import Alone, Flat, Taken, alone, new_alone, new_taken, take_turns
from joulery.optimizer.fill.kernel_rules import Rules
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import Group, LanePlan, starts_of, switching_w, written
from joulery.optimizer.fill.rules import rules_of
from joulery.optimizer.packing import PackingRows, packing_rows
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.solution import Shortage, SolveStatus

ENGINE = "fallback"
# What a pass takes a GPU for, in the mean cost per GPU of lanes that take their cheapest kind.
LIKINGS = (0.0, 0.5, 2.0, 1e3)
# Twice what a stage of another engine may lose against an earlier one.
SHED_TOLERANCE = 2e-6


@dataclass(frozen=True, slots=True, eq=False)
class Queue:
    """Lanes by key, what each would take alone, and the order in which they take their turn.

    Attributes:
        position: of each lane in the problem.
        rank: of its weight, 0 for the highest.
        gpus: of an instance, by kind.
    """

    problem: LaneProblem
    rows: PackingRows
    position: Ints
    rank: Ints
    order: Ints
    gpus: Ints
    flat: Flat
    rules: Rules
    alone: Alone


@dataclass(frozen=True, slots=True, eq=False)
class Greed:
    """What lanes take, by key, and what of it is lost, by falling weight."""

    taken: Taken
    lost: Floats
    cost_w: float

    @property
    def is_shedding(self) -> bool:
        """Whether some lane is not served wholly."""
        return bool((self.taken.served < 1.0).any())

    def sheds_less_than(self, other: Greed) -> bool:
        """Whether less is lost by falling weight, rounding aside."""
        return first_difference(self.lost, other.lost) < 0.0

    def is_better_than(self, other: Greed) -> bool:
        """Whether it sheds less by falling weight or, shedding alike, costs less."""
        difference = first_difference(self.lost, other.lost)
        return difference < 0.0 or (difference == 0.0 and self.cost_w < other.cost_w)

    def counts(self, kinds: int) -> Ints:
        """Instances `[lane, kind]`."""
        found = np.zeros((len(self.taken.kind), kinds), dtype=np.int64)
        some = np.flatnonzero(self.taken.kind >= 0)
        found[some, self.taken.kind[some]] = self.taken.number[some]
        return found


def first_difference(one: Floats, other: Floats) -> float:
    """Of two losses by falling weight the first that is more than rounding; zero where there is none."""
    beyond = np.flatnonzero(np.abs(one - other) > SHED_TOLERANCE)
    return float((one - other)[beyond[0]]) if len(beyond) else 0.0


def queued(problem: LaneProblem) -> Queue:
    """Lanes of a faultless problem with at least one, ready to take their turn."""
    position = np.array(sorted(range(len(problem.lanes)), key=lambda p: problem.lanes[p].key), dtype=np.int64)
    lanes = [problem.lanes[p] for p in position.tolist()]
    flat = Flat(
        np.concatenate([[0], np.cumsum([len(lane) for lane in lanes])]),
        np.concatenate([lane.kind for lane in lanes]),
        np.concatenate([lane.capacity for lane in lanes]),
        np.concatenate([lane.idle_w for lane in lanes]),
        np.concatenate([lane.full_w for lane in lanes]),
    )
    rules = rules_of(lanes, len(problem.kinds), unit_w=1.0)
    found = new_alone(len(lanes), len(problem.kinds))
    alone(flat, rules, found)
    rank = np.unique([-lane.weight for lane in lanes], return_inverse=True)[1].astype(np.int64)
    rows = packing_rows(problem.kinds, problem.supplies, problem.quotas)
    gpus = np.array([kind.gpus for kind in problem.kinds], dtype=np.int64)
    # Of lanes of one weight those that need least come first, so that more of them are served.
    order = np.lexsort((_wanted_gpus(found, gpus), rank))
    return Queue(problem, rows, position, rank, order, gpus, flat, rules, found)


def _wanted_gpus(found: Alone, gpus: Ints) -> Ints:
    """GPUs that each lane takes of its cheapest kind."""
    wanted = found.cost.argmin(axis=1)
    taken: Ints = found.number[np.arange(len(wanted)), wanted] * gpus[wanted]
    return taken


def by_greed(queue: Queue, slots: Ints, most_starts: int | None) -> Greed:
    """The best pass over the lanes within slots and starts."""
    best = next(passes := _passes(queue, slots, most_starts))
    if best.is_shedding:
        for other in passes:
            best = other if other.is_better_than(best) else best
    return best


def _passes(queue: Queue, slots: Ints, most_starts: int | None) -> Iterator[Greed]:
    cost_w, gpus = cheapest_alone(queue)
    per_gpu = cost_w / max(1, gpus)
    for liking in LIKINGS:
        taken = new_taken(len(queue.position))
        yield one_pass(queue, queue.order, liking * per_gpu, slots, most_starts, taken)


def cheapest_alone(queue: Queue) -> tuple[float, int]:
    """Watts and GPUs of all lanes where each takes its cheapest kind."""
    return float(queue.alone.cost.min(axis=1).sum()), int(_wanted_gpus(queue.alone, queue.gpus).sum())


def one_pass(
    queue: Queue, order: Ints, watts_per_gpu: float, slots: Ints, most_starts: int | None, taken: Taken
) -> Greed:
    """All that is taken once these lanes have had their turn, which is written; what the others took stays."""
    price = (watts_per_gpu * queue.gpus).astype(np.float64)
    most = -1 if most_starts is None else most_starts
    take_turns(queue.alone, queue.rules, order, price, queue.rows.per_instance, slots, most, taken)
    lost = np.bincount(queue.rank, weights=1.0 - taken.served).astype(np.float64)
    return Greed(taken, lost, float(_costs_w(queue, taken).sum()))


def _costs_w(queue: Queue, taken: Taken) -> Floats:
    """About, without what starts and stops cost."""
    flat, item = queue.flat, taken.item
    idle = flat.idle[item]
    dynamic = (flat.full[item] - idle) / flat.capacity[item] * taken.served
    costs: Floats = np.where(taken.kind >= 0, taken.number * idle + dynamic, 0.0)
    return costs


def greedy_plan(problem: LaneProblem) -> LanePlan:
    """One kind per lane, by falling weight and rising size: a plan in milliseconds, proven in nothing but its bound."""
    queue = queued(problem)
    found = by_greed(queue, queue.rows.slots, problem.max_starts)
    if found.is_shedding and problem.max_starts is not None:
        needed = by_greed(queue, queue.rows.slots, None)
        found = needed if needed.sheds_less_than(found) else found
    plan = written_greed(queue, found)
    # At most what is missing: the others might make room.
    counts = with_alone(queue, found.counts(len(problem.kinds)), found.taken.served)
    short = shortage_of(queue.rows, counts.sum(axis=0) @ queue.rows.per_instance)
    return with_words(plan, problem, short if found.is_shedding else None)


def with_alone(queue: Queue, counts: Ints, served: Floats) -> Ints:
    """Instances `[lane, kind]` where lanes that shed take what they would alone, and the others stay as they are."""
    gpus = np.where(queue.alone.number > 0, queue.alone.number * queue.gpus, np.iinfo(np.int64).max)
    smallest, lane = gpus.argmin(axis=1), np.arange(len(gpus))
    anew = np.zeros_like(counts)
    anew[lane, smallest] = queue.alone.number[lane, smallest]
    return np.where(served[:, None] < 1.0, anew, counts)


def shortage_of(rows: PackingRows, used: Ints) -> tuple[Shortage, ...]:
    """What rows lack for the groups in use."""
    missing = rows.gpus_missing(used)
    return tuple(Shortage(name, gpus) for name, gpus in sorted(missing.items()))


def with_words(plan: LanePlan, problem: LaneProblem, shortage: tuple[Shortage, ...] | None) -> LanePlan:
    """A plan that says what is short, unless nobody sheds more than he must, and what it starts beyond the limit."""
    why = plan.why
    if plan.starts_over_limit:
        over, limit = plan.starts_over_limit, problem.max_starts
        why = f"{why}; the load needs {over} starts more than the limit of {limit}"
    if shortage is None:
        return replace(plan, why=why)
    short = ", ".join(f"{each.gpus_missing} of {each.accelerator}" for each in shortage) or "starts"
    return replace(plan, shortage=shortage, why=f"not enough GPUs, missing {short}; {why}")


def written_greed(
    queue: Queue, found: Greed, options: tuple[int, ...] = (), pools_w: float = 0.0
) -> LanePlan:
    """What lanes take as a plan.

    Args:
        options: of pools beside them, in the problem's order.
        pools_w: what those cost at least.
    """
    problem, taken = queue.problem, found.taken
    groups: list[tuple[Group, ...]] = [()] * len(problem.lanes)
    shed = np.ones(len(problem.lanes))
    shed[queue.position] = 1.0 - taken.served
    item = taken.item - queue.flat.start[:-1]
    share = taken.served / np.maximum(taken.number, 1)
    rows = zip(queue.position.tolist(), item.tolist(), taken.number.tolist(), share.tolist(), strict=True)
    for position, place, number, each in rows:
        if number:
            groups[position] = (Group(place, number, each),)
    bound_w = pools_w + float((queue.alone.per_load * taken.served).sum())
    bound_w += sum(switching_w(problem, problem.lanes[p], ()) for p, n in enumerate(groups) if not n)
    lost = tuple(shed.tolist())
    plan = written(problem, tuple(groups), bound_w, gap=0.0, engine=ENGINE, shed=lost, options=options)
    over = 0 if problem.max_starts is None else max(0, starts_of(problem, plan) - problem.max_starts)
    return replace(plan, status=SolveStatus.FALLBACK, starts_over_limit=over)

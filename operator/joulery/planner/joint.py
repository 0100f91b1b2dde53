"""One joint solve: offers of several pools in, guarded targets out that fit the GPUs together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import Verdict
from joulery.optimizer.packing import packing_rows
from joulery.optimizer.problem import GpuQuota, Kind, PoolBlock, Problem, Supply
from joulery.optimizer.solution import Shortage, Solution
from joulery.optimizer.solve import solve
from joulery.planner.options import PoolOptions, Target
from joulery.planner.pricing import Pricing
from joulery.planner.starts import Started
from joulery.planner.terms import SolveTime
from joulery.planner.view import PoolView

# Above every weight a user can give (API: at most 1000), so that a pinned pool is never shed.
_PINNED_WEIGHT = 1e6
# Less of a peak is a matter of arithmetic.
_SHED = 1e-6
# Each round pins at least one more pool; after two, what is left waits for GPUs rather than for the solver.
_ROUNDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """One pool's options, and what it is on; `pinned` where it must not move."""

    view: PoolView
    pricing: Pricing
    options: PoolOptions
    current: Target
    pinned: bool = False

    @property
    def key(self) -> ObjectKey:
        """The pool's key."""
        return self.view.key


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Targets by pool with the verdicts that shaped them, and what the optimizer said.

    `shed` has the pools whose wish lacks something, with the share of the peak that it leaves unserved: 0 where that
    is a spare or a replica of their minimum.
    """

    targets: Mapping[ObjectKey, Target]
    verdicts: Mapping[ObjectKey, tuple[Verdict, ...]]
    wishes: Mapping[ObjectKey, Target]
    solution: Solution
    shed: Mapping[ObjectKey, float]

    @property
    def shortage(self) -> tuple[Shortage, ...]:
        """Accelerators that are short."""
        return self.solution.shortage


@dataclass(frozen=True, slots=True)
class Room:
    """What the pools of one solve share: GPUs on nodes, the quotas of their namespaces, and starts."""

    supplies: tuple[Supply, ...]
    quotas: tuple[GpuQuota, ...] = ()
    max_starts: int | None = None


Guard = Callable[[Offer, Target], tuple[Target, tuple[Verdict, ...]]]


def solve_jointly(
    offers: Sequence[Offer],
    *,
    kinds: tuple[Kind, ...],
    room: Room,
    guard: Guard,
    next_solve: Callable[[], SolveTime],
) -> Outcome | Solution:
    """Solve, guard, and solve again with the guarded pools pinned while the sum does not fit.

    Returns the bare solution where the optimizer refused the problem.
    """
    pinned: dict[ObjectKey, Target] = {o.key: o.current for o in offers if o.pinned}
    told: dict[ObjectKey, tuple[Verdict, ...]] = {}
    sheds: dict[ObjectKey, float] = {}
    for _ in range(_ROUNDS):
        outcome = _round(offers, pinned, kinds, room, guard, next_solve())
        if isinstance(outcome, Solution):
            return outcome
        outcome = replace(outcome, verdicts={**outcome.verdicts, **told}, shed={**outcome.shed, **sheds})
        held = {k: t for k, t in outcome.targets.items() if t != outcome.wishes.get(k) and k not in pinned}
        if not held or _fits(offers, outcome.targets, kinds, room):
            return outcome
        pinned |= held
        told |= {k: outcome.verdicts[k] for k in held}
        sheds |= {k: outcome.shed[k] for k in held if k in outcome.shed}
    return outcome


def _round(
    offers: Sequence[Offer],
    pinned: Mapping[ObjectKey, Target],
    kinds: tuple[Kind, ...],
    room: Room,
    guard: Guard,
    time: SolveTime,
) -> Outcome | Solution:
    blocks = tuple(_pinned_block(o, pinned[o.key]) if o.key in pinned else o.options.block for o in offers)
    problem = Problem(kinds, blocks, room.supplies, room.quotas, room.max_starts)
    solution = solve(problem, time_limit_s=time.limit_s, stopwatch=time.stopwatch)
    if not solution.is_plan:
        return solution
    started = Started.of(problem, solution)
    wishes: dict[ObjectKey, Target] = {}
    guarded: dict[ObjectKey, tuple[Target, tuple[Verdict, ...]]] = {}
    for offer, option in zip(offers, solution.choice.option, strict=True):
        is_free = offer.key not in pinned
        wishes[offer.key] = offer.options.target(option) if is_free else pinned[offer.key]
        target, told = guard(offer, wishes[offer.key])
        limited = started.told(offer.options, option) if is_free else ()
        guarded[offer.key] = (target, (*limited, *told))
    lacking = zip(offers, solution.shed, strict=True)
    shed = {o.key: _shed(o, wishes[o.key]) for o, s in lacking if s > _SHED and o.key not in pinned}
    targets = {key: target for key, (target, _) in guarded.items()}
    return Outcome(targets, {k: v for k, (_, v) in guarded.items()}, wishes, solution, shed)


def _shed(offer: Offer, wish: Target) -> float:
    return offer.pricing.shed(wish.variant, wish.replicas)


def _pinned_block(offer: Offer, target: Target) -> PoolBlock:
    """The target as the only option; count 0 has to be there and is never better."""
    names = [v.name for v in offer.view.pool.variants]
    kind = int(offer.options.block.kind[0]) + names.index(target.variant)
    priced = offer.pricing.price(target.variant, target.replicas)
    return replace(
        offer.options.block,
        weight=_PINNED_WEIGHT,
        kind=np.array([kind, kind], dtype=np.int64),
        count=np.array([0, target.replicas], dtype=np.int64),
        clock_mhz=np.array([0, target.clock_mhz], dtype=np.int64),
        watts=np.array([0.0, priced.watts]),
        served=np.array([0.0, 1.0]),
        switch_w=np.zeros(2),
        starts=np.zeros(2, dtype=np.int64),
    )


def _fits(
    offers: Sequence[Offer],
    targets: Mapping[ObjectKey, Target],
    kinds: tuple[Kind, ...],
    room: Room,
) -> bool:
    rows = packing_rows(kinds, room.supplies, room.quotas)
    used = np.zeros(len(rows.slots), dtype=np.int64)
    for offer in offers:
        target = targets[offer.key]
        names = [v.name for v in offer.view.pool.variants]
        kind = int(offer.options.block.kind[0]) + names.index(target.variant)
        used += target.replicas * rows.per_instance[kind]
    return rows.fit(used)

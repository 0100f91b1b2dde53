"""Small problems with lanes that fill and pools that split equally, drawn by seed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import numpy as np

from joulery.bench.forms import equal, fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.fill.plan import LanePlan
from joulery.optimizer.problem import PoolBlock, Supply, supply_of

Block = TypeVar("Block", Lane, PoolBlock)

OPTION_ARRAYS = ("kind", "count", "clock_mhz", "watts", "served", "switch_w", "starts")


def mixed(seed: int, blocks: int = 4, clocks: int = 4, *, room: float = 1.3) -> LaneProblem:
    """Every second pool of a fleet fills, the others split equally; supply is `room` times the suite's."""
    fleet = drawn(Case(blocks, 2, clocks), seed)
    filled = fill(fleet)
    supplies = tuple(supply_of(s.accelerator, [8] * _nodes(s, room)) for s in filled.supplies)
    return replace(filled, lanes=filled.lanes[::2], pools=equal(fleet).pools[1::2], supplies=supplies)


def _nodes(supply: Supply, room: float) -> int:
    return math.ceil(dict(supply.slots)[8] * room)


def short(seed: int, blocks: int = 4, clocks: int = 4, *, most_nodes: int = 2) -> LaneProblem:
    """Of two weights on a few nodes, some of them partly taken; pools may be served in part."""
    problem = mixed(seed, blocks, clocks)
    rng = np.random.default_rng(seed)
    supplies = tuple(
        supply_of(s.accelerator, rng.integers(0, 9, int(rng.integers(0, most_nodes + 1))).tolist())
        for s in problem.supplies
    )
    lanes = tuple(replace(lane, weight=float(rng.integers(1, 3))) for lane in problem.lanes)
    pools = tuple(replace(in_parts(pool), weight=float(rng.integers(1, 3))) for pool in problem.pools)
    return replace(problem, lanes=lanes, pools=pools, supplies=supplies)


def in_parts(pool: PoolBlock) -> PoolBlock:
    """The pool with half of each option's instances too, for the share that they carry."""
    half = pool.count // 2
    share = half / np.maximum(pool.count, 1)
    return replace(
        pool,
        kind=np.concatenate([pool.kind, pool.kind]),
        count=np.concatenate([pool.count, half]),
        clock_mhz=np.concatenate([pool.clock_mhz, pool.clock_mhz]),
        watts=np.concatenate([pool.watts, pool.watts * share]),
        served=np.concatenate([pool.served, pool.served * share]),
        switch_w=np.concatenate([pool.switch_w, pool.switch_w]),
    )


def running(problem: LaneProblem, seed: int, most_starts: int) -> LaneProblem:
    """With something that runs already, and so many starts."""
    rng = np.random.default_rng(seed)
    lanes = tuple(
        replace(lane, running=tuple((int(k), int(rng.integers(0, 3))) for k in np.unique(lane.kind)))
        for lane in problem.lanes
    )
    pools = tuple(_started(pool, rng.integers(0, 3, len(problem.kinds))) for pool in problem.pools)
    return replace(problem, lanes=lanes, pools=pools, max_starts=most_starts)


def _started(pool: PoolBlock, present: np.ndarray) -> PoolBlock:
    return replace(pool, starts=np.maximum(0, pool.count - present[pool.kind]).astype(np.int64))


def other_order(problem: LaneProblem, seed: int) -> LaneProblem:
    """Lanes, pools, supplies, items and options in another order."""
    dice = np.random.default_rng(seed)
    lanes = [problem.lanes[p] for p in dice.permutation(len(problem.lanes))]
    pools = [problem.pools[p] for p in dice.permutation(len(problem.pools))]
    items = ("kind", "clock_mhz", "capacity", "idle_w", "full_w")
    return replace(
        problem,
        lanes=tuple(_taken(lane, items, dice.permutation(len(lane))) for lane in lanes),
        pools=tuple(_taken(pool, OPTION_ARRAYS, dice.permutation(len(pool))) for pool in pools),
        supplies=problem.supplies[::-1],
    )


def _taken(block: Block, names: tuple[str, ...], order: np.ndarray) -> Block:
    arrays = {name: getattr(block, name) for name in names}
    return replace(block, **{name: array[order] for name, array in arrays.items() if array is not None})


def doubled(problem: LaneProblem) -> LaneProblem:
    """With every option of every pool twice."""
    pools = tuple(_taken(pool, OPTION_ARRAYS, np.repeat(np.arange(len(pool)), 2)) for pool in problem.pools)
    return replace(problem, pools=pools)


def lost_by_weight(problem: LaneProblem, plan: LanePlan) -> list[float]:
    """Shares of load of lanes and pools, from the highest weight."""
    both = list(zip((*problem.lanes, *problem.pools), plan.shed, strict=True))
    weights = sorted({block.weight for block, _ in both}, reverse=True)
    return [math.fsum(shed for block, shed in both if block.weight == weight) for weight in weights]


def told(problem: LaneProblem, plan: LanePlan) -> str:
    """Cost, bound and what each lane and pool gets, as text without rounding and whatever the order."""
    lanes = sorted(
        (
            lane.key,
            [(lane.kind[g.item].item(), lane.clock_mhz[g.item].item(), g.instances, g.share) for g in groups],
        )
        for lane, groups in zip(problem.lanes, plan.groups, strict=True)
    )
    pools = sorted(
        (pool.key, *(getattr(pool, name)[option].item() for name in OPTION_ARRAYS[:6]))
        for pool, option in zip(problem.pools, plan.options, strict=True)
    )
    short_of = [(each.accelerator, each.gpus_missing) for each in plan.shortage]
    return repr((plan.cost_w, plan.bound_w, plan.why, plan.starts_over_limit, short_of, lanes, pools))

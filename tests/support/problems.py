"""Random and hand-made optimizer problems, and what brute force says about them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from joulery.optimizer.checker import check
from joulery.optimizer.packing import place
from joulery.optimizer.problem import Kind, PoolBlock, Problem, Supply, supply_of
from joulery.optimizer.solution import Choice, Solution, SolveStatus

H100, A100 = "H100-SXM-80GB", "A100-SXM-80GB"
KINDS = (Kind(H100, 2), Kind(H100, 4), Kind(H100, 8), Kind(A100, 4), Kind(A100, 8))

Row = tuple[int, int, int, float, float, float]


def block(key: str, rows: Sequence[Row], weight: float = 1.0) -> PoolBlock:
    """A pool of `(kind, count, clock, watts, served, switch_w)` rows."""
    kind, count, clock, watts, served, switch = zip(*rows, strict=True)
    return PoolBlock(
        key=key,
        weight=weight,
        kind=np.array(kind, dtype=np.int64),
        count=np.array(count, dtype=np.int64),
        clock_mhz=np.array(clock, dtype=np.int64),
        watts=np.array(watts, dtype=np.float64),
        served=np.array(served, dtype=np.float64),
        switch_w=np.array(switch, dtype=np.float64),
    )


def small_problem(seed: int, pools: int = 3, options: int = 5, gpus: int = 12) -> Problem:
    """A few random options per pool without any structure, for brute force; supply usually binds."""
    rng = np.random.default_rng(seed)
    blocks = [_small_pool(rng, f"pool-{p}", options) for p in range(pools)]
    nodes = rng.integers(0, 9, size=max(1, gpus // 4)).tolist()
    supplies = (supply_of(H100, nodes), supply_of(A100, rng.integers(0, 9, size=2).tolist()))
    return Problem(KINDS, tuple(blocks), supplies)


def _small_pool(rng: np.random.Generator, key: str, options: int) -> PoolBlock:
    rows: list[Row] = [(0, 0, 0, 0.0, 0.0, float(rng.uniform(0, 50)))]
    for _ in range(options):
        watts, switch = float(rng.uniform(100, 4000)), float(rng.choice([0.0, rng.uniform(0, 300)]))
        served = float(rng.choice([1.0, 1.0, 1.0, round(rng.uniform(0.2, 1), 2)]))
        rows.append((int(rng.integers(5)), int(rng.integers(1, 4)), 1200, watts, served, switch))
    return block(key, sorted(rows), weight=float(rng.choice([1.0, 2.0, 5.0])))


def fleet_problem(
    seed: int, pools: int, tightness: float = 0.85, clocks: int = 20, counts: int = 10, kinds: int = 3
) -> Problem:
    """Pools with the shape of real ones: power concave in load, faster and costlier with the clock.

    `tightness` is supply over the GPUs of everybody's cheapest full option: below 1 it binds.
    """
    rng = np.random.default_rng(seed)
    blocks = [_fleet_pool(rng, f"ns/pool-{p:03d}", clocks, counts, kinds) for p in range(pools)]
    wanted = sum(_cheapest_gpus(pool) for pool in blocks)
    nodes = max(1, round(wanted * tightness / 8))
    return Problem(KINDS[:kinds], tuple(blocks), (supply_of(H100, [8] * nodes),))


def _fleet_pool(rng: np.random.Generator, key: str, clocks: int, counts: int, kinds: int) -> PoolBlock:
    load = float(np.clip(rng.lognormal(0.9, 0.5), 0.6, 6.0))  # in full-clock TP8 instances
    phi = np.linspace(0.4, 1.0, clocks)
    scale = rng.uniform(0.78, 0.93)
    host = rng.uniform(0.2, 0.6)
    parts: list[Row] = []
    for kind in range(kinds):
        gpus = KINDS[kind].gpus
        capacity = (gpus / 8) ** scale / (host + (1 - host) / phi)
        for count in range(counts + 1 if kind == 0 else counts):
            n = count + (kind > 0)
            use = np.minimum(1.0, load / (max(n, 1) * capacity))
            power = n * gpus * (90 + 610 * (0.3 + 0.7 * phi**2.5) * use**0.6)
            served = np.minimum(1.0, n * capacity / load) if n else np.zeros(clocks)
            parts += [
                (kind, n, int(1980 * phi[c]), float(power[c]), float(served[c]), 20.0 * abs(n - 2))
                for c in range(clocks if n else 1)
            ]
    return block(key, parts, weight=float(rng.choice([1.0, 2.0, 5.0])))


def _cheapest_gpus(pool: PoolBlock) -> int:
    cost = np.where(pool.served >= pool.served.max(), pool.watts + pool.switch_w, np.inf)
    best = int(cost.argmin())
    return int(pool.count[best]) * KINDS[int(pool.kind[best])].gpus


def solution_of(problem: Problem, options: Sequence[int], bound_w: float = 0.0) -> Solution:
    """A choice written up honestly."""
    chosen = list(zip(problem.pools, options, strict=True))
    cost_w = math.fsum(float(p.watts[o] + p.switch_w[o]) for p, o in chosen)
    shed = tuple(1.0 - float(p.served[o]) for p, o in chosen)
    return Solution(Choice(tuple(options)), cost_w, bound_w, shed, SolveStatus.OPTIMAL, "by hand", "milp")


def lost_by_weight(problem: Problem, shed: Sequence[float]) -> tuple[float, ...]:
    """Shed summed per weight, highest weight first."""
    weights = sorted({p.weight for p in problem.pools}, reverse=True)
    pairs = list(zip(problem.pools, shed, strict=True))
    return tuple(round(sum(s for p, s in pairs if p.weight == w), 9) for w in weights)


def brute_force(problem: Problem) -> tuple[tuple[float, ...], float]:
    """Least shed by weight, then least cost, over all combinations that pass the checker."""
    best: tuple[tuple[float, ...], float] | None = None
    for options in itertools.product(*(range(len(pool)) for pool in problem.pools)):
        candidate = solution_of(problem, options)
        if check(problem, candidate):
            continue
        value = (lost_by_weight(problem, candidate.shed), candidate.cost_w)
        best = value if best is None else min(best, value)
    assert best is not None
    return best


def least_extra_gpus(problem: Problem, most: int) -> int:
    """Fewest GPUs, on nodes of their own and over all accelerators, that serve everybody."""
    names = sorted({kind.accelerator for kind in problem.kinds})
    for total in range(most + 1):
        for split in itertools.product(range(total + 1), repeat=len(names)):
            if sum(split) == total and _serves_all(_extended(problem, dict(zip(names, split, strict=True)))):
                return total
    raise AssertionError(f"more than {most} GPUs are missing")


def _extended(problem: Problem, extra: dict[str, int]) -> Problem:
    old = {s.accelerator: dict(s.slots) for s in problem.supplies}
    supplies = tuple(
        Supply(name, tuple((s, old.get(name, {}).get(s, 0) + gpus // s) for s in (8, 4, 2, 1)))
        for name, gpus in extra.items()
    )
    return Problem(problem.kinds, problem.pools, supplies)


def _serves_all(problem: Problem) -> bool:
    full = [np.flatnonzero(pool.served >= pool.served.max()).tolist() for pool in problem.pools]
    return any(not check(problem, solution_of(problem, options)) for options in itertools.product(*full))


def can_place(nodes_free: Sequence[int], problem: Problem, options: Sequence[int], accelerator: str) -> bool:
    """Whether the chosen instances of one accelerator really go on these nodes."""
    counts: dict[int, int] = {}
    for pool, option in zip(problem.pools, options, strict=True):
        kind = problem.kinds[int(pool.kind[option])]
        if kind.accelerator == accelerator:
            counts[kind.gpus] = counts.get(kind.gpus, 0) + int(pool.count[option])
    return place(nodes_free, counts) is not None

"""The seeded suite: synthetic fleets in which GPUs bind, from nine pools to five thousand.

A pool is a model with one bucket of request lengths. An item (TP t, accelerator g, clock share phi) of it has

    time       compute share / (speed_g phi) + memory share / bandwidth_g          (H100 at full clock = 1)
    used       1.05 - t^-0.6 time / objective, at most 1; items below 0.1 drop out
    capacity   t^eta used / time
    watts      t (idle + dynamic intensity (.22 phi + .78 phi^2.7) (.35 + .65 used)) full,
               t (idle + .06 dynamic phi^2) without load

Supply is the least that serves the loads when split freely, equal over accelerators, over `tightness`, in nodes
of eight. Form and constants: the prototype that the targets were set with; they are no real GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulery.optimizer.fill.lane import Lane
from joulery.optimizer.problem import Floats, Kind

SIZES = (1, 2, 4, 8)
NODE_GPUS = 8
FULL_CLOCK_MHZ = 2000
MODELS_GB = (8.0, 14.0, 32.0, 70.0, 140.0)
# Compute share of a bucket, by input length (short, middle, long) and output length.
COMPUTE_SHARE = ((0.45, 0.25, 0.15), (0.65, 0.45, 0.30), (0.85, 0.65, 0.45))


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Relative to an H100-like one, but for watts and memory of one GPU."""

    name: str
    speed: float
    bandwidth: float
    memory_gb: float
    idle_w: float
    dynamic_w: float
    lowest_phi: float


ACCELERATORS = (
    Accelerator("H100-like", 1.0, 1.0, 80.0, 75.0, 620.0, 0.35),
    Accelerator("A100-like", 0.34, 0.6, 80.0, 55.0, 345.0, 0.45),
    Accelerator("L40S-like", 0.37, 0.26, 48.0, 35.0, 315.0, 0.35),
    Accelerator("H200-like", 1.0, 1.43, 141.0, 80.0, 620.0, 0.35),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One size of the suite; `gpus_per_pool` is about what supply gives.

    `load_spread` is the standard deviation of loads' logarithm: at 1.8 a tenth of pools are two thirds of the load.
    """

    pools: int
    accelerators: int
    clocks: int
    tightness: float = 0.75
    gpus_per_pool: int = 10
    load_spread: float = 1.0

    @property
    def name(self) -> str:
        """`pools/accelerators/clocks/supply`, as in tables and JSON."""
        supply = "loose" if self.tightness < 0.7 else "tight" if self.tightness <= 1.0 else "short"
        size = "" if self.gpus_per_pool in {10, 20} else f"-{self.gpus_per_pool}gpus"
        spread = "" if self.load_spread <= 1.0 else "-uneven"
        return f"{self.pools}pools{size}{spread}/{self.accelerators}types/{self.clocks}clocks/{supply}"


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """A drawn case: lanes with capacity in shares of their load, and whole nodes per accelerator."""

    kinds: tuple[Kind, ...]
    lanes: tuple[Lane, ...]
    nodes: tuple[int, ...]
    # Of concave power: exponent of the dynamic part over utilisation, per lane.
    exponent: Floats

    def drifted(self, seed: int, spread: float) -> Fleet:
        """The same fleet with every load times 1 +- spread."""
        dice = np.random.default_rng([seed, 77])
        return self.loaded(dice.uniform(1.0 - spread, 1.0 + spread, len(self.lanes)))

    def loaded(self, factors: Floats) -> Fleet:
        """The same fleet with each load times its factor."""
        lanes = tuple(
            Lane(n.key, n.kind, n.clock_mhz, n.capacity / factor, n.idle_w, n.full_w)
            for n, factor in zip(self.lanes, factors.tolist(), strict=True)
        )
        return Fleet(self.kinds, lanes, self.nodes, self.exponent)


def drawn(case: Case, seed: int) -> Fleet:
    """The fleet of a case; the number of clocks does not change what is drawn."""
    rng = np.random.default_rng([seed, case.pools, case.accelerators, case.gpus_per_pool])
    types = ACCELERATORS[: case.accelerators]
    kinds = tuple(Kind(a.name, size) for a in types for size in SIZES)
    lanes, per_gpu = [], []
    for pool in range(case.pools):
        lane, best = _lane(rng, f"pool-{pool:04d}", types, case)
        lanes.append(lane)
        per_gpu.append(best)
    least = _least_uniform_supply(1.0 / np.array(per_gpu))
    nodes = max(1, round(least / case.tightness / NODE_GPUS))
    return Fleet(kinds, tuple(lanes), (nodes,) * len(types), rng.uniform(0.5, 0.7, case.pools))


def _lane(
    rng: np.random.Generator, key: str, types: tuple[Accelerator, ...], case: Case
) -> tuple[Lane, list[float]]:
    """A lane and, per accelerator, the share of its load that one GPU carries at most."""
    model_gb, eta = float(rng.choice(MODELS_GB)), float(rng.uniform(0.78, 0.93))
    compute = COMPUTE_SHARE[int(rng.integers(3))][int(rng.integers(3))]
    objective = 8.0**-0.6 * float(np.exp(rng.uniform(np.log(2.6), np.log(16.0))))
    equivalents = (
        case.gpus_per_pool * float(rng.lognormal(-0.5 * case.load_spread**2, case.load_spread)) * 0.75
    )
    parts, best = [], []
    for index, accelerator in enumerate(types):
        found = [_items(accelerator, size, compute, objective, eta, model_gb, case.clocks) for size in SIZES]
        per_gpu = [f[1].max(initial=0.0) / size for f, size in zip(found, SIZES, strict=True)]
        best.append(max(per_gpu))
        parts += [(index * len(SIZES) + place, *item) for place, item in enumerate(found)]
    load = equivalents * float(np.mean(best))
    return _assembled(key, parts, load), [max(b / load, 1e-12) for b in best]


def _items(
    accelerator: Accelerator,
    size: int,
    compute: float,
    objective: float,
    eta: float,
    model_gb: float,
    clocks: int,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Clock share, capacity, idle and full watts of the clocks at which one size holds the objective."""
    if size * accelerator.memory_gb < 1.25 * model_gb:
        return (np.zeros(0),) * 4
    phi = np.linspace(accelerator.lowest_phi, 1.0, clocks)
    time = compute / (accelerator.speed * phi) + (1.0 - compute) / accelerator.bandwidth
    used = np.minimum(1.0, 1.05 - size**-0.6 * time / objective)
    penalty = 0.8 if size == 1 and model_gb > 30.0 else 1.0
    capacity = penalty * size**eta * used / time
    response = (0.7 + 0.3 * compute) * (0.22 * phi + 0.78 * phi**2.7)
    full_w = size * (accelerator.idle_w + accelerator.dynamic_w * response * (0.35 + 0.65 * used))
    idle_w = size * (accelerator.idle_w + 0.06 * accelerator.dynamic_w * phi**2)
    able = used >= 0.1
    return phi[able], capacity[able], idle_w[able], full_w[able]


def _assembled(key: str, parts: list[tuple[int, Floats, Floats, Floats, Floats]], load: float) -> Lane:
    phi, capacity, idle_w, full_w = (np.concatenate([part[i] for part in parts]) for i in range(1, 5))
    return Lane(
        key=key,
        kind=np.repeat([part[0] for part in parts], [len(part[1]) for part in parts]).astype(np.int64),
        clock_mhz=np.rint(FULL_CLOCK_MHZ * phi).astype(np.int64),
        capacity=capacity / load,
        idle_w=idle_w,
        full_w=full_w,
    )


def _least_uniform_supply(gpus: Floats) -> float:
    """Least N with every lane split freely and at most N GPUs of each type: max over w of sum min (w gpus).

    Args:
        gpus: `[lane, type]`, GPUs that carry the lane alone.
    """
    weights = np.full(gpus.shape[1], 1.0 / gpus.shape[1])
    best = 0.0
    for step in range(200):
        cost = gpus * weights
        choice = cost.argmin(axis=1)
        best = max(best, float(cost[np.arange(len(gpus)), choice].sum()))
        load = np.bincount(choice, weights=gpus[np.arange(len(gpus)), choice], minlength=len(weights))
        weights = weights * np.exp((load / max(load.max(), 1e-12)) / (1.0 + 0.1 * step))
        weights /= weights.sum()
    return best

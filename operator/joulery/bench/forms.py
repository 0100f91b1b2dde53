"""The suite's fleets as problems: how a lane's router splits load decides what a configuration is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from joulery.bench.suite import NODE_GPUS, Fleet
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.problem import Floats, Ints, PoolBlock, Problem, Supply, supply_of

# A configuration that misses the load by rounding alone carries it.
COVERAGE_TOLERANCE = 1e-9
# Supply of the concave form over that of the affine one: redundancy holds more GPUs.
REDUNDANCY_ROOM = 1.7

Running = Mapping[str, Mapping[int, int]]
"""Instances by kind that each pool runs."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted later.

    Attributes:
        later: what may be, each as likely as any other.
        share: of what a start costs now, for one then.
    """

    later: Sequence[Running] = ()
    share: float = 1.0

    def of(self, pool: str) -> list[Mapping[int, int]]:
        """By kind, of one pool."""
        return [running[pool] for running in self.later]


NOTHING_WANTED = Wanted()


class Form(StrEnum):
    """What the suite asks of an engine."""

    EQUAL = "equal"
    """Load split equally over instances of one kind and clock; power affine; whole nodes."""
    CONCAVE = "concave"
    """The same with concave power, nodes partly taken, and the load held with one instance lost."""
    FILL = "fill"
    """Instances filled one by one, kinds and clocks mixed; power affine; whole nodes."""
    MIXED = "mixed"
    """Every second pool filled, the others split equally; power affine; whole nodes that both share."""


def equal(
    fleet: Fleet,
    running: Running | None = None,
    start_w: Floats | None = None,
    wanted: Wanted = NOTHING_WANTED,
) -> Problem:
    """Every (kind, clock) with the fewest instances that carry the load; more never cost less.

    Args:
        running: instances that need not be started; without it nothing runs.
        start_w: cost of one instance start, by kind; nothing unless given.
        wanted: what is likely later; what an option leaves out of it is started then.
    """
    running = running or {}
    cost_w = np.zeros(len(fleet.kinds)) if start_w is None else start_w
    pools = tuple(
        _switched(
            _block(n, _least_count(n.capacity), 1.0),
            running.get(n.key, {}),
            cost_w,
            wanted.of(n.key),
            wanted.share,
        )
        for n in fleet.lanes
    )
    return Problem(fleet.kinds, pools, _whole_nodes(fleet))


def concave(fleet: Fleet) -> Problem:
    """Power idle + dynamic x utilisation^exponent; N+1 at the highest clock; about a third of nodes partly taken."""
    pools = tuple(
        _block(n, np.maximum(_least_count(n.capacity), _redundant_count(n)), exponent)
        for n, exponent in zip(fleet.lanes, fleet.exponent.tolist(), strict=True)
    )
    names = sorted({kind.accelerator for kind in fleet.kinds})
    supplies = tuple(
        supply_of(name, _fragmented(int(nodes * NODE_GPUS * REDUNDANCY_ROOM), index))
        for index, (name, nodes) in enumerate(zip(names, fleet.nodes, strict=True))
    )
    return Problem(fleet.kinds, pools, supplies)


def fill(fleet: Fleet) -> LaneProblem:
    """The lanes as they are."""
    return LaneProblem(fleet.kinds, fleet.lanes, _whole_nodes(fleet))


def mixed(fleet: Fleet) -> LaneProblem:
    """Half of the lanes as they are, the other half as pools."""
    pools = equal(fleet).pools[1::2]
    return LaneProblem(fleet.kinds, fleet.lanes[::2], _whole_nodes(fleet), pools=pools)


def _whole_nodes(fleet: Fleet) -> tuple[Supply, ...]:
    names = sorted({kind.accelerator for kind in fleet.kinds})
    return tuple(supply_of(n, [NODE_GPUS] * k) for n, k in zip(names, fleet.nodes, strict=True))


def _fragmented(gpus: int, seed: int) -> list[int]:
    rng = np.random.default_rng([seed, gpus])
    free: list[int] = []
    while sum(free) < gpus:
        free.append(int(rng.integers(1, NODE_GPUS)) if rng.random() < 1 / 3 else NODE_GPUS)
    return free


def _least_count(capacity: Floats) -> Ints:
    return np.ceil(1.0 / capacity - COVERAGE_TOLERANCE).astype(np.int64)


def _redundant_count(lane: Lane) -> Ints:
    """One more than carries the load at the kind's highest clock."""
    most = np.zeros(int(lane.kind.max()) + 1)
    np.maximum.at(most, lane.kind, lane.capacity)
    return _least_count(most[lane.kind]) + 1


def _block(lane: Lane, count: Ints, exponent: float) -> PoolBlock:
    """Items with their counts, count 0 first."""
    used = np.minimum(1.0, 1.0 / (count * lane.capacity))
    watts = count * (lane.idle_w + (lane.full_w - lane.idle_w) * used**exponent)
    return PoolBlock(
        key=lane.key,
        weight=1.0,
        kind=np.concatenate([lane.kind[:1], lane.kind]),
        count=np.concatenate([[0], count]),
        clock_mhz=np.concatenate([[0], lane.clock_mhz]),
        watts=np.concatenate([[0.0], watts]),
        served=np.concatenate([[0.0], np.ones(len(lane))]),
        switch_w=np.zeros(1 + len(lane)),
    )


def _switched(
    pool: PoolBlock,
    running: Mapping[int, int],
    start_w: Floats,
    wanted: Sequence[Mapping[int, int]],
    share: float,
) -> PoolBlock:
    """The same with what each option starts now, and what it leaves to be started later on average."""

    def of_kinds(counts: Mapping[int, int]) -> Ints:
        return np.array([counts.get(kind, 0) for kind in range(len(start_w))], dtype=np.int64)

    each_w = start_w[pool.kind]
    switch_w = each_w * np.maximum(0, pool.count - of_kinds(running)[pool.kind])
    for later in map(of_kinds, wanted):
        kept_w = each_w * np.minimum(pool.count, later[pool.kind])
        switch_w = switch_w + share * (float(start_w @ later) - kept_w) / len(wanted)
    return replace(pool, switch_w=switch_w)

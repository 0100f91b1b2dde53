"""Lanes whose router fills instances one by one, so that a configuration may mix kinds and clocks.

Power is affine in load. Then some cheapest configuration has every instance full but one (the split of a load
over instances is a continuous knapsack), and a lane is described by its items alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulery.optimizer.problem import Floats, GpuQuota, Ints, Kind, PoolBlock, Problem, Supply


@dataclass(frozen=True, slots=True)
class Awaited:
    """Instances of a kind that are wanted later: each that is missing then costs `short_w`, watts over the horizon.

    Those of one kind add up: what is likely wanted weighs more than what may be. What must not be given up lightly
    is awaited as it runs.
    """

    kind: int
    instances: int
    short_w: float


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """What one instance can be, as parallel arrays of one length.

    Attributes:
        key: name, unique in a problem.
        kind: index into `LaneProblem.kinds`.
        clock_mhz: SM clock.
        capacity: share of the lane's planned load that one instance carries within its objectives.
        idle_w: watts without load.
        full_w: watts at `capacity`; affine in between.
        fewest: instances, also without load.
        lost: instances that may be lost, whichever; the others carry the load at their kinds' highest clocks.
        start_w: cost of an instance that does not run yet, in watts over the horizon.
        running: `(kind, instances)` that run now.
        awaited: what is wanted later, so that what a plan leaves out of it has to be started then.
        weight: priority; a lane of higher weight is shed last, strictly. What is served keeps the rules above.
    """

    key: str
    kind: Ints
    clock_mhz: Ints
    capacity: Floats
    idle_w: Floats
    full_w: Floats
    fewest: int = 1
    lost: int = 0
    start_w: float = 0.0
    running: tuple[tuple[int, int], ...] = ()
    awaited: tuple[Awaited, ...] = ()
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True, eq=False)
class LaneProblem:
    """One joint decision over lanes that fill, and pools that split their load equally over like instances.

    How a router splits is a property of the lane: its power is either that of its items, filled one by one, or what
    the serving model says for each option of a pool. Both take of the same GPUs, quotas and starts, and are shed in
    one order of weights. Engines sort both by key themselves.

    `max_starts` bounds the instances of all of them that do not run yet; only what the load needs may exceed it.
    `power_budget_w` bounds the watts of all of them; where they have to be shed for it, they are by weight, and those
    of the weight that it is just too small for by equal shares.
    """

    kinds: tuple[Kind, ...]
    lanes: tuple[Lane, ...]
    supplies: tuple[Supply, ...]
    quotas: tuple[GpuQuota, ...] = ()
    max_starts: int | None = None
    pools: tuple[PoolBlock, ...] = ()
    power_budget_w: float | None = None

    def of_pools(self) -> Problem:
        """The same without the lanes that fill."""
        return Problem(
            self.kinds, self.pools, self.supplies, self.quotas, self.max_starts, self.power_budget_w
        )

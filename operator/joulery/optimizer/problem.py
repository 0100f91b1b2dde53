"""The problem to solve: every option of every pool as plain arrays, and the GPUs that couple them.

It is built by the planner and owned by nobody: engines read it, the checker reads it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Tensor-parallel sizes of one node; each divides the next, on which the packing rows rely.
SLOT_SIZES = (8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Kind:
    """What one instance occupies: `gpus` of one accelerator, all on one node; and of the quota of that name."""

    accelerator: str
    gpus: int
    quota: str = ""


@dataclass(frozen=True, slots=True)
class OffNodes:
    """Nodes that are off: `number` of them, `gpus` each, and `watts` that one takes, once on, beside its instances."""

    number: int
    gpus: int
    watts: float


@dataclass(frozen=True, slots=True)
class Supply:
    """GPUs of one accelerator, as `(s, number of disjoint groups of s GPUs, each on one node)` per size s.

    `off` are those of the nodes, all of them among the groups, that a plan switches on only as far as it needs them.
    """

    accelerator: str
    slots: tuple[tuple[int, int], ...]
    off: OffNodes | None = None


@dataclass(frozen=True, slots=True)
class GpuQuota:
    """GPUs of all accelerators that the kinds which name it may take together."""

    name: str
    gpus: int


@dataclass(frozen=True, slots=True, eq=False)
class PoolBlock:
    """All options of one pool as parallel arrays of one length.

    The planner sorts them by variant, count and clock for its readers; no result depends on their order.

    Attributes:
        key: name of the pool, unique in a problem.
        weight: priority; a pool of higher weight is shed last, strictly.
        kind: index into `Problem.kinds`.
        count: instances.
        clock_mhz: SM clock of all of them.
        watts: true power of the whole option at the planned load, n x power(load/n, clock).
        served: share of the planned peak that is served, 0 to 1.
        switch_w: cost of getting there from what runs, in watts over the horizon.
        starts: instances that have to be started for it; none unless given.
    """

    key: str
    weight: float
    kind: Ints
    count: Ints
    clock_mhz: Ints
    watts: Floats
    served: Floats
    switch_w: Floats
    starts: Ints | None = None

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One joint decision. Pools keep the caller's order; engines sort them by key themselves.

    `max_starts` bounds the instances that are started over all pools; only what the load needs may exceed it.
    `power_budget_w` bounds the watts of all options that are chosen; load is shed for it, by weight.
    """

    kinds: tuple[Kind, ...]
    pools: tuple[PoolBlock, ...]
    supplies: tuple[Supply, ...]
    quotas: tuple[GpuQuota, ...] = ()
    max_starts: int | None = None
    power_budget_w: float | None = None


def supply_of(accelerator: str, available_per_node: Sequence[int], off: OffNodes | None = None) -> Supply:
    """The supply of nodes that are on, with so many GPUs free each, and of nodes that are off.

    A negative number of free GPUs counts as none.
    """
    free = [max(0, int(n)) for n in available_per_node] + ([] if off is None else [off.gpus] * off.number)
    return Supply(accelerator, tuple((s, sum(n // s for n in free)) for s in SLOT_SIZES), off)

"""What a number of instances of a variant can carry and what it draws, beside the instances that stay anyway.

Under `routing: Service` every replica gets an equal share, so capacity is replicas x the weakest of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from joulery.domain.pool import Variant
from joulery.domain.request_class import Objective
from joulery.serving.mix import LengthMix
from joulery.serving.parameters import EngineProfile
from joulery.serving.points import OperatingPoints

Floats = NDArray[np.float64]


class PointSource(Protocol):
    """Where operating points come from (`serving.catalog.PointCatalog`); it remembers them."""

    def points(
        self,
        profile: EngineProfile,
        variant: Variant,
        *,
        mix: LengthMix,
        objective: Objective,
        clocks_mhz: Sequence[int],
        dispersion: float = 1.0,
    ) -> OperatingPoints:
        """Operating points of one variant at rising clocks; KeyError where the profile does not hold it."""
        ...


@dataclass(frozen=True, slots=True)
class Beside:
    """Instances that stay whatever is chosen: autoscaled variants, or those no knob may move."""

    variant: str
    instances: int


@dataclass(frozen=True, slots=True)
class Priced:
    """One way to run a pool."""

    variant: str
    instances: int
    clock_mhz: int
    watts: float
    capacity_rps: float


@dataclass(frozen=True, slots=True)
class Pricing:
    """Capacity and watts of one pool at one load.

    Attributes:
        points: operating points of every variant that could be computed.
        beside: instances that share the load with the chosen ones.
        mean_rps: load that is priced.
        peak_rps: load that capacity is held against.
        clocks_move: whether any clock but the highest may be chosen.
        absent: replicas per variant that were asked for and cannot be relied on.
    """

    points: Mapping[str, OperatingPoints]
    beside: tuple[Beside, ...]
    mean_rps: float
    peak_rps: float
    clocks_move: bool
    absent: Mapping[str, int] = field(default_factory=dict)

    def present(self, variant: str, instances: int) -> int:
        """Of so many instances asked for, those that will carry load."""
        return max(0, instances - self.absent.get(variant, 0))

    def max_rate_rps(self, variant: str) -> float:
        """Highest rate of one instance at the highest allowed clock."""
        return self.points[variant].rate_at(-1)

    def capacity_rps(self, variant: str, instances: int) -> float:
        """What so many instances carry together with those beside them."""
        parties = [
            (variant, self.present(variant, instances)),
            *((b.variant, b.instances) for b in self.beside),
        ]
        return equal_share_capacity([(n, self.max_rate_rps(v)) for v, n in parties])

    def share_rps(self, variant: str, instances: int) -> float:
        """Load of each instance when so many are chosen."""
        together = self.present(variant, instances) + sum(b.instances for b in self.beside)
        return self.mean_rps / together if together else 0.0

    def clock_indices(self, variant: str, rate_rps: float) -> list[int]:
        """Clocks that carry a rate per instance; the highest alone where none does."""
        points = self.points[variant]
        last = len(points.clocks_mhz) - 1
        if not self.clocks_move:
            return [last]
        return [i for i in range(last + 1) if points.rate_at(i) >= rate_rps and points.rate_at(i) > 0.0] or [
            last
        ]

    def beside_w(self, rate_rps: float) -> float:
        """Watts of the instances beside, each at its best clock."""
        return sum(b.instances * self._best(b.variant, rate_rps)[1] for b in self.beside)

    def price(self, variant: str, instances: int) -> Priced:
        """So many instances of a variant at the clock of least watts."""
        rate_rps = self.share_rps(variant, instances)
        index, watts = self._best(variant, rate_rps)
        return Priced(
            variant,
            instances,
            self.points[variant].clocks_mhz[index],
            self.present(variant, instances) * watts + self.beside_w(rate_rps),
            self.capacity_rps(variant, instances),
        )

    def _best(self, variant: str, rate_rps: float) -> tuple[int, float]:
        points = self.points[variant]
        indices = self.clock_indices(variant, rate_rps)
        watts = [points.watts_at(i, rate_rps) for i in indices]
        least = int(np.argmin(watts))
        return indices[least], watts[least]


def equal_share_capacity(parties: list[tuple[int, float]]) -> float:
    """Requests per second of (instances, highest rate of each) that all get the same share."""
    present = [(n, rate) for n, rate in parties if n > 0]
    return sum(n for n, _ in present) * min((rate for _, rate in present), default=0.0)

"""What a number of instances of a variant can carry and what it draws, beside the instances that stay anyway.

Under `routing: Service` nobody steers the shares, so capacity follows from the weakest instance (`sharing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from joulery.domain.pool import Variant
from joulery.domain.request_class import Objective
from joulery.planner.sharing import Sharing
from joulery.serving.mix import LengthMix
from joulery.serving.parameters import EngineProfile
from joulery.serving.points import OperatingPoints

Floats = NDArray[np.float64]

# What spares, and load that is only expected, count for among the peak that is served.
_SPARES_SHARE = 0.05
_AHEAD_SHARE = 0.05


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
        speed: float = 1.0,
    ) -> OperatingPoints:
        """Operating points of one variant at rising clocks, its times being the profile's divided by `speed`.

        KeyError where the profile does not hold it.
        """
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
        present_rps: part of the peak that is there now, without what is only expected; at most the peak.
        clocks_move: whether any clock but the highest may be chosen.
        absent: replicas per variant that were asked for and cannot be relied on.
        sharing: how the load lies on the instances, and how many of them may be lost.
    """

    points: Mapping[str, OperatingPoints]
    beside: tuple[Beside, ...]
    mean_rps: float
    peak_rps: float
    present_rps: float
    clocks_move: bool
    absent: Mapping[str, int] = field(default_factory=dict)
    sharing: Sharing = field(default_factory=Sharing)

    def present(self, variant: str, instances: int) -> int:
        """Of so many instances asked for, those that will carry load."""
        return max(0, instances - self.absent.get(variant, 0))

    def max_rate_rps(self, variant: str) -> float:
        """Highest rate of one instance at the highest allowed clock."""
        return self.points[variant].rate_at(-1)

    def capacity_rps(self, variant: str, instances: int) -> float:
        """What so many instances carry together with those beside them, without spares and those added."""
        return self.sharing.capacity_rps(self._parties(variant, instances))

    def served(self, variant: str, instances: int) -> float:
        """Worth of the share of the peak that so many instances serve, 1 for all of it with its spares.

        Load that is there now counts for most, what is expected and spares for little: under a shortage every
        pool's load comes before what another expects, and before spares.
        """
        plain = self.sharing.without_spares()
        present = self._share(plain, variant, instances, self.present_rps)
        ahead = self._share(plain, variant, instances, self.peak_rps)
        whole = (1.0 - _AHEAD_SHARE) * present + _AHEAD_SHARE * ahead
        if not self.sharing.reserve:
            return whole
        spared = self._share(self.sharing, variant, instances, self.peak_rps)
        return (1.0 - _SPARES_SHARE) * whole + _SPARES_SHARE * spared

    def shed(self, variant: str, instances: int) -> float:
        """Share of the peak that so many instances leave unserved, none of them lost."""
        return 1.0 - self._share(self.sharing.without_spares(), variant, instances, self.peak_rps)

    def _share(self, sharing: Sharing, variant: str, instances: int, load_rps: float) -> float:
        held = sharing.capacity_rps(self._parties(variant, instances))
        return min(1.0, held / load_rps) if load_rps > 0.0 else float(held > 0.0)

    def _parties(self, variant: str, instances: int) -> list[tuple[int, float]]:
        parties = [
            (variant, self.present(variant, instances)),
            *((b.variant, b.instances) for b in self.beside),
        ]
        return [(n, self.max_rate_rps(v)) for v, n in parties]

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

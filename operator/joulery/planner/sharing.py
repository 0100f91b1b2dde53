"""What ready instances carry together: the busiest one sets the limit, and some of them may be lost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the load of a pool lies on its instances.

    Attributes:
        unevenness: largest share over the mean share; 1 where all instances get the same.
        spares: instances that may be lost at once while the rest still carry the load.
        added: instances beyond what the profile asks for, which count for nothing in its terms.
    """

    unevenness: float = 1.0
    spares: int = 0
    added: int = 0

    @property
    def reserve(self) -> int:
        """Instances beyond those that carry the load."""
        return self.spares + self.added

    def capacity_rps(self, parties: Iterable[tuple[int, float]]) -> float:
        """Requests per second of (instances, highest rate of each): so many of the weakest."""
        present = [(n, rate) for n, rate in parties if n > 0]
        together = sum(n for n, _ in present)
        return self._even_instances(together) * min((rate for _, rate in present), default=0.0)

    def needed(self, instances: float) -> int:
        """Fewest instances that carry what so many would under equal shares, at least one of them left."""
        uneven = math.ceil(instances * self.unevenness - 1e-9) if instances > 1.0 else 1
        return self.reserve + max(1, uneven)

    def without_spares(self) -> Sharing:
        """The same where no instance is lost and all count."""
        return Sharing(self.unevenness)

    def _even_instances(self, together: int) -> float:
        """Instances under equal shares that carry as much; the largest share is never more than all."""
        left = together - self.reserve
        return max(1.0, left / self.unevenness) if left > 0 else 0.0

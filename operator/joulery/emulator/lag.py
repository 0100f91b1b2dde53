"""How far the emulation runs behind the wall clock. Pure."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

# A run whose p99 is above this is invalid: what the operator saw was too old.
LONGEST_P99_LAG_MS = 250.0


@dataclass(frozen=True, slots=True)
class LagSummary:
    """Quantiles over all ticks in milliseconds; `ticks` counts those that were skipped over, too."""

    ticks: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def valid(self) -> bool:
        """Whether the run may be used."""
        return self.p99_ms <= LONGEST_P99_LAG_MS


class LagRecord:
    """Lags of ticks: the state of tick time T was reached at wall time T + lag."""

    def __init__(self) -> None:
        self._lags_ms = array("d")

    def add(self, lags_ms: list[float]) -> None:
        """Ticks that were reached together, the overdue ones included."""
        self._lags_ms.extend(lags_ms)

    def summary(self) -> LagSummary:
        """Quantiles so far, zeros before the first tick."""
        if not self._lags_ms:
            return LagSummary(0, 0.0, 0.0, 0.0)
        p50, p99, longest = np.quantile(np.frombuffer(self._lags_ms.tobytes()), (0.5, 0.99, 1.0))
        return LagSummary(len(self._lags_ms), float(p50), float(p99), float(longest))


def ticks_due(now_ns: int, next_tick: int, tick_ns: int) -> range:
    """Numbers of the ticks whose time has come; tick n is at n x tick_ns."""
    return range(next_tick, now_ns // tick_ns + 1)

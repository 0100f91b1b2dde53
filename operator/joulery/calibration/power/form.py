"""Two forms of watts per GPU at the default clock: by kind of time, as the engine plays, and by utilisation.

The second needs no split of the time and is printed beside the first; an engine cannot play it, because it holds
for the mean of a run and not for a single iteration.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Protocol

import numpy as np

from joulery.calibration.power.rows import PowerRow
from joulery.calibration.power.split import (
    BANDWIDTH_BYTES_PER_S,
    PEAK_FLOPS,
    Floats,
    Split,
)

BOARD_LIMIT_W = 700.0
# How sharply the utilisation form bends at the board limit.
_CAP_EXPONENT = 8.0


class PowerLaw(Protocol):
    """Anything that gives a row's watts."""

    def watts(self, row: PowerRow) -> float:
        """Mean watts of one GPU, at most the board limit."""


@dataclass(frozen=True, slots=True)
class KindWatts:
    """Watts of one GPU by kind of time, named as in `joulery.serving.parameters.PowerParameters`."""

    host_w: float
    weight_streaming_w: float
    decode_attention_w: float
    compute_w: float

    @property
    def array(self) -> Floats:
        """In the order of the fields."""
        return np.array(astuple(self))


@dataclass(frozen=True, eq=False)
class TimeShareLaw:
    """Watts as the time-weighted mean of those of each kind, times an offset, capped at the board limit."""

    kinds: KindWatts
    split: Split
    offset: float = 1.0

    def watts(self, row: PowerRow) -> float:
        """Mean watts of one GPU. Raises KeyError for a deployment whose host time is not known."""
        by_kind = np.minimum(self.offset * self.kinds.array, BOARD_LIMIT_W)
        return float(by_kind @ self.split.shares(row).array)


@dataclass(frozen=True, slots=True)
class UtilisationLaw:
    """cap(base + a uw + b uk + c C^g): uw and uk are the shares of bandwidth that weights and KV cache take, C the
    operations per second over the peak.
    """

    base_w: float
    weights_w: float
    kv_w: float
    compute_w: float
    compute_exponent: float

    def watts(self, row: PowerRow) -> float:
        """Mean watts of one GPU."""
        weights, kv, compute = utilisation(row)
        compute_w = self.compute_w * compute**self.compute_exponent
        uncapped = self.base_w + self.weights_w * weights + self.kv_w * kv + compute_w
        return float(uncapped * (1.0 + (uncapped / BOARD_LIMIT_W) ** _CAP_EXPONENT) ** (-1.0 / _CAP_EXPONENT))


@dataclass(frozen=True, slots=True)
class SmallBatchLine:
    """base + weights uw: watts of small batches, which hardly read the KV cache and hardly compute."""

    base_w: float
    weights_w: float

    def watts(self, row: PowerRow) -> float:
        """Mean watts of one GPU."""
        return min(self.base_w + self.weights_w * utilisation(row)[0], BOARD_LIMIT_W)


def utilisation(row: PowerRow) -> tuple[float, float, float]:
    """Shares of bandwidth taken by weights and by KV cache, and of the peak operations, of one row."""
    served, per_gpu_s = row.served, row.iteration_s * row.tensor_parallel_size
    bandwidth = per_gpu_s * BANDWIDTH_BYTES_PER_S
    tokens = row.batch + row.arrivals_per_iteration * row.input_tokens
    operations = 2.0 * served.streamed_parameters * tokens
    return (
        served.streamed_bytes / bandwidth,
        served.kv_bytes_per_token * row.context_tokens / bandwidth,
        operations / (per_gpu_s * PEAK_FLOPS[served.precision]),
    )

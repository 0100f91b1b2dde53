"""The measured time of an iteration, split into the kinds of time that the engine has watts for.

Streaming, compute and KV reading follow from bytes and operations; of the rest, a constant per deployment is host
and all-reduce time h and what grows with the batch is the engine's b nd, which it counts as decode attention. So
the shares are those of an engine that runs the latency law t = h + max(W, c M) + b nd + k ctx, and the watts fitted
on them are watts that it can play.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls  # type: ignore[import-untyped]

from joulery.calibration.power.rows import PowerRow

Floats = npt.NDArray[np.float64]
Deployment = tuple[str, int]

# H100 SXM data sheet, dense.
BANDWIDTH_BYTES_PER_S = 3.35e12
PEAK_FLOPS: Mapping[str, float] = MappingProxyType({"BF16": 989e12, "FP8": 1979e12})
# Of bandwidth and peak, none fitted here: streaming and KV cache as in the latency fit of the 70B model (KV at 86 %,
# FP8 operations 152 us per token); BF16 from linear layers of 4,096 tokens on 4 and 8 H100 (vidur profiling).
STREAMING_SHARE, KV_SHARE = 0.85, 0.86
PEAK_SHARE: Mapping[str, float] = MappingProxyType({"BF16": 0.60, "FP8": 0.47})


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of an iteration's time by kind; they sum to 1."""

    host: float
    streaming: float
    attention: float
    compute: float

    @property
    def array(self) -> Floats:
        """In the order of the fields."""
        return np.array([self.host, self.streaming, self.attention, self.compute])


@dataclass(frozen=True, slots=True)
class Known:
    """Seconds of an iteration that bytes and operations give, of one row."""

    streaming_s: float
    attention_s: float
    compute_s: float

    @property
    def total_s(self) -> float:
        """All of them."""
        return self.streaming_s + self.attention_s + self.compute_s


@dataclass(frozen=True, slots=True)
class Rest:
    """What bytes and operations do not explain of a deployment's iterations: host + per sequence x batch."""

    host_s: float
    sequence_s: float


def known_times(row: PowerRow) -> Known:
    """Streaming or compute, whichever is longer, over iterations with 0, 1, 2, ... prefills, and KV reading.

    Prefills begin at random, so their number per iteration is Poisson; each is a whole prompt.
    """
    served, gpus = row.served, row.tensor_parallel_size
    streaming = served.streamed_bytes / gpus / (STREAMING_SHARE * BANDWIDTH_BYTES_PER_S)
    token = 2.0 * served.streamed_parameters / gpus
    token /= PEAK_SHARE[served.precision] * PEAK_FLOPS[served.precision]
    prefills, weight = _poisson(row.arrivals_per_iteration)
    compute = token * (row.batch + prefills * row.input_tokens)
    is_compute = compute > streaming
    kv = served.kv_bytes_per_token * row.context_tokens / gpus / (KV_SHARE * BANDWIDTH_BYTES_PER_S)
    return Known(
        streaming * float(weight[~is_compute].sum()), kv, float((weight * compute)[is_compute].sum())
    )


def rests(rows: Sequence[PowerRow]) -> dict[Deployment, Rest]:
    """Host and per-sequence time of each deployment, by least squares of relative errors, not negative."""
    by_deployment: dict[Deployment, list[PowerRow]] = {}
    for row in rows:
        by_deployment.setdefault(row.deployment, []).append(row)
    return {deployment: _rest(of) for deployment, of in by_deployment.items()}


def shares_of(row: PowerRow, rest: Rest) -> Shares:
    """The split of a row's measured time; an iteration is never shorter than what is known of it."""
    known = known_times(row)
    whole = max(row.iteration_s, known.total_s)
    host = min(rest.host_s, whole - known.total_s)
    attention = whole - known.streaming_s - known.compute_s - host
    return Shares(host / whole, known.streaming_s / whole, attention / whole, known.compute_s / whole)


def _rest(rows: Sequence[PowerRow]) -> Rest:
    time = np.array([r.iteration_s for r in rows])
    left = time - [known_times(r).total_s for r in rows]
    terms = np.array([[1.0, r.batch] for r in rows]) / time[:, None]
    (host, sequence), _ = nnls(terms, left / time)
    return Rest(float(host), float(sequence))


def _poisson(mean: float) -> tuple[Floats, Floats]:
    """Counts and their probabilities, all but less than one in a million."""
    counts = np.arange(math.ceil(mean + 10.0 * math.sqrt(mean)) + 10)
    logs = counts * math.log(mean) - mean - np.array([math.lgamma(n + 1.0) for n in counts])
    return counts.astype(np.float64), np.exp(logs)

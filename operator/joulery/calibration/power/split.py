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


@dataclass(frozen=True, slots=True)
class Given:
    """What a split takes as given: shares of bandwidth and peak that are reached, and a factor on the prompts.

    Streaming and KV cache as in the latency fit of the 70B model (KV at 86 %, FP8 operations 152 us per token); BF16
    from linear layers of 4,096 tokens on 4 and 8 H100 (vidur profiling).
    """

    streaming_share: float = 0.85
    kv_share: float = 0.86
    bf16_peak_share: float = 0.60
    fp8_peak_share: float = 0.47
    prompts: float = 1.0

    def operations_per_s(self, precision: str) -> float:
        """What one GPU reaches in linear layers."""
        shares = {"BF16": self.bf16_peak_share, "FP8": self.fp8_peak_share}
        return shares[precision] * PEAK_FLOPS[precision]


GIVEN = Given()


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


@dataclass(frozen=True, eq=False)
class Split:
    """Splits the rows of deployments whose host time is known."""

    given: Given
    rests: Mapping[Deployment, Rest]

    def shares(self, row: PowerRow) -> Shares:
        """The split of a row's measured time; an iteration is never shorter than what is known of it.

        Raises KeyError for a deployment whose host time is not known.
        """
        known = known_times(row, self.given)
        whole = max(row.iteration_s, known.total_s)
        host = min(self.rests[row.deployment].host_s, whole - known.total_s)
        attention = whole - known.streaming_s - known.compute_s - host
        return Shares(host / whole, known.streaming_s / whole, attention / whole, known.compute_s / whole)


def split_of(rows: Sequence[PowerRow], given: Given = GIVEN) -> Split:
    """Host and per-sequence time of each deployment, by least squares of relative errors, not negative."""
    by_deployment: dict[Deployment, list[PowerRow]] = {}
    for row in rows:
        by_deployment.setdefault(row.deployment, []).append(row)
    return Split(given, {deployment: _rest(of, given) for deployment, of in by_deployment.items()})


def known_times(row: PowerRow, given: Given = GIVEN) -> Known:
    """Streaming or compute, whichever is longer, over iterations with 0, 1, 2, ... prefills, and KV reading.

    Prefills begin at random, so their number per iteration is Poisson; each is a whole prompt.
    """
    served, gpus, prompt = row.served, row.tensor_parallel_size, given.prompts * row.input_tokens
    streaming = served.streamed_bytes / gpus / (given.streaming_share * BANDWIDTH_BYTES_PER_S)
    token = 2.0 * served.streamed_parameters / gpus / given.operations_per_s(served.precision)
    prefills, weight = _poisson(row.arrivals_per_iteration)
    compute = token * (row.batch + prefills * prompt)
    is_compute = compute > streaming
    context = row.batch * (prompt + row.output_tokens / 2)
    kv = served.kv_bytes_per_token * context / gpus / (given.kv_share * BANDWIDTH_BYTES_PER_S)
    return Known(
        streaming * float(weight[~is_compute].sum()), kv, float((weight * compute)[is_compute].sum())
    )


def _rest(rows: Sequence[PowerRow], given: Given) -> Rest:
    time = np.array([r.iteration_s for r in rows])
    left = time - [known_times(r, given).total_s for r in rows]
    terms = np.array([[1.0, r.batch] for r in rows]) / time[:, None]
    (host, sequence), _ = nnls(terms, left / time)
    return Rest(float(host), float(sequence))


def _poisson(mean: float) -> tuple[Floats, Floats]:
    """Counts and their probabilities, all but less than one in a million."""
    counts = np.arange(math.ceil(mean + 10.0 * math.sqrt(mean)) + 10)
    logs = counts * math.log(mean) - mean - np.array([math.lgamma(n + 1.0) for n in counts])
    return counts.astype(np.float64), np.exp(logs)

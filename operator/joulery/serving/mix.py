"""The mix of request lengths a pool serves, as two histograms.

Input and output lengths are taken as independent: token histograms hold marginals only (declared; their rank
correlation in the Azure 2023 traces is -0.02 and 0.07). Inside a bucket lengths are spread log-uniformly, or
bent so that an exact mean is reproduced where one is known.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from joulery.domain.demand import LengthHistogram

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Upper edges of vLLM's request token histograms for models of 131,072 tokens (1-2-5 series, vllm/v1/metrics).
VLLM_TOKEN_EDGES: tuple[int, ...] = (*(m * 10**d for d in range(5) for m in (1, 2, 5)), 100_000)

# Bend u -> u**p inside buckets; beyond these the mean does not belong to the histogram.
_LEAST_BEND, _MOST_BEND = 0.05, 20.0


@dataclass(frozen=True)
class LengthMix:
    """Shares of requests by length: `shares[i]` of them have tokens in (`edges[i]`, `edges[i + 1]`].

    Attributes:
        input_mean: Exact mean input tokens where known (a rate of tokens over a rate of requests), else None.
        output_mean: The same of output tokens.
    """

    input_edges: tuple[int, ...]
    input_shares: tuple[float, ...]
    output_edges: tuple[int, ...]
    output_shares: tuple[float, ...]
    input_mean: float | None = None
    output_mean: float | None = None

    def __post_init__(self) -> None:
        _check("input", self.input_edges, self.input_shares)
        _check("output", self.output_edges, self.output_shares)

    @cached_property
    def mean_input_tokens(self) -> float:
        """Mean input tokens of a sampled request."""
        return _mean(self.input_edges, self.input_shares, self._input_bend)

    @cached_property
    def mean_output_tokens(self) -> float:
        """Mean output tokens of a sampled request."""
        return _mean(self.output_edges, self.output_shares, self._output_bend)

    @cached_property
    def content_hash(self) -> str:
        """Hex digest of the content."""
        fields = (self.input_edges, self.input_shares, self.output_edges, self.output_shares)
        return hashlib.sha256(repr((fields, self.input_mean, self.output_mean)).encode()).hexdigest()[:16]

    def sample(self, count: int, seed: int) -> tuple[Ints, Ints]:
        """Lengths of so many requests. Stratified: quantiles are evenly spread, their order is random."""
        rng = np.random.default_rng(seed)
        inputs = _shuffled(rng, count, self.input_edges, self.input_shares, self._input_bend)
        outputs = _shuffled(rng, count, self.output_edges, self.output_shares, self._output_bend)
        return inputs, outputs

    def distance(self, other: LengthMix) -> float:
        """How far apart: the largest of the relative differences of means and the total variations."""
        means = (
            abs(self.mean_input_tokens / other.mean_input_tokens - 1.0),
            abs(self.mean_output_tokens / other.mean_output_tokens - 1.0),
        )
        variations = (
            _variation(self.input_edges, self.input_shares, other.input_edges, other.input_shares),
            _variation(self.output_edges, self.output_shares, other.output_edges, other.output_shares),
        )
        return max(*means, *variations)

    @cached_property
    def _input_bend(self) -> float:
        return _bend(self.input_edges, self.input_shares, self.input_mean)

    @cached_property
    def _output_bend(self) -> float:
        return _bend(self.output_edges, self.output_shares, self.output_mean)


def of_requests(inputs: Ints, outputs: Ints, *, edges: Sequence[int] = VLLM_TOKEN_EDGES) -> LengthMix:
    """The mix of known requests as a histogram would show it, exact means included."""
    input_edges, input_shares = _histogram(inputs, edges)
    output_edges, output_shares = _histogram(outputs, edges)
    return LengthMix(
        input_edges, input_shares, output_edges, output_shares, float(inputs.mean()), float(outputs.mean())
    )


def of_histograms(
    inputs: LengthHistogram,
    outputs: LengthHistogram,
    *,
    input_mean: float | None = None,
    output_mean: float | None = None,
    longest: int | None = None,
) -> LengthMix | None:
    """The mix of measured histograms; None where either is empty.

    The open bucket ends at `longest`, by default below the next edge of the 1-2-5 series: vLLM's series goes on
    to the longest request, which therefore lies below the edge that is missing.
    Means that cannot come from the histogram (measured over another window, say) are bent to as far as
    buckets allow.
    """
    if sum(inputs.rates) <= 0 or sum(outputs.rates) <= 0:
        return None
    input_edges, input_shares = _closed(inputs, longest or _next_edge(inputs.edges[-1]))
    output_edges, output_shares = _closed(outputs, longest or _next_edge(outputs.edges[-1]))
    return LengthMix(input_edges, input_shares, output_edges, output_shares, input_mean, output_mean)


def _check(side: str, edges: tuple[int, ...], shares: tuple[float, ...]) -> None:
    if len(edges) != len(shares) + 1 or any(b <= a for a, b in pairwise(edges)):
        raise ValueError(
            f"{side} edges must rise and be one more than shares, got {edges} for {len(shares)} shares"
        )
    if edges[0] < 0 or min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise ValueError(f"{side} shares must not be negative and sum to 1, got {shares}")


def _bounds(edges: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Smallest and largest length of each bucket, half a token beyond for rounding."""
    whole = np.array(edges, np.float64)
    return whole[:-1] + 0.5, whole[1:] + 0.5


def _shuffled(
    rng: np.random.Generator, count: int, edges: tuple[int, ...], shares: tuple[float, ...], bend: float
) -> Ints:
    """Lengths at evenly spread quantiles, in random order."""
    order = rng.permutation(count)
    quantiles = np.empty(count)
    quantiles[order] = (order + rng.random(count)) / count
    shuffled: Ints = _inverse(quantiles, edges, shares, bend)[order]
    return shuffled


def _inverse(quantiles: Floats, edges: tuple[int, ...], shares: tuple[float, ...], bend: float) -> Ints:
    """Lengths at rising quantiles: places in their buckets first, all bent at once, then bucket by bucket.

    Powers are taken as exponentials and in place, which takes two thirds of the time.
    """
    cumulative = np.concatenate([[0.0], np.cumsum(shares)])
    bounds = [*np.searchsorted(quantiles, cumulative[:-1]).tolist(), len(quantiles)]
    buckets = [slice(start, end) for start, end in pairwise(bounds)]
    lengths = np.empty(len(quantiles))
    for i, bucket in enumerate(buckets):
        np.subtract(quantiles[bucket], cumulative[i], out=lengths[bucket])
        lengths[bucket] /= max(cumulative[i + 1] - cumulative[i], 1e-300)
    _bend_places(lengths, bend)
    low, high = _bounds(edges)
    for bucket, growth in zip(buckets, np.log(high / low), strict=True):
        lengths[bucket] *= growth
    np.exp(lengths, out=lengths)
    for i, bucket in enumerate(buckets):
        lengths[bucket] *= low[i]
        np.rint(lengths[bucket], out=lengths[bucket])
        np.maximum(lengths[bucket], edges[i] + 1, out=lengths[bucket])
        np.minimum(lengths[bucket], edges[i + 1], out=lengths[bucket])
    return lengths.astype(np.int64)


def _bend_places(places: Floats, bend: float) -> None:
    """Clip places in a bucket to 0..1 and raise them to a power."""
    np.maximum(places, 1e-300, out=places)
    np.minimum(places, 1.0, out=places)
    if bend != 1.0:
        np.log(places, out=places)
        places *= bend
        np.exp(places, out=places)


def _mean(edges: tuple[int, ...], shares: tuple[float, ...], bend: float) -> float:
    places = ((np.arange(64) + 0.5) / 64) ** bend
    low, high = _bounds(edges)
    inside = (low[:, None] * (high / low)[:, None] ** places).mean(axis=1)
    return float(np.dot(inside, shares))


def _bend(edges: tuple[int, ...], shares: tuple[float, ...], mean: float | None) -> float:
    """The exponent at which the sampled mean is the exact one, by bisection; a bound where none is."""
    if mean is None:
        return 1.0
    low, high = math.log(_LEAST_BEND), math.log(_MOST_BEND)
    for _ in range(40):
        middle = 0.5 * (low + high)
        if _mean(edges, shares, math.exp(middle)) > mean:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def _histogram(lengths: Ints, edges: Sequence[int]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    longest = max(int(lengths.max()), edges[0] + 1)
    bounds = (0, *(e for e in edges if e < longest), longest)
    counts = np.bincount(np.searchsorted(bounds[1:], lengths, side="left"), minlength=len(bounds) - 1)
    return bounds, tuple((counts / counts.sum()).tolist())


def _next_edge(edge: int) -> int:
    """The next of the series 1, 2, 5, 10, ... above an edge."""
    scale = int(10 ** math.floor(math.log10(max(edge, 1))))
    return next(m * scale for m in (1, 2, 5, 10, 20) if m * scale > edge)


def _closed(histogram: LengthHistogram, longest: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    edges = [0]
    shares: list[float] = []
    total = sum(histogram.rates)
    for edge, rate in zip((*histogram.edges, longest), histogram.rates, strict=True):
        bounded = min(edge, longest)
        if bounded > edges[-1]:
            edges.append(bounded)
            shares.append(rate / total)
        else:
            shares[-1] += rate / total
    return tuple(edges), tuple(shares)


def _variation(
    edges: tuple[int, ...], shares: tuple[float, ...], other_edges: tuple[int, ...], other: tuple[float, ...]
) -> float:
    """Total variation: the largest difference of the two distributions over any set of lengths."""
    common = sorted({*edges, *other_edges})
    first = np.interp(common, edges, np.concatenate([[0.0], np.cumsum(shares)]))
    second = np.interp(common, other_edges, np.concatenate([[0.0], np.cumsum(other)]))
    return float(0.5 * np.abs(np.diff(first - second)).sum())

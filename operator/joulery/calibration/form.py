"""The latency law of the serving model with the parameters of one accelerator, timed on schedules.

t = h + max(W, c M) + b nd + k ctx at the highest clock, with the laws over tensor parallelism of
`joulery.serving.parameters.LatencyParameters`. All mean times of a run are sums over its stretches, so each is a
short list of weights once the schedule is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulery.calibration.schedule import Schedule
from joulery.serving.instance import FIRST_STEP_TOKENS, SECOND_STEP_SHARE, SECOND_STEP_TOKENS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LatencyLaw:
    """Parameters of one accelerator; the field names are those of the profile, here in handy units."""

    host_base_ms: float
    host_per_doubling_ms: float
    weight_streaming_ms: float
    compute_token_us: float
    compute_token_undivided_us: float
    context_token_ns: float
    sequence_us: float
    client_base_ms: float
    client_per_gpu_ms: float
    streaming_step_ms: Mapping[int, float]

    def host_ms(self, tp: int) -> float:
        """Host and all-reduce time of an iteration."""
        return self.host_base_ms + self.host_per_doubling_ms * math.log2(tp)

    def client_ms(self, tp: int) -> float:
        """What client, HTTP and tokeniser add to the first token."""
        return self.client_base_ms + self.client_per_gpu_ms * tp

    def linear_ms(self, tp: int, tokens: Floats) -> Floats:
        """Time of the linear layers for so many tokens in an iteration: streaming the weights, or computing."""
        later = np.where(tokens > SECOND_STEP_TOKENS, SECOND_STEP_SHARE, 1.0)
        steps = np.where(tokens > FIRST_STEP_TOKENS, later, 0.0)
        streaming = self.weight_streaming_ms / tp + self.streaming_step_ms[tp] * steps
        compute = 1e-3 * (self.compute_token_us / tp + self.compute_token_undivided_us)
        slower: Floats = np.maximum(streaming, compute * tokens)
        return slower


@dataclass(frozen=True, eq=False)
class Weights:
    """How often a mean time of a run holds each term: of iterations, decodes, context tokens, and by tokens."""

    iterations: float
    decodes: float
    context_tokens: float
    by_tokens: Floats


@dataclass(frozen=True, eq=False)
class Replayed:
    """A run of the client on one variant, to be timed by any law; `tokens` are those of `Weights.by_tokens`."""

    tensor_parallel_size: int
    tokens: Floats
    ttft: Weights
    tpot: Weights
    preemptions: int

    def means_ms(self, law: LatencyLaw) -> tuple[float, float]:
        """Mean TTFT and mean TPOT under a law."""
        tp = self.tensor_parallel_size
        linear = law.linear_ms(tp, self.tokens)
        ttft, tpot = (
            law.host_ms(tp) * w.iterations
            + 1e-3 * law.sequence_us * w.decodes
            + 1e-6 * law.context_token_ns / tp * w.context_tokens
            + float(w.by_tokens @ linear)
            for w in (self.ttft, self.tpot)
        )
        return ttft + law.client_ms(tp), tpot


def replayed(schedules: Sequence[Schedule], tensor_parallel_size: int) -> Replayed:
    """The mean of runs that differ by their seed."""
    tokens = np.unique(np.concatenate([s.tokens for s in schedules]))
    ttft = [_weights(s, tokens, s.arrival, s.first_token, np.ones(len(s.arrival))) for s in schedules]
    tpot = [_weights(s, tokens, s.first_token, s.finish, 1.0 / (s.output_tokens - 1)) for s in schedules]
    return Replayed(
        tensor_parallel_size,
        tokens.astype(np.float64),
        _mean(ttft),
        _mean(tpot),
        sum(s.preemptions for s in schedules),
    )


def _weights(
    schedule: Schedule,
    tokens: npt.NDArray[np.int64],
    begin: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    share: Floats,
) -> Weights:
    """Weights of the mean over requests of their share of the time after stretch `begin` up to `end`."""
    change = np.zeros(len(schedule.iterations) + 1)
    np.add.at(change, begin + 1, share)
    np.add.at(change, end + 1, -share)
    by_stretch = np.cumsum(change)[:-1] / len(begin)
    iterations = by_stretch * schedule.iterations
    places = np.searchsorted(tokens, schedule.tokens)
    return Weights(
        float(iterations.sum()),
        float(iterations @ schedule.decodes),
        float(by_stretch @ schedule.context_tokens),
        np.bincount(places, weights=iterations, minlength=len(tokens)).astype(np.float64),
    )


def _mean(weights: Sequence[Weights]) -> Weights:
    count = len(weights)
    return Weights(
        sum(w.iterations for w in weights) / count,
        sum(w.decodes for w in weights) / count,
        sum(w.context_tokens for w in weights) / count,
        np.sum([w.by_tokens for w in weights], axis=0) / count,
    )

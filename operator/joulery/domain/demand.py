"""Measured load and latency of a pool."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import Finding, Verdict


@dataclass(frozen=True, slots=True)
class LengthHistogram:
    """Requests per second by token count: `rates[i]` lies in (edges[i-1], edges[i]], the last is open.

    `tokens_per_s` are the tokens of the same requests, so that the mean is exact; None where it is not known.
    Token counters do not serve: they run ahead of the histograms, which count a request when it ends.
    """

    edges: tuple[int, ...]
    rates: tuple[float, ...]
    tokens_per_s: float | None = None

    @property
    def mean_tokens(self) -> float | None:
        """Exact mean length, None where it is not known."""
        total = sum(self.rates)
        return self.tokens_per_s / total if self.tokens_per_s and total > 0.0 else None


# Seconds that attainment is measured over (design, definitions).
ATTAINMENT_WINDOW_S = 600.0


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Measured latency over the last `window_s` seconds; percentages of requests within the objective.

    `slo` says how the pool stands and why, `Unknown` where an objective lies between two bucket edges; `is_exact`
    is false there, and the percentages are then the least that the edges allow.
    """

    requests: float
    ttft_attainment_percent: float | None
    tpot_attainment_percent: float | None
    ttft_p99_ms: float | None
    tpot_p99_ms: float | None
    itl_p99_ms: float | None
    slo: Finding
    is_exact: bool = True
    window_s: float = ATTAINMENT_WINDOW_S


@dataclass(frozen=True, slots=True)
class Demand:
    """Load of one pool at one poll.

    `problem` is set where the figures must not be planned on (missing, stale, NaN, absurd, query failed); the
    figures are then those of the last good poll or zero, and zero load is never inferred from silence.
    `note` tells something about sound figures, such as a counter that was reset.
    """

    pool: ObjectKey
    observed_at_s: float
    requests_per_s: float = 0.0
    prompt_tokens_per_s: float = 0.0
    generation_tokens_per_s: float = 0.0
    running_requests: float = 0.0
    waiting_requests: float = 0.0
    input_lengths: LengthHistogram | None = None
    output_lengths: LengthHistogram | None = None
    latency: LatencyReport | None = None
    problem: Verdict | None = None
    note: Verdict | None = None

"""What Prometheus would say of a simulated pool: rates, length mix and latency over sliding windows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from joulery.domain.demand import Demand, LatencyReport, LengthHistogram
from joulery.domain.keys import ObjectKey
from joulery.domain.latency import Buckets, latency_report
from joulery.domain.request_class import Objective
from joulery.domain.vllm_metrics import SUPPORTED
from joulery.serving.engine import FinishedRequests

IntArray = NDArray[np.int64]

_NOTHING = Buckets((), ())


@dataclass(frozen=True, slots=True)
class _Bucket:
    at_s: float
    requests: int
    prompt_tokens: float
    generation_tokens: float
    input_counts: IntArray
    output_counts: IntArray


@dataclass(slots=True)
class LatencyMeter:
    """TTFT and TPOT of the last `window_s` seconds in an engine's own buckets, both as requests end.

    Intervals between single tokens are not kept: no objective of the scenario asks for them.
    """

    objective: Objective
    window_s: float
    polls: deque[tuple[float, IntArray, IntArray]] = field(default_factory=deque)

    def poll(self, now_s: float, finished: Sequence[FinishedRequests]) -> LatencyReport:
        """The report after one more poll."""
        metrics = SUPPORTED[-1]
        ttft = _counts_by_edge([f.ttft_ns for f in finished], metrics.ttft_edges_s)
        tpot = _counts_by_edge([f.tpot_ns for f in finished], metrics.token_interval_edges_s)
        self.polls.append((now_s, ttft, tpot))
        while self.polls[0][0] <= now_s - self.window_s + 1e-6:
            self.polls.popleft()
        return latency_report(
            _buckets([t for _, t, _ in self.polls], metrics.ttft_edges_s),
            _buckets([t for _, _, t in self.polls], metrics.token_interval_edges_s),
            _NOTHING,
            self.objective,
            window_s=self.window_s,
        )


def _counts_by_edge(columns_ns: Sequence[IntArray], edges_s: Sequence[float]) -> IntArray:
    """Observations per bucket, the last one open."""
    values = np.concatenate(columns_ns) if columns_ns else np.zeros(0, np.int64)
    edges_ns = np.round(np.array(edges_s) * 1e9).astype(np.int64)
    return np.bincount(np.searchsorted(edges_ns, values, side="left"), minlength=len(edges_s) + 1)


def _buckets(counts: Sequence[IntArray], edges_s: Sequence[float]) -> Buckets:
    return Buckets((*edges_s, math.inf), tuple(np.cumsum(np.sum(counts, axis=0)).tolist()))


@dataclass(slots=True)
class DemandMeter:
    """Sliding window over polls: requests count as they arrive, lengths as they finish (as in vLLM)."""

    pool: ObjectKey
    edges: IntArray
    window_s: float
    latency: LatencyMeter
    buckets: deque[_Bucket] = field(default_factory=deque)

    def poll(
        self, now_s: float, arrived: int, finished: Sequence[FinishedRequests], running: int, waiting: int
    ) -> Demand:
        """Demand after one more poll; `arrived` counts requests since the last one."""
        inputs = np.concatenate([f.input_tokens for f in finished]) if finished else np.zeros(0, np.int64)
        outputs = np.concatenate([f.output_tokens for f in finished]) if finished else np.zeros(0, np.int64)
        self.buckets.append(
            _Bucket(
                now_s,
                arrived,
                float(inputs.sum()),
                float(outputs.sum()),
                self._counts(inputs),
                self._counts(outputs),
            )
        )
        while len(self.buckets) > 1 and self.buckets[0].at_s < now_s - self.window_s + 1e-6:
            self.buckets.popleft()
        return replace(self._demand(now_s, running, waiting), latency=self.latency.poll(now_s, finished))

    def _counts(self, tokens: IntArray) -> IntArray:
        # Bucket i holds (edges[i-1], edges[i]], the last one is open, as in a Prometheus histogram.
        return np.bincount(np.searchsorted(self.edges, tokens, side="left"), minlength=len(self.edges) + 1)

    def _demand(self, now_s: float, running: int, waiting: int) -> Demand:
        span_s = min(self.window_s, max(now_s - self.buckets[0].at_s + self._poll_s(), 1e-9))
        edges = tuple(int(e) for e in self.edges)
        return Demand(
            pool=self.pool,
            observed_at_s=now_s,
            requests_per_s=sum(b.requests for b in self.buckets) / span_s,
            prompt_tokens_per_s=sum(b.prompt_tokens for b in self.buckets) / span_s,
            generation_tokens_per_s=sum(b.generation_tokens for b in self.buckets) / span_s,
            running_requests=float(running),
            waiting_requests=float(waiting),
            input_lengths=self._histogram(
                edges,
                [b.input_counts for b in self.buckets],
                sum(b.prompt_tokens for b in self.buckets),
                span_s,
            ),
            output_lengths=self._histogram(
                edges,
                [b.output_counts for b in self.buckets],
                sum(b.generation_tokens for b in self.buckets),
                span_s,
            ),
        )

    def _histogram(
        self, edges: tuple[int, ...], counts: list[IntArray], tokens: float, span_s: float
    ) -> LengthHistogram:
        rates = tuple((np.sum(counts, axis=0) / span_s).tolist())
        return LengthHistogram(edges, rates, tokens / span_s)

    def _poll_s(self) -> float:
        if len(self.buckets) < 2:
            return self.window_s
        return self.buckets[1].at_s - self.buckets[0].at_s

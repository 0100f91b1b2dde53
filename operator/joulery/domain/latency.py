"""Prometheus histograms read honestly: lengths as rates, latency judged only at real bucket edges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulery.domain import reasons
from joulery.domain.demand import ATTAINMENT_WINDOW_S, LatencyReport, LengthHistogram
from joulery.domain.request_class import Objective
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict

# Fewer requests than this say nothing about a 99th percentile (design, definitions).
MINIMUM_REQUESTS = 100.0
PROMISE_PERCENT = 99.0


@dataclass(frozen=True, slots=True)
class Buckets:
    """Cumulative counts by rising upper edge; the last edge is infinite."""

    edges: tuple[float, ...]
    cumulative: tuple[float, ...]

    @property
    def total(self) -> float:
        """All observations."""
        return self.cumulative[-1] if self.cumulative else 0.0

    def within(self, edge: float) -> float | None:
        """Observations up to an edge, None where it is not an edge."""
        return dict(zip(self.edges, self.cumulative, strict=True)).get(edge)

    def quantile(self, share: float) -> float | None:
        """Linear within the bucket, as PromQL does; None when it lies beyond the last finite edge."""
        wanted, low_edge, low_count = share * self.total, 0.0, 0.0
        if self.total <= 0.0:
            return None
        for edge, count in zip(self.edges, self.cumulative, strict=True):
            if count >= wanted:
                if math.isinf(edge):
                    return None
                inside = count - low_count
                return edge if inside <= 0 else low_edge + (edge - low_edge) * (wanted - low_count) / inside
            low_edge, low_count = edge, count
        return None


def buckets(counts_by_edge: Mapping[float, float]) -> Buckets:
    """Buckets from counts by upper edge; a cumulative count that falls by a rounding error is lifted."""
    edges = tuple(sorted(counts_by_edge))
    cumulative: list[float] = []
    for edge in edges:
        cumulative.append(max(counts_by_edge[edge], cumulative[-1] if cumulative else 0.0))
    return Buckets(edges, tuple(cumulative))


def length_histogram(rates: Buckets, tokens_per_s: float | None = None) -> LengthHistogram | None:
    """Requests per second by token count, with the rate of their tokens; None without a request."""
    if rates.total <= 0.0:
        return None
    below = (0.0, *rates.cumulative[:-1])
    finite = tuple(int(edge) for edge in rates.edges if not math.isinf(edge))
    per_bucket = tuple(now - before for now, before in zip(rates.cumulative, below, strict=True))
    closed = per_bucket if len(per_bucket) > len(finite) else (*per_bucket, 0.0)
    known = tokens_per_s is not None and math.isfinite(tokens_per_s) and tokens_per_s > 0.0
    return LengthHistogram(finite, closed, tokens_per_s if known else None)


@dataclass(frozen=True, slots=True)
class _Judgement:
    """Attainment at the edge nearest below an objective; `exact` where the objective is that edge."""

    name: str
    objective_ms: int
    edge_ms: float
    next_ms: float
    percent: float

    @property
    def exact(self) -> bool:
        return self.edge_ms == self.objective_ms


def latency_report(
    ttft: Buckets,
    tpot: Buckets | None,
    itl: Buckets,
    objective: Objective,
    *,
    window_s: float = ATTAINMENT_WINDOW_S,
) -> LatencyReport:
    """Measured latency of the last `window_s` seconds against the lane's objective."""
    judged_ttft = _judge("TTFT", ttft, objective.time_to_first_token_ms)
    judged_tpot = _judge("TPOT", tpot, objective.time_per_output_token_ms) if tpot is not None else None
    return LatencyReport(
        requests=ttft.total,
        ttft_attainment_percent=judged_ttft.percent if judged_ttft else None,
        tpot_attainment_percent=judged_tpot.percent if judged_tpot else None,
        ttft_p99_ms=_p99_ms(ttft),
        tpot_p99_ms=_p99_ms(tpot) if tpot is not None else None,
        itl_p99_ms=_p99_ms(itl),
        slo=_slo(ttft.total, judged_ttft, judged_tpot, tpot_published=tpot is not None),
        is_exact=all(j is None or j.exact for j in (judged_ttft, judged_tpot)),
        window_s=window_s,
    )


def attainment_percent(latency: LatencyReport | None) -> float | None:
    """Least share of requests within TTFT **and** TPOT that two histograms allow: no miss in common."""
    if latency is None or latency.ttft_attainment_percent is None or latency.tpot_attainment_percent is None:
        return None
    return max(0.0, latency.ttft_attainment_percent + latency.tpot_attainment_percent - 100.0)


def _judge(name: str, measured: Buckets, objective_ms: int) -> _Judgement | None:
    below = [e for e in measured.edges if e * 1000.0 <= objective_ms + 1e-6]
    above = [e for e in measured.edges if e * 1000.0 > objective_ms + 1e-6 and not math.isinf(e)]
    if measured.total <= 0.0 or not measured.edges:
        return None
    edge = below[-1] if below else 0.0
    count = (measured.within(edge) or 0.0) if below else 0.0
    next_ms = above[0] * 1000.0 if above else edge * 1000.0
    return _Judgement(
        name, objective_ms, round(edge * 1000.0, 6), round(next_ms, 6), 100.0 * count / measured.total
    )


def _p99_ms(measured: Buckets) -> float | None:
    p99_s = measured.quantile(0.99)
    return None if p99_s is None else p99_s * 1000.0


def _slo(
    requests: float, ttft: _Judgement | None, tpot: _Judgement | None, *, tpot_published: bool
) -> Finding:
    if requests < MINIMUM_REQUESTS:
        text = f"{requests:.0f} requests in the window; at least {MINIMUM_REQUESTS:.0f} are needed to judge"
        return _unknown(reasons.TOO_FEW_REQUESTS, text)
    if not tpot_published:
        return _unknown(
            reasons.SLO_UNKNOWN, "this engine version publishes no TPOT of single requests; 0.11 and later do"
        )
    if ttft is None or tpot is None:
        return _unknown(reasons.SLO_UNKNOWN, "the TTFT or TPOT histogram holds no observation")
    between = [j for j in (ttft, tpot) if not j.exact]
    if between:
        return _unknown(reasons.SLO_BETWEEN_BUCKETS, "; ".join(_between_text(j) for j in between))
    return _judged(ttft, tpot)


def _judged(ttft: _Judgement, tpot: _Judgement) -> Finding:
    text = (
        f"{ttft.percent:.2f} % within TTFT {ttft.objective_ms} ms, "
        f"{tpot.percent:.2f} % within TPOT {tpot.objective_ms} ms"
    )
    least = ttft.percent + tpot.percent - 100.0
    if least >= PROMISE_PERCENT:
        return Finding(ConditionType.SLO_MET, ConditionStatus.TRUE, Verdict(reasons.SLO_MET, text))
    if min(ttft.percent, tpot.percent) < PROMISE_PERCENT:
        return Finding(ConditionType.SLO_MET, ConditionStatus.FALSE, Verdict(reasons.SLO_MISSED, text))
    return _unknown(
        reasons.SLO_UNKNOWN, f"{text}; between {least:.2f} % and 99 % within both, too close to judge"
    )


def _between_text(judged: _Judgement) -> str:
    edges: Sequence[str] = sorted({f"{e:g}" for e in (judged.edge_ms, judged.next_ms) if e > 0.0}, key=float)
    return (
        f"the {judged.name} objective of {judged.objective_ms} ms lies between the engine's bucket edges; "
        f"at least {judged.percent:.2f} % are within it (measured at {judged.edge_ms:g} ms); "
        f"set it to {' or '.join(edges)} ms to have it judged"
    )


def _unknown(reason: str, message: str) -> Finding:
    return Finding(ConditionType.SLO_MET, ConditionStatus.UNKNOWN, Verdict(reason, message))

"""Reads demand of all pools from Prometheus, one batch of queries per poll and engine version.

Trouble never raises: it is a verdict in `Demand.problem`, beside the figures of the last good poll.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from joulery.adapters.freshness import judge_age, judge_figures
from joulery.adapters.pod_load import PodLoads
from joulery.adapters.prometheus_api import PrometheusClient, QueryError, Series
from joulery.adapters.prometheus_queries import (
    NAMESPACE,
    POD,
    Windows,
    age_by_pod,
    answers_by_pod,
    belongs,
    queries,
    requests_by_pod,
    running_by_pod,
)
from joulery.domain import reasons
from joulery.domain.demand import ATTAINMENT_WINDOW_S, Demand
from joulery.domain.keys import ObjectKey
from joulery.domain.latency import Buckets, buckets, latency_report, length_histogram
from joulery.domain.moments import utc
from joulery.domain.pool import Pool
from joulery.domain.verdict import Verdict
from joulery.domain.vllm_metrics import EngineMetrics, metrics_of, supported_text

# Samples in a rate window; they span one interval less, which is the time the rate is really taken over. Five keep
# a rate through missed scrapes.
RATE_SCRAPES = 5
_MIX_WINDOW_S = 600.0

SeriesByOwner = Mapping[tuple[str, str], Sequence[Series]]


class PrometheusDemand:
    """The DemandReader on Prometheus; remembers each pool's last good figures and since when it fails."""

    def __init__(
        self,
        client: PrometheusClient,
        scrape_interval_s: float,
        attainment_window_s: float = ATTAINMENT_WINDOW_S,
    ) -> None:
        self._client = client
        self._scrape_interval_s = scrape_interval_s
        self._windows = Windows(RATE_SCRAPES * scrape_interval_s, _MIX_WINDOW_S, attainment_window_s)
        self._good: dict[ObjectKey, Demand] = {}
        self._trouble_since_s: dict[ObjectKey, float] = {}
        self._running: dict[tuple[str, str], float] = {}
        self._rates: dict[tuple[str, str], float] = {}
        self._answers: dict[tuple[str, str], float] = {}
        self._measured_s: dict[tuple[str, str], float] = {}

    @property
    def pod_loads(self) -> PodLoads:
        """What each pod had to do at the last poll."""
        return PodLoads(self._running, self._rates, self._answers, self._measured_s)

    async def read(self, pools: Sequence[Pool], now_s: float) -> Mapping[ObjectKey, Demand]:
        """Demand of every pool; queries run in a thread, since the client is synchronous."""
        answers = await asyncio.to_thread(self._read_all, pools, now_s)
        return {demand.pool: self._remember(demand, now_s) for demand in answers}

    def _read_all(self, pools: Sequence[Pool], now_s: float) -> list[Demand]:
        found: list[Demand] = []
        self._running, self._rates, self._answers, self._measured_s = {}, {}, {}, {}
        rows = {pool.key: metrics_of(pool.engine.type, pool.engine.version) for pool in pools}
        ordered = sorted(pools, key=lambda p: str(rows[p.key]))
        for _, group in groupby(ordered, key=lambda p: str(rows[p.key])):
            members = tuple(group)
            found += self._read_group(members, rows[members[0].key], now_s)
        return found

    def _read_group(
        self, pools: Sequence[Pool], metrics: EngineMetrics | None, now_s: float
    ) -> Iterable[Demand]:
        if metrics is None:
            verdict = Verdict(reasons.UNKNOWN_ENGINE, f"metrics are known for {supported_text()}")
            return [Demand(pool.key, now_s, problem=verdict) for pool in pools]
        asked = queries(pools, metrics, self._windows)
        by_pod, begun = requests_by_pod(pools, metrics), answers_by_pod(pools, metrics)
        ages = age_by_pod(pools, metrics)
        try:
            answers = self._client.ask_all((*asked, by_pod, begun, ages))
            self._rates |= _by_pod(answers.pop(by_pod.name))
            self._answers |= _by_pod(answers.pop(begun.name))
            old_s = _by_pod(answers.pop(ages.name))
            self._measured_s |= {pod: now_s - age_s for pod, age_s in old_s.items()}
            # Last, so that a poll ends with it: the picture of who is busy is the newest, never older than told.
            self._running |= _by_pod(self._client.ask(running_by_pod(pools, metrics)))
        except QueryError as error:
            return [Demand(pool.key, now_s, problem=error.verdict) for pool in pools]
        promql = {query.name: query.promql for query in asked}
        owned = {name: _by_owner(series, metrics) for name, series in answers.items()}
        return [self._demand(_PoolAnswers(pool, metrics, owned), promql, now_s) for pool in pools]

    def _demand(self, answers: _PoolAnswers, promql: Mapping[str, str], now_s: float) -> Demand:
        pool = answers.pool
        good = self._good.get(pool.key)
        last_good_s = good.observed_at_s if good else None
        problem = judge_age(answers.least("age"), self._scrape_interval_s, last_good_s)
        names = ("requests", "prompt_tokens", "generation_tokens", "running", "waiting")
        figures = {name: answers.total(name) for name in names}
        problem = problem or judge_figures(figures, promql)
        if problem is not None:
            return Demand(pool.key, now_s, problem=problem)
        requests_rate, prompt, generation, running, waiting = (figures[name] or 0.0 for name in names)
        growth = answers.total("queue_growth") or 0.0
        return Demand(
            pool.key,
            now_s,
            requests_per_s=requests_rate + (growth if growth > 0.0 else 0.0),
            prompt_tokens_per_s=prompt,
            generation_tokens_per_s=generation,
            running_requests=running,
            waiting_requests=waiting,
            input_lengths=length_histogram(answers.buckets("input_lengths"), answers.total("input_tokens")),
            output_lengths=length_histogram(
                answers.buckets("output_lengths"), answers.total("output_tokens")
            ),
            latency=latency_report(
                answers.buckets("ttft"),
                answers.buckets("tpot") if answers.metrics.tpot is not None else None,
                answers.buckets("itl"),
                pool.objective,
                window_s=self._windows.attainment_s,
            ),
            note=_reset_note(answers.total("resets") or 0.0),
        )

    def _remember(self, demand: Demand, now_s: float) -> Demand:
        key = demand.pool
        if demand.problem is None:
            self._trouble_since_s.pop(key, None)
            self._good[key] = demand
            return demand
        began_s = self._trouble_since_s.setdefault(key, now_s)
        last = self._good.get(key)
        age = f"; last good figures at {utc(last.observed_at_s)}" if last is not None else ""
        text = f"{demand.problem.message} (since {utc(began_s)}{age})"
        return replace(last or demand, problem=Verdict(demand.problem.reason, text), note=None)


class _PoolAnswers:
    """The part of a batch that belongs to one pool."""

    def __init__(self, pool: Pool, metrics: EngineMetrics, answers: Mapping[str, SeriesByOwner]) -> None:
        self.pool = pool
        self.metrics = metrics
        self._answers = answers

    def _own(self, name: str) -> list[Series]:
        owner = (self.pool.key.namespace, self.pool.demand_source.served_model_name)
        series = self._answers[name].get(owner, ())
        return [s for s in series if belongs(self.pool, self.metrics, s["metric"])]

    def total(self, name: str) -> float | None:
        """Sum over the pool's series; None without one."""
        values = [_value(series) for series in self._own(name)]
        return sum(values) if values else None

    def least(self, name: str) -> float | None:
        """Smallest value over the pool's series; None without one."""
        values = [_value(series) for series in self._own(name)]
        return min(values) if values else None

    def buckets(self, name: str) -> Buckets:
        """Cumulative counts by upper edge; a NaN counts as none, the load figures judge NaN."""
        counts: dict[float, float] = {}
        for series in self._own(name):
            edge, value = float(series["metric"]["le"]), _value(series)
            counts[edge] = counts.get(edge, 0.0) + (value if math.isfinite(value) else 0.0)
        return buckets(counts)


def _value(series: Series) -> float:
    return float(series["value"][1])


def _by_owner(answer: Iterable[Series], metrics: EngineMetrics) -> SeriesByOwner:
    """Series by namespace and model, so that each pool looks through its own and not through all."""
    found: dict[tuple[str, str], list[Series]] = {}
    for series in answer:
        labels = series["metric"]
        found.setdefault((labels.get(NAMESPACE, ""), labels.get(metrics.model_label, "")), []).append(series)
    return found


def _by_pod(answer: Sequence[Series]) -> dict[tuple[str, str], float]:
    return {
        (s["metric"][NAMESPACE], s["metric"][POD]): _value(s)
        for s in answer
        if NAMESPACE in s["metric"] and POD in s["metric"]
    }


def _reset_note(resets: float) -> Verdict | None:
    if resets <= 0.0:
        return None
    text = f"{resets:.0f} counter resets in the rate window: engines restarted; the rates account for it"
    return Verdict(reasons.METRICS_COUNTER_RESET, text)

"""PromQL as constants, filled from the engine's metric table. One set of queries serves all pools of a poll.

Series are told apart by `namespace`, the engine's model label and the labels that the pools' own matchers
name; each query groups by those, and its answer is shared out to the pools instead of asking once per pool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulery.domain.fleet import SHARE_WINDOW_S
from joulery.domain.pool import Pool
from joulery.domain.vllm_metrics import EngineMetrics

NAMESPACE = "namespace"
POD = "pod"

# Braces of PromQL are doubled for str.format. {m} metric, {s} selector, {g} grouping labels, {w} window.
RATE = "sum by ({g}) (rate({m}{s}[{w}]))"
COUNT_RATE = "sum by ({g}) (rate({m}_count{s}[{w}]))"
# Requests that wait have no first token yet: a growing queue is load that the TTFT count does not show.
GROWTH = "sum by ({g}) (deriv({m}{s}[{w}]))"
GAUGE = "sum by ({g}) ({m}{s})"
SUM_RATE = "sum by ({g}) (rate({m}_sum{s}[{w}]))"
BUCKET_RATES = "sum by (le, {g}) (rate({m}_bucket{s}[{w}]))"
BUCKET_COUNTS = "sum by (le, {g}) (increase({m}_bucket{s}[{w}]))"
# Judged by Prometheus' own clock, so that a skew between it and us does not look like staleness.
AGE = "min by ({g}) (time() - timestamp({m}{s}))"
OLDEST = "max by ({g}) (time() - timestamp({m}{s}))"
RESETS = "sum by ({g}) (resets({m}{s}[{w}]))"


@dataclass(frozen=True, slots=True)
class Windows:
    """Range windows in seconds: `rate_s` for load, `mix_s` for lengths, `attainment_s` for latency."""

    rate_s: float
    mix_s: float
    attainment_s: float


@dataclass(frozen=True, slots=True)
class Query:
    """A named query; the name is what a person reads when it fails."""

    name: str
    promql: str


def group_labels(pools: Sequence[Pool], metrics: EngineMetrics) -> tuple[str, ...]:
    """Labels that tell the pools' series apart, in a stable order."""
    extra = {label for pool in pools for label, _ in pool.demand_source.matchers}
    return (NAMESPACE, metrics.model_label, *sorted(extra - {NAMESPACE, metrics.model_label}))


def selector(pools: Sequence[Pool], metrics: EngineMetrics) -> str:
    """Matchers that narrow a query to the namespaces and models of these pools."""
    models = sorted({pool.demand_source.served_model_name for pool in pools})
    namespaces = sorted({pool.key.namespace for pool in pools})
    return f'{{{metrics.model_label}=~"{_alternatives(models)}",{NAMESPACE}=~"{_alternatives(namespaces)}"}}'


def queries(pools: Sequence[Pool], metrics: EngineMetrics, windows: Windows) -> tuple[Query, ...]:
    """All queries of one poll for pools of one engine version, the freshness first."""
    fill = {"g": ", ".join(group_labels(pools, metrics)), "s": selector(pools, metrics)}

    def query(name: str, template: str, metric: str, window_s: float = windows.rate_s) -> Query:
        return Query(name, template.format(m=metric, w=duration(window_s), **fill))

    attainment_s = windows.attainment_s
    asked = [
        query("age", AGE, metrics.running),
        query("requests", COUNT_RATE, metrics.ttft),
        query("queue_growth", GROWTH, metrics.waiting),
        query("prompt_tokens", RATE, metrics.prompt_tokens),
        query("generation_tokens", RATE, metrics.generation_tokens),
        query("running", GAUGE, metrics.running),
        query("waiting", GAUGE, metrics.waiting),
        query("resets", RESETS, metrics.prompt_tokens),
        query("input_lengths", BUCKET_RATES, metrics.input_lengths, windows.mix_s),
        query("output_lengths", BUCKET_RATES, metrics.output_lengths, windows.mix_s),
        query("input_tokens", SUM_RATE, metrics.input_lengths, windows.mix_s),
        query("output_tokens", SUM_RATE, metrics.output_lengths, windows.mix_s),
        query("ttft", BUCKET_COUNTS, metrics.ttft, attainment_s),
        query("itl", BUCKET_COUNTS, metrics.itl, attainment_s),
    ]
    if metrics.tpot is not None:
        asked.append(query("tpot", BUCKET_COUNTS, metrics.tpot, attainment_s))
    return tuple(asked)


def running_by_pod(pools: Sequence[Pool], metrics: EngineMetrics) -> Query:
    """Running requests of each pod: the least busy one is the one to remove."""
    return _by_pod("running_by_pod", GAUGE, metrics.running, pools, metrics)


def age_by_pod(pools: Sequence[Pool], metrics: EngineMetrics) -> Query:
    """How old the oldest sample of each pod's running requests is, in seconds."""
    return _by_pod("age_by_pod", OLDEST, metrics.running, pools, metrics)


def requests_by_pod(pools: Sequence[Pool], metrics: EngineMetrics) -> Query:
    """Requests per second of each pod: who gets which share of the traffic."""
    return _by_pod("requests_by_pod", COUNT_RATE, metrics.ttft, pools, metrics)


def answers_by_pod(pools: Sequence[Pool], metrics: EngineMetrics) -> Query:
    """First tokens of each pod since its engine started: a fresh one is not as fast as it will be."""
    return _by_pod("answers_by_pod", GAUGE, f"{metrics.ttft}_count", pools, metrics)


def belongs(pool: Pool, metrics: EngineMetrics, labels: Mapping[str, str]) -> bool:
    """Whether a series with these labels is of that pool."""
    source = pool.demand_source
    wanted = {
        NAMESPACE: pool.key.namespace,
        metrics.model_label: source.served_model_name,
        **dict(source.matchers),
    }
    return all(labels.get(label) == value for label, value in wanted.items())


def duration(seconds: float) -> str:
    """A PromQL duration in whole milliseconds, so that sub-second windows of tests work too."""
    return f"{max(1, round(seconds * 1000))}ms"


def _by_pod(name: str, template: str, metric: str, pools: Sequence[Pool], metrics: EngineMetrics) -> Query:
    fill = {"s": selector(pools, metrics), "g": f"{NAMESPACE}, {POD}", "w": duration(SHARE_WINDOW_S)}
    return Query(name, template.format(m=metric, **fill))


def _alternatives(values: Sequence[str]) -> str:
    # PromQL's regular expressions are anchored; its strings need the backslash doubled.
    return "|".join(re.escape(value) for value in values).replace("\\", "\\\\").replace('"', '\\"')

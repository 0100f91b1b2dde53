"""Every metric of the controller in one place. Names carry their unit; labels are bounded by the objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.report import PoolReport, VariantReport

_POOL = ("namespace", "pool")
_VARIANT = (*_POOL, "variant")
_PHASES_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """What is known of one pool after a cycle."""

    report: PoolReport
    demand: Demand | None
    joules_per_token: float | None


class ControllerMetrics:
    """The controller's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.cycles = Counter(
            "joulery_cycles_total",
            "Cycles by outcome: Ready, or the reason why not",
            ("outcome",),
            registry=registry,
        )
        self.unexpected_errors = Counter(
            "joulery_unexpected_errors_total",
            "Exceptions nobody foresaw, by class",
            ("error",),
            registry=registry,
        )
        self.phase_seconds = Histogram(
            "joulery_cycle_phase_seconds",
            "Wall time of one phase of a cycle",
            ("phase",),
            buckets=_PHASES_S,
            registry=registry,
        )
        self.plans = Counter("joulery_plans_total", "Plans by kind", ("kind",), registry=registry)
        self.last_cycle_seconds = Gauge(
            "joulery_last_cycle_timestamp_seconds", "When the last whole cycle ended", registry=registry
        )
        self.scale_writes = Counter(
            "joulery_scale_writes_total",
            "Writes to /scale by reason; done tells whether it took effect",
            (*_VARIANT, "reason", "done"),
            registry=registry,
        )
        self.change_latency_seconds = Histogram(
            "joulery_change_latency_seconds",
            "From the demand poll to the answered /scale patch",
            buckets=(0.1, 0.3, 1.0, 2.0, 3.0, 6.0, 10.0, 30.0),
            registry=registry,
        )
        self._desired_replicas = Gauge(
            "joulery_desired_replicas",
            "Replicas that an autoscaler is to set, of pools with actuator Metric",
            _VARIANT,
            registry=registry,
        )
        self._pools = _PoolGauges(registry)

    def record_scale(self, change: ScaleChange, *, reason: str, done: bool) -> None:
        """One write to `/scale`."""
        key = change.pool
        self.scale_writes.labels(key.namespace, key.name, change.variant, reason, str(done).lower()).inc()

    def record_desired(self, asked: Mapping[tuple[ObjectKey, str], int]) -> None:
        """What autoscalers are to set, by (pool, variant); what is not asked any more has no series."""
        self._desired_replicas.clear()
        for (pool, variant), replicas in asked.items():
            self._desired_replicas.labels(pool.namespace, pool.name, variant).set(replicas)

    def record_pools(self, figures: Iterable[PoolFigures]) -> None:
        """The state of all pools; pools that are gone leave no series."""
        self._pools.clear()
        for pool in figures:
            self._pools.record(pool)


class _PoolGauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, labels: tuple[str, ...]) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self.replicas = gauge(
            "joulery_pool_replicas", "Replicas: current, ready, target", (*_VARIANT, "state")
        )
        self.clock_mhz = gauge("joulery_pool_clock_mhz", "Planned SM clock", _VARIANT)
        self.derate = gauge(
            "joulery_pool_derate_ratio", "Share of the profile's speed that is counted on, of 1", _VARIANT
        )
        self.watts = gauge(
            "joulery_pool_power_watts",
            "GPU watts of a pool's instances: predicted, measured",
            (*_POOL, "source"),
        )
        self.requests = gauge("joulery_pool_requests_per_second", "Measured arrival rate", _POOL)
        self.tokens = gauge(
            "joulery_pool_tokens_per_second", "Measured tokens: prompt, generation", (*_POOL, "kind")
        )
        self.attainment = gauge(
            "joulery_pool_attainment_ratio", "Least share of requests within TTFT and TPOT, of 1", _POOL
        )
        self.joules_per_token = gauge(
            "joulery_pool_joules_per_token", "Measured GPU joules per generated token", _POOL
        )
        self.condition = gauge(
            "joulery_pool_condition",
            "1 for each condition as it stands",
            (*_POOL, "type", "status", "reason"),
        )

    def clear(self) -> None:
        for metric in vars(self).values():
            metric.clear()

    def record(self, figures: PoolFigures) -> None:
        report, demand = figures.report, figures.demand
        pool = (report.pool.namespace, report.pool.name)
        for variant in report.variants:
            self._record_variant(pool, variant)
        for source, watts in (("predicted", report.predicted_w), ("measured", report.measured_w)):
            _set(self.watts, (*pool, source), watts)
        attained = report.attainment_percent
        _set(self.attainment, pool, None if attained is None else attained / 100.0)
        _set(self.joules_per_token, pool, figures.joules_per_token)
        for finding in report.findings:
            labels = (finding.condition.value, finding.status.value, finding.verdict.reason)
            self.condition.labels(*pool, *labels).set(1)
        if demand is not None and demand.problem is None:
            _set(self.requests, pool, demand.requests_per_s)
            _set(self.tokens, (*pool, "prompt"), demand.prompt_tokens_per_s)
            _set(self.tokens, (*pool, "generation"), demand.generation_tokens_per_s)

    def _record_variant(self, pool: tuple[str, str], variant: VariantReport) -> None:
        states = {"current": variant.current, "ready": variant.ready, "target": variant.target}
        for state, count in states.items():
            _set(self.replicas, (*pool, variant.variant, state), count)
        _set(self.clock_mhz, (*pool, variant.variant), variant.clock_mhz)
        _set(self.derate, (*pool, variant.variant), variant.derate)


def _set(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    """What is not known has no series: a zero would be read as a measurement."""
    if value is not None:
        gauge.labels(*labels).set(value)

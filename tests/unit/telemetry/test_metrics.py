"""Metric names carry prefix and unit; what is unknown or gone has no series."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from fakes import CHAT, decision, demand, observation, scale_up
from joulery.controller.reports import reports_of
from joulery.domain import reasons
from joulery.domain.plan import PoolPlan
from joulery.domain.verdict import Verdict
from joulery.telemetry.metrics import ControllerMetrics, PoolFigures

POOL = {"namespace": CHAT.namespace, "pool": CHAT.name}
PLANNED = PoolPlan(CHAT, "tp4", 3, 1410, (), 4.0, 5.0, 2500.0)
(REPORT,) = reports_of(observation(measured_w={CHAT: 400.0}), {CHAT: demand()}, decision(pools=[PLANNED]), {})


@pytest.fixture
def metrics() -> ControllerMetrics:
    return ControllerMetrics(CollectorRegistry())


def value(metrics: ControllerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {**POOL, **labels})


def test_every_name_has_the_prefix_and_a_text(metrics: ControllerMetrics) -> None:
    families = list(metrics.registry.collect())
    assert len(families) > 10
    for family in families:
        assert re.fullmatch("joulery_[a-z_]+", family.name)
        assert family.documentation


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("joulery_pool_replicas", {"variant": "tp4", "state": "current"}, 2.0),
        ("joulery_pool_replicas", {"variant": "tp4", "state": "target"}, 3.0),
        ("joulery_pool_clock_mhz", {"variant": "tp4"}, 1410.0),
        ("joulery_pool_derate_ratio", {"variant": "tp4"}, None),
        ("joulery_pool_power_watts", {"source": "predicted"}, 2500.0),
        ("joulery_pool_power_watts", {"source": "measured"}, 400.0),
        ("joulery_pool_requests_per_second", {}, 4.0),
        ("joulery_pool_tokens_per_second", {"kind": "generation"}, 800.0),
        ("joulery_pool_joules_per_token", {}, 0.5),
        ("joulery_pool_attainment_ratio", {}, None),
    ],
)
def test_figures_of_a_pool(
    metrics: ControllerMetrics, name: str, labels: dict[str, str], expected: float | None
) -> None:
    metrics.record_pools([PoolFigures(REPORT, demand(), 0.5)])
    assert value(metrics, name, **labels) == expected


def test_what_a_profile_is_worth_has_a_series_once_it_was_judged(metrics: ControllerMetrics) -> None:
    judged = replace(REPORT, variants=tuple(replace(v, derate=0.87) for v in REPORT.variants))
    metrics.record_pools([PoolFigures(judged, demand(), 0.5)])
    assert value(metrics, "joulery_pool_derate_ratio", variant="tp4") == 0.87


def test_load_that_is_not_known_has_no_series(metrics: ControllerMetrics) -> None:
    stale = demand(problem=Verdict(reasons.METRICS_STALE, "old"))
    metrics.record_pools([PoolFigures(replace(REPORT, measured_w=None), stale, None)])
    for name in ("joulery_pool_requests_per_second", "joulery_pool_joules_per_token"):
        assert value(metrics, name) is None
    assert value(metrics, "joulery_pool_power_watts", source="measured") is None


def test_pool_that_is_gone_leaves_no_series(metrics: ControllerMetrics) -> None:
    metrics.record_pools([PoolFigures(REPORT, demand(), 0.5)])
    metrics.record_pools([])
    assert value(metrics, "joulery_pool_requests_per_second") is None


def test_scale_writes_are_counted_by_reason_and_outcome(metrics: ControllerMetrics) -> None:
    metrics.record_scale(scale_up(), reason=reasons.SCALE_UP, done=True)
    metrics.record_scale(scale_up(), reason=reasons.REPLICAS_MOVED, done=False)
    counted = [
        value(metrics, "joulery_scale_writes_total", variant="tp4", reason=reason, done=done)
        for reason, done in ((reasons.SCALE_UP, "true"), (reasons.REPLICAS_MOVED, "false"))
    ]
    assert counted == [1.0, 1.0]

"""Faults of Prometheus: away, slow, wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fault_scene import Scene
from fault_stage import Fault
from joulery.domain import reasons

ROW = "Prometheus down, metrics stale, NaN, counter reset, or absurd"
EMPTY = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
HOUR_S = 3600.0


def _rewritten(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def rewrite(body: bytes) -> bytes:
        document = json.loads(body)
        for series in document["data"]["result"]:
            change(series)
        return json.dumps(document).encode()

    return rewrite


def _valued(value: str) -> Callable[[bytes], bytes]:
    """Every figure but histograms reads so."""

    def change(series: dict[str, Any]) -> None:
        if "le" not in series["metric"]:
            series["value"][1] = value

    return _rewritten(change)


def _held(*wanted: str, **spoilt: Any) -> Callable[[Scene], None]:
    """While answers are spoilt, the pool is told why, keeps its replicas, and its clocks stay governed."""

    def strike(scene: Scene) -> None:
        before = scene.replicas()
        with scene.centre.metrics.spoilt(**spoilt):
            message = scene.tells("MetricsAvailable", "False", *wanted)
            assert "since 20" in message, message
            assert scene.live.locked(), "clock tables stay"
            assert scene.replicas() == before
        assert scene.replicas() == before

    return strike


def _timestamps_behind(scene: Scene) -> None:
    """A Prometheus whose clock is an hour late is as good as another: nothing compares its clock with ours."""

    def change(series: dict[str, Any]) -> None:
        series["value"][0] -= HOUR_S

    with scene.centre.metrics.spoilt(rewrite=_rewritten(change)):
        scene.goes_on()
        scene.tells("MetricsAvailable", "True")


def _killed(scene: Scene) -> None:
    before = scene.replicas()
    scene.centre.prometheus.kill()
    scene.tells("MetricsAvailable", "False")
    assert scene.replicas() == before
    scene.centre.prometheus.start()


FAULTS = (
    Fault("metrics-nan", ROW, _held(reasons.METRICS_INVALID, rewrite=_valued("NaN"))),
    Fault("metrics-negative", ROW, _held(reasons.METRICS_INVALID, rewrite=_valued("-3"))),
    Fault("metrics-absurd", ROW, _held(reasons.METRICS_STALE, rewrite=_valued("1e12"))),
    Fault(
        "metrics-missing",
        ROW,
        _held(reasons.METRICS_STALE, reasons.METRICS_MISSING, rewrite=lambda _: EMPTY),
    ),
    Fault(
        "metrics-garbage",
        ROW,
        _held(reasons.METRICS_QUERY_FAILED, rewrite=lambda _: b"<html>a login page</html>"),
    ),
    Fault("metrics-answers-500", ROW, _held(reasons.METRICS_QUERY_FAILED, status=500)),
    Fault("metrics-slow", ROW, _held(reasons.METRICS_UNREACHABLE, delay_s=3.0)),
    Fault("metrics-hang-up", ROW, _held(reasons.METRICS_UNREACHABLE, hangs_up=True)),
    Fault("metrics-clock-behind", ROW, _timestamps_behind),
    Fault("prometheus-killed", ROW, _killed),
)

"""Liveness, readiness and metrics as a kubelet and a Prometheus see them."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from fakes import FakeClock
from joulery.controller.health import Health, health_app
from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.telemetry.metrics import ControllerMetrics

STALE_AFTER_S = 60.0
DOWN = Verdict(reasons.API_UNAVAILABLE, "listing nodes: refused")


class Probed:
    """Health under a clock that the test turns."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.health = Health(STALE_AFTER_S, self.clock.now_s)
        self.registry = CollectorRegistry()

    async def get(self, path: str) -> tuple[int, str]:
        async with TestClient(TestServer(health_app(self.health, self.registry))) as client:
            answer = await client.get(path)
            return answer.status, await answer.text()


async def test_liveness_fails_when_the_planner_is_stale_and_recovers() -> None:
    probed = Probed()
    probed.health.beat(None)
    assert (await probed.get("/healthz"))[0] == 200
    probed.clock.at_s += STALE_AFTER_S
    status, text = await probed.get("/healthz")
    assert (status, "60 s ago" in text) == (500, True)
    probed.health.beat(None)
    assert (await probed.get("/healthz"))[0] == 200


async def test_trouble_is_a_sign_of_life_but_not_of_readiness() -> None:
    probed = Probed()
    probed.health.beat(DOWN)
    assert (await probed.get("/healthz"))[0] == 200
    assert await probed.get("/readyz") == (503, f"{DOWN.reason}: {DOWN.message}\n")


async def test_ready_after_the_first_whole_cycle_and_not_before() -> None:
    probed = Probed()
    assert await probed.get("/readyz") == (503, "Starting: the first cycle has not ended\n")
    probed.health.beat(None)
    assert await probed.get("/readyz") == (200, "Ready\n")


async def test_stale_planner_is_not_ready() -> None:
    probed = Probed()
    probed.health.beat(None)
    probed.clock.at_s += STALE_AFTER_S
    status, text = await probed.get("/readyz")
    assert (status, text.partition(":")[0]) == (503, "Stale")


@pytest.mark.parametrize("name", ["joulery_cycles_total", "joulery_pool_replicas"])
async def test_metrics_are_served(name: str) -> None:
    probed = Probed()
    ControllerMetrics(probed.registry)
    status, text = await probed.get("/metrics")
    assert status == 200
    assert f"# TYPE {name.removesuffix('_total')}" in text

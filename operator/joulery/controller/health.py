"""Liveness, readiness and metrics over HTTP. Liveness fails when the planner is stale."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from joulery.domain.verdict import Verdict


class Health:
    """When the planner last showed life, and why it is not ready."""

    def __init__(self, stale_after_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._stale_after_s = stale_after_s
        self._monotonic_s = monotonic_s
        self._beat_s = monotonic_s()
        self.problem: Verdict | None = Verdict("Starting", "the first cycle has not ended")

    def beat(self, problem: Verdict | None) -> None:
        """One cycle ended: whole, or held up by a named problem. Both are signs of life."""
        self._beat_s = self._monotonic_s()
        self.problem = problem

    @property
    def age_s(self) -> float:
        """Seconds since the last sign of life."""
        return self._monotonic_s() - self._beat_s

    @property
    def is_alive(self) -> bool:
        """Whether the planner showed life lately."""
        return self.age_s < self._stale_after_s


def health_app(health: Health, registry: CollectorRegistry) -> web.Application:
    """`/healthz`, `/readyz` and `/metrics`."""

    async def healthz(_: web.Request) -> web.Response:
        text = f"planner's last sign of life {health.age_s:.0f} s ago\n"
        return web.Response(text=text, status=200 if health.is_alive else 500)

    async def readyz(_: web.Request) -> web.Response:
        if health.problem is None and health.is_alive:
            return web.Response(text="Ready\n")
        problem = health.problem or Verdict("Stale", "the planner shows no life")
        return web.Response(text=f"{problem.reason}: {problem.message}\n", status=503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Start serving; `cleanup()` of the result stops it."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner

"""The agent's small web page: metrics, liveness and readiness."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from joulery.domain.verdict import Verdict


async def serve(
    host: str,
    port: int,
    registry: CollectorRegistry,
    *,
    alive: Callable[[], Verdict | None],
    ready: Callable[[], Verdict | None],
) -> web.AppRunner:
    """Serve `/metrics`, `/healthz` and `/readyz`; a verdict means no. Raises OSError: port taken."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", _probe(alive))
    app.router.add_get("/readyz", _probe(ready))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _probe(ask: Callable[[], Verdict | None]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        trouble = ask()
        if trouble is None:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"{trouble.reason}: {trouble.message}\n")

    return answer

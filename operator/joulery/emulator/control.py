"""The emulator process's loopback control: status, schedules and outcomes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Self

import numpy as np
from aiohttp import web

from joulery.emulator.outcomes import summary, write
from joulery.emulator.world import EmulatedWorld
from joulery.errors import ConfigError

READY_FILE = "ready.json"


class ControlServer:
    """Serves while entered; its address is in `ready.json` of the world's data folder.

    GET /status: the summary so far. POST /schedule {pool, schedule, delaySeconds or startSeconds}: requests of an NPZ
    file (`arrival_s`, `input_tokens`, `output_tokens`) arrive from now plus delay, or from that model time.
    POST /outcomes: write files.
    POST /mishap {kind, name}: what `EmulatedWorld.mishap` lets go wrong.
    """

    def __init__(self, world: EmulatedWorld, outcomes: Path) -> None:
        self._world = world
        self._outcomes = outcomes
        self._ready = world.config.data / READY_FILE
        self._ready.unlink(missing_ok=True)
        routes = [
            web.get("/status", self._status),
            web.post("/schedule", self._schedule),
            web.post("/outcomes", self._write),
            web.post("/mishap", self._mishap),
        ]
        application = web.Application()
        application.add_routes(routes)
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        document = {"url": f"http://{host}:{port}", "nodes": [node.name for node in self._world.nodes]}
        fresh = self._ready.with_suffix(".new")
        fresh.write_text(json.dumps(document))
        fresh.replace(self._ready)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ready.unlink(missing_ok=True)
        await self._runner.cleanup()

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(summary(self._world.outcomes()))

    async def _schedule(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            with np.load(body["schedule"]) as stored:
                arrivals, inputs, outputs = (
                    stored[name] for name in ("arrival_s", "input_tokens", "output_tokens")
                )
            start_s = float(body.get("startSeconds") or self._world.now_s + float(body["delaySeconds"]))
            self._world.submit_schedule(body["pool"], start_s + arrivals, inputs, outputs)
        except (ConfigError, KeyError, OSError, ValueError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({"startsAtSeconds": start_s, "requests": len(arrivals)})

    async def _mishap(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            self._world.mishap(body["kind"], body["name"])
        except (ConfigError, KeyError, ValueError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({})

    async def _write(self, _request: web.Request) -> web.Response:
        outcomes = self._world.outcomes()
        # Compressing takes longer than a tick.
        await asyncio.to_thread(write, outcomes, self._outcomes)
        return web.json_response({"folder": str(self._outcomes), "summary": summary(outcomes)})

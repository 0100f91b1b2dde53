"""A line that a test spoils: a reverse proxy on loopback that delays, refuses, cuts or rewrites answers."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from joulery.emulator.pki import Authority

_HOP_BY_HOP = {"host", "accept-encoding", "connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True)
class Spoilt:
    """How answers to requests that `touches` chooses go wrong."""

    delay_s: float = 0.0
    status: int = 0
    hangs_up: bool = False
    loses_answer: bool = False
    rewrite: Callable[[bytes], bytes] | None = None
    touches: Callable[[web.Request], bool] = lambda _: True


class FaultLine:
    """Forwards HTTP, or HTTPS where `ca_pem` is given, to `target` from a port of its own; runs in a thread."""

    def __init__(self, target: str, ca_pem: bytes = b"") -> None:
        self._target = target
        self._is_tls = bool(ca_pem)
        self._far = ssl.create_default_context(cadata=ca_pem.decode()) if ca_pem else True
        self._authority = Authority("fault-line")
        self._open: dict[int, web.Request] = {}
        self._spoilt: Spoilt | None = None
        self.url = ""

    @property
    def ca_pem(self) -> bytes:
        """What clients of this line trust."""
        return self._authority.certificate_pem

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)

    @contextmanager
    def spoilt(self, **how: Any) -> Iterator[None]:
        """Spoil answers while inside."""
        self._spoilt = Spoilt(**how)
        try:
            yield
        finally:
            self._spoilt = None

    def cut(self) -> None:
        """Break every request under way, watches included."""

        async def abort() -> None:
            for request in list(self._open.values()):
                if request.transport is not None:
                    request.transport.abort()

        self._do(abort())

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    async def _start(self) -> None:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._near()).start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._is_tls else 'http'}://127.0.0.1:{port}"

    async def _stop(self) -> None:
        await self._client.close()
        await self._runner.cleanup()

    def _near(self) -> ssl.SSLContext | None:
        if not self._is_tls:
            return None
        pair = self._authority.server("fault-line", addresses=("127.0.0.1",))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder, "crt"), Path(folder, "key")
            certificate.write_bytes(pair.certificate_pem)
            key.write_bytes(pair.key_pem)
            context.load_cert_chain(certificate, key)
        return context

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        how = self._spoilt if self._spoilt is not None and self._spoilt.touches(request) else Spoilt()
        await asyncio.sleep(how.delay_s)
        if how.hangs_up:
            return _hung_up(request)
        if how.status:
            return web.Response(status=how.status, headers={"Retry-After": "1"}, text="synthesised fault")
        self._open[id(request)] = request
        try:
            return await self._passed_on(request, how)
        except aiohttp.ClientError:
            return _hung_up(request)
        finally:
            self._open.pop(id(request), None)

    async def _passed_on(self, request: web.Request, how: Spoilt) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        # Left out, the client asks for gzip by itself, which nobody could rewrite.
        headers["Accept-Encoding"] = "identity"
        url = URL(self._target + request.raw_path, encoded=True)
        timeout = aiohttp.ClientTimeout(total=None)
        body = await request.read()
        async with self._client.request(
            request.method,
            url,
            headers=headers,
            data=body or None,
            ssl=self._far,
            timeout=timeout,
            skip_auto_headers=("Content-Type",),
        ) as far:
            kept = {k: v for k, v in far.headers.items() if k.lower() not in _HOP_BY_HOP}
            if how.loses_answer:
                await far.read()
                return _hung_up(request)
            if how.rewrite is not None:
                return web.Response(status=far.status, headers=kept, body=how.rewrite(await far.read()))
            near = web.StreamResponse(status=far.status, headers=kept)
            await near.prepare(request)
            async for chunk in far.content.iter_any():
                await near.write(chunk)
            return near


def _hung_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)

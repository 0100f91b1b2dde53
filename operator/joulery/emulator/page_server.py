"""The smallest HTTP server that Prometheus and a node agent need: GET of known paths, with keep-alive.

Hand-rolled: every engine is scraped each second or so by two readers, in the process that advances them all.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

Page = Callable[[], bytes]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LONGEST_HEAD_BYTES = 16_384


class PageServer:
    """Serves pages by path on one bound socket until closed. A page is rendered when it is asked for."""

    def __init__(
        self, bound: socket.socket, pages: Mapping[str, Page], content_type: str = METRICS_TYPE
    ) -> None:
        self._socket = bound
        self.pages = pages
        self.content_type = content_type
        self.transports: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        self._closed = False

    async def start(self) -> None:
        """Listen; connections were refused until now."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), sock=self._socket)
        if self._closed:
            server.close()
        self._server = server

    def close(self) -> None:
        """Stop listening and cut all connections, as a killed process does."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        self._socket.close()
        for transport in list(self.transports):
            transport.abort()

    def answer(self, method: str, path: str) -> bytes:
        """Head and body of an answer."""
        page = self.pages.get(path.partition("?")[0])
        if page is None:
            return _response("404 Not Found", "text/plain", b"not found\n")
        if method != "GET":
            return _response("405 Method Not Allowed", "text/plain", b"only GET\n")
        return _response("200 OK", self.content_type, page())


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One client; requests have no body."""

    def __init__(self, server: PageServer) -> None:
        self._site = server
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._site.transports.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._site.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        assert self._transport is not None
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
            if len(words) != 3:
                self._transport.abort()
                return
            self._transport.write(self._site.answer(words[0], words[1]))
            if words[2] == "HTTP/1.0" or b"connection: close" in head.lower():
                self._transport.close()
        if len(self._buffer) > _LONGEST_HEAD_BYTES:
            self._transport.abort()

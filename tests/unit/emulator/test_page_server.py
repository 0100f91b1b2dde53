"""The little HTTP server in front of an engine's page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from emulated import fetch
from joulery.emulator.addresses import PodAddresses
from joulery.emulator.page_server import PageServer

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    made = PageServer(PodAddresses().reserve(8000), {"/metrics": lambda: b"a 1.0\n"})
    yield made
    made.close()


def address(server: PageServer) -> str:
    return str(server._socket.getsockname()[0])


async def test_connections_are_refused_until_it_starts(server: PageServer) -> None:
    where = address(server)
    with pytest.raises(ConnectionRefusedError):
        await fetch(where, 8000)
    await server.start()
    assert await fetch(where, 8000) == (200, "a 1.0\n")


async def test_what_is_not_there_is_not_found(server: PageServer) -> None:
    where = address(server)
    await server.start()
    assert (await fetch(where, 8000, "/v1/models"))[0] == 404


async def test_one_connection_carries_many_requests_also_in_pieces(server: PageServer) -> None:
    where = address(server)
    await server.start()
    reader, writer = await asyncio.open_connection(where, 8000)
    writer.write(GET + GET[:9])
    await reader.readuntil(b"a 1.0\n")
    writer.write(GET[9:])
    second = await asyncio.wait_for(reader.readuntil(b"a 1.0\n"), timeout=5)
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_closing_cuts_open_connections_as_a_killed_process_does(server: PageServer) -> None:
    where = address(server)
    await server.start()
    reader, writer = await asyncio.open_connection(where, 8000)
    writer.write(GET)
    await reader.readuntil(b"a 1.0\n")
    server.close()
    assert await asyncio.wait_for(reader.read(), timeout=5) == b""
    with pytest.raises(ConnectionRefusedError):
        await fetch(where, 8000)
    writer.close()


def test_every_pod_gets_an_address_of_its_own() -> None:
    addresses = PodAddresses(first_net=41)
    sockets = [addresses.reserve(8000) for _ in range(300)]
    found = {bound.getsockname()[0] for bound in sockets}
    for bound in sockets:
        bound.close()
    assert len(found) == 300
    assert not any(name.startswith("127.0.") for name in found)


def test_an_address_that_another_emulator_holds_is_passed_over() -> None:
    first, second = PodAddresses(first_net=77), PodAddresses(first_net=77)
    held, next_one = first.reserve(8000), second.reserve(8000)
    assert held.getsockname()[0] != next_one.getsockname()[0]
    held.close()
    next_one.close()

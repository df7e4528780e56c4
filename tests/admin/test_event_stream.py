"""Server-Sent Events of the admin listener: readers that read, and one that does not."""

import asyncio
import contextlib

import pytest
from aiohttp import web

from cmux_proxy.admin.app import AdminApp
from tests.admin.test_app import FakeSource, admin, ask, session_port
from tests.admin.test_connections import EVENTS, clients
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire


async def test_readers_beyond_the_maximum_get_a_503() -> None:
    async with (
        admin(FakeSource(), max_readers=2) as session,
        clients(session, 2, EVENTS) as wires,
    ):
        for wire in wires:
            assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await soon(ask(session, "/events")) == (503, "2 read events already\n")
        assert await soon(ask(session, "/healthz")) == (200, "ok\n")
        wires[0].close()
        async with asyncio.timeout(SOON):
            status = 503
            while status != 200:
                async with session.get("/events") as response:
                    status = response.status


async def test_a_reader_that_reads_nothing_is_dropped_and_little_is_buffered_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffered: list[int] = []
    is_dropped = asyncio.Event()
    original = web.StreamResponse.write

    async def write(response: web.StreamResponse, data: bytes) -> None:
        try:
            await original(response, data)
        except asyncio.CancelledError:
            is_dropped.set()
            raise
        # aiohttp's response has no public attribute for its transport.
        transport = response._req.transport  # type: ignore[union-attr]
        if transport is not None:
            buffered.append(transport.get_write_buffer_size())

    event = b"data: " + b"x" * 10_000_000 + b"\n\n"

    async def make_event(_: object) -> bytes:
        return event

    monkeypatch.setattr(web.StreamResponse, "write", write)
    monkeypatch.setattr(AdminApp, "make_event", make_event)
    async with admin(FakeSource(), write_timeout=0.2) as session:
        with await Wire.to("127.0.0.1", session_port(session), buffer=4096) as wire:
            await wire.send(EVENTS)
            # Meanwhile others are served.
            assert await soon(ask(session, "/healthz")) == (200, "ok\n")
            await soon(is_dropped.wait())
            with contextlib.suppress(ConnectionResetError):
                await soon(wire.receive_all())
            assert len(wire.received) < len(event)
    assert max(buffered) < 256 * 1024

"""Server-Sent Events of the admin listener: who reads, and who does not."""

import asyncio
import contextlib
from typing import Any

import pytest
from aiohttp import web

from cmux_proxy.admin import event_stream
from tests.admin.test_app import Told, admin, ask, session_port
from tests.admin.test_connections import EVENTS, clients
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire


async def test_of_too_many_readers_the_last_are_told_so() -> None:
    async with admin(Told(), readers=2) as session, clients(session, 2, EVENTS) as wires:
        for wire in wires:
            assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await soon(ask(session, "/events")) == (503, "2 read events already\n")
        assert await soon(ask(session, "/healthz")) == (200, "ok\n")
        wires[0].close()
        async with asyncio.timeout(SOON):
            status = 503
            while status != 200:
                async with session.get("/events") as answer:
                    status = answer.status


async def test_a_reader_that_takes_nothing_is_cut_off_and_little_is_held_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "_TAKEN_WITHIN", 0.2)
    held: list[int] = []
    written = web.StreamResponse.write

    async def write(response: web.StreamResponse, data: bytes) -> None:
        await written(response, data)
        transport = response._req.transport  # type: ignore[union-attr]
        if transport is not None:
            held.append(transport.get_write_buffer_size())

    monkeypatch.setattr(web.StreamResponse, "write", write)
    event = b"data: " + b"x" * 10_000_000 + b"\n\n"
    is_cut_off = asyncio.Event()
    is_taken = event_stream._is_taken

    async def watch(*told: Any) -> bool:
        if not await is_taken(*told):
            is_cut_off.set()
        return not is_cut_off.is_set()

    monkeypatch.setattr(event_stream, "_is_taken", watch)

    async def make(_: object) -> bytes:
        return event

    monkeypatch.setattr("cmux_proxy.admin.app.Pages._make_event", make)
    async with admin(Told()) as session:
        with await Wire.to("127.0.0.1", session_port(session), buffer=4096) as wire:
            await wire.send(EVENTS)
            # Meanwhile others are answered.
            assert await soon(ask(session, "/healthz")) == (200, "ok\n")
            await soon(is_cut_off.wait())
            with contextlib.suppress(ConnectionResetError):
                await soon(wire.receive_all())
            assert len(wire.received) < len(event)
    assert max(held) < 256 * 1024

"""Connections to the admin listener: how many there may be, and how long they may wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from cmux_proxy.admin import connections
from tests.admin.test_app import Told, admin, ask, session_port
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

HEALTH = head("GET /healthz HTTP/1.1", "Host: localhost")
EVENTS = head("GET /events HTTP/1.1", "Host: localhost")


@contextlib.asynccontextmanager
async def clients(session: ClientSession, count: int, says: bytes) -> AsyncIterator[list[Wire]]:
    """Have so many clients connect and say something."""
    with contextlib.ExitStack() as stack:
        wires = []
        for _ in range(count):
            wire = stack.enter_context(await Wire.to("127.0.0.1", session_port(session)))
            await wire.send(says)
            wires.append(wire)
        yield wires


async def is_closed(wire: Wire) -> None:
    """Wait until a connection is closed without an answer."""
    with contextlib.suppress(ConnectionResetError):
        assert await soon(wire.receive()) == b""


@pytest.mark.parametrize("says", [b"", HEALTH[:-1]], ids=["nothing", "an unfinished head"])
async def test_a_head_that_does_not_come_has_its_time(
    says: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.05)
    async with admin(Told()) as session, clients(session, 3, says) as wires:
        for wire in wires:
            await is_closed(wire)


async def test_a_head_that_follows_a_request_has_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with admin(Told()) as session, clients(session, 1, HEALTH) as [wire]:
        assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")
        monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.05)
        await wire.send(HEALTH[:10])
        await is_closed(wire)


async def test_an_idle_connection_has_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_TIMEOUT", 0.05)
    async with admin(Told()) as session, clients(session, 1, HEALTH) as [wire]:
        assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")
        await is_closed(wire)


async def test_requests_follow_each_other_on_a_connection() -> None:
    async with admin(Told()) as session, clients(session, 1, HEALTH * 2) as [wire]:
        got = b""
        while got.count(b"ok\n") < 2:
            got += await soon(wire.receive())
        await wire.send(HEALTH)
        assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_who_waits_for_longest_makes_room_for_who_comes() -> None:
    async with admin(Told(), most=5) as session, clients(session, 20, HEALTH[:-1]) as wires:
        assert await soon(ask(session, "/healthz")) == (200, "ok\n")
        for wire in wires[:16]:
            await is_closed(wire)
        # The others were not disturbed.
        await wires[-1].send(b"\n")
        assert (await soon(wires[-1].receive())).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_who_has_sent_a_request_makes_room_for_nobody() -> None:
    async with admin(Told(), most=3) as session, clients(session, 3, EVENTS) as wires:
        for wire in wires:
            assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")
        asking = asyncio.get_running_loop().create_task(ask(session, "/healthz"))
        for wire in wires[1:]:
            assert b"data: " in await soon(wire.receive())
        assert not asking.done()
        wires[0].close()
        assert await soon(asking) == (200, "ok\n")

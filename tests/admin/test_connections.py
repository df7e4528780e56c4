"""Connections to the admin listener: how many there may be, and how long each may be idle."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from cmux_proxy.admin.connections import ConnectionTimeouts
from tests.admin.test_app import FakeSource, admin, ask, session_port
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

HEALTH = head("GET /healthz HTTP/1.1", "Host: localhost")
EVENTS = head("GET /events HTTP/1.1", "Host: localhost")


@contextlib.asynccontextmanager
async def clients(session: ClientSession, count: int, data: bytes) -> AsyncIterator[list[Wire]]:
    """Have `count` clients connect and send data."""
    with contextlib.ExitStack() as stack:
        wires = []
        for _ in range(count):
            wire = stack.enter_context(await Wire.to("127.0.0.1", session_port(session)))
            await wire.send(data)
            wires.append(wire)
        yield wires


async def is_closed(wire: Wire) -> None:
    """Wait until a connection is closed without a response."""
    with contextlib.suppress(ConnectionResetError):
        assert await soon(wire.receive()) == b""


@pytest.mark.parametrize("data", [b"", HEALTH[:-1]], ids=["nothing", "an unfinished head"])
async def test_a_head_that_does_not_come_is_timed_out(data: bytes) -> None:
    timeouts = ConnectionTimeouts(head=0.05)
    async with (
        admin(FakeSource(), timeouts=timeouts) as session,
        clients(session, 3, data) as wires,
    ):
        for wire in wires:
            await is_closed(wire)


async def test_a_head_that_follows_a_request_is_timed_out_too() -> None:
    timeouts = ConnectionTimeouts(head=0.5)
    async with (
        admin(FakeSource(), timeouts=timeouts) as session,
        clients(session, 1, HEALTH) as [wire],
    ):
        assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")
        await wire.send(HEALTH[:10])
        await is_closed(wire)


async def test_an_idle_connection_is_timed_out() -> None:
    timeouts = ConnectionTimeouts(idle=0.05)
    async with (
        admin(FakeSource(), timeouts=timeouts) as session,
        clients(session, 1, HEALTH) as [wire],
    ):
        assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")
        await is_closed(wire)


async def test_requests_follow_each_other_on_a_connection() -> None:
    async with admin(FakeSource()) as session, clients(session, 1, HEALTH * 2) as [wire]:
        data = b""
        while data.count(b"ok\n") < 2:
            data += await soon(wire.receive())
        await wire.send(HEALTH)
        assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_connections_that_waited_longest_are_closed_for_new_ones() -> None:
    async with (
        admin(FakeSource(), max_connections=5) as session,
        clients(session, 20, HEALTH[:-1]) as wires,
    ):
        assert await soon(ask(session, "/healthz")) == (200, "ok\n")
        for wire in wires[:16]:
            await is_closed(wire)
        # The others were not disturbed.
        await wires[-1].send(b"\n")
        assert (await soon(wires[-1].receive())).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_connection_with_a_request_is_not_closed_for_new_ones() -> None:
    async with (
        admin(FakeSource(), max_connections=3) as session,
        clients(session, 3, EVENTS) as wires,
    ):
        for wire in wires:
            assert (await soon(wire.receive())).startswith(b"HTTP/1.1 200 OK\r\n")
        request = asyncio.get_running_loop().create_task(ask(session, "/healthz"))
        for wire in wires[1:]:
            assert b"data: " in await soon(wire.receive())
        assert not request.done()
        wires[0].close()
        assert await soon(request) == (200, "ok\n")

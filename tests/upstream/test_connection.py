"""One connection: what ends it while it is idle, and what is reported to its owner."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from cmux_proxy.net.asyncio_backend import is_asyncio
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.pool import Pool
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire, WireListener

READ = 256 * 1024


class Both:
    """A connection to an upstream, and the upstream's end of it."""

    def __init__(self, connection: UpstreamConnection, upstream: Wire) -> None:
        self.connection = connection
        self.upstream = upstream

    async def ends(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            assert await soon(self.upstream.receive()) == b""


@contextlib.asynccontextmanager
async def connected(pool: Pool[UpstreamConnection]) -> AsyncIterator[Both]:
    """Connect to an upstream; nobody owns the connection."""
    loop = asyncio.get_running_loop()
    with contextlib.closing(WireListener()) as listener:
        target = Target("127.0.0.1", listener.port)
        connection = UpstreamConnection(target, pool, ReadSize(is_asyncio(loop), READ))
        await loop.create_connection(
            lambda: cast(asyncio.BaseProtocol, connection), "127.0.0.1", listener.port
        )
        with await soon(listener.accept()) as upstream:
            try:
                yield Both(connection, upstream)
            finally:
                connection.abort()
                await until(lambda: not connection.is_open)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while True:
            if is_so():
                return
            await asyncio.sleep(0)


async def test_at_most_one_write_is_buffered() -> None:
    async with connected(Pool(1, 1.0)) as both:
        transport: Any = both.connection.transport
        assert transport.get_write_buffer_limits() == (0, 0)


# In the pool


async def test_a_released_connection_is_kept_and_has_served() -> None:
    pool: Pool[UpstreamConnection] = Pool(1, 1.0)
    async with connected(pool) as both:
        both.connection.owner = UpstreamOwner()
        both.connection.release(7.0)
        assert both.connection.has_served
        assert both.connection.idle_since == 7.0
        assert pool.lease(both.connection.target) is both.connection
        assert both.connection.is_open


async def test_a_connection_that_the_pool_has_no_room_for_is_closed() -> None:
    pool: Pool[UpstreamConnection] = Pool(0, 1.0)
    async with connected(pool) as both:
        both.connection.release(0.0)
        await both.ends()


async def test_a_connection_that_has_closed_is_not_kept_nor_read_from() -> None:
    pool: Pool[UpstreamConnection] = Pool(1, 1.0)
    async with connected(pool) as both:
        both.connection.abort()
        await until(lambda: not both.connection.is_open)
        both.connection.set_reading(False)
        both.connection.set_reading(True)
        both.connection.release(0.0)
        assert len(pool) == 0


@pytest.mark.parametrize("how", ["speaks", "ends", "closes", "resets"])
async def test_any_event_on_an_idle_connection_ends_it(how: str) -> None:
    pool: Pool[UpstreamConnection] = Pool(1, 1.0)
    async with connected(pool) as both:
        both.connection.release(0.0)
        assert len(pool) == 1
        if how == "speaks":
            await both.upstream.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        elif how == "ends":
            both.upstream.end()
        elif how == "closes":
            both.upstream.close()
        else:
            both.upstream.reset()
        await until(lambda: not both.connection.is_open)
        assert len(pool) == 0


# Reading


async def test_bytes_that_arrive_while_reading_is_paused_are_read_on_release() -> None:
    pool: Pool[UpstreamConnection] = Pool(1, 1.0)
    async with connected(pool) as both:
        both.connection.owner = UpstreamOwner()
        both.connection.set_reading(False)
        both.connection.set_reading(False)
        # The owner would raise if it were told of this.
        await both.upstream.send(b"nobody asked for this")
        for _ in range(20):
            await asyncio.sleep(0)
        both.connection.release(0.0)
        await both.ends()
        assert len(pool) == 0


# With an owner


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_an_owner_that_closes_its_connection_gets_no_more_events(how: str) -> None:
    async with connected(Pool(1, 1.0)) as both:
        # This owner raises whatever it is told.
        both.connection.owner = UpstreamOwner()
        getattr(both.connection, how)()
        await both.ends()
        await until(lambda: not both.connection.is_open)

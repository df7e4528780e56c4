"""Dials: opens one connection to a target in the background, or tells why there is none.

Knows for how long a port that refuses is tried, and how many connections a target may have.
Neighbours: `addresses.py` finds an address that answers, `connection.py` is what comes out, `relay`
is who asks.
"""

import asyncio
import socket
from time import monotonic
from typing import Final, cast

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.addresses import Addresses
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.names import named_address
from cmux_proxy.upstream.pool import Pool
from cmux_proxy.upstream.reading import ReadSize
from cmux_proxy.upstream.tcp import leave_closed
from cmux_proxy.upstream.unavailable import REFUSED, unavailable

# While a port refuses, it is tried again after so many seconds, then after twice as many.
_FIRST_PAUSE: Final = 0.025
_LONGEST_PAUSE: Final = 0.25


class Dialer:
    """Begins dials, and judges connections of the pool by what it knows."""

    __slots__ = ("_addresses", "_loop", "_pool", "_read_size")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool[UpstreamConnection],
        addresses: Addresses,
        read_size: ReadSize,
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._addresses = addresses
        self._read_size = read_size

    def start(self, target: Target, owner: UpstreamOwner, patience: float = 0.0) -> "Dial":
        """Dial in the background; the owner is told how it went.

        While the port refuses, it is dialled again, for `patience` seconds.
        """
        connection = UpstreamConnection(target, self._pool, self._read_size)
        return Dial(self, self._addresses, self._loop, connection, owner, patience)

    def close(self) -> None:
        """Give up looking up names; dials are for their owners to abandon."""
        self._addresses.close()

    def find_place(self, connection: UpstreamConnection) -> None:
        """Count the connection among those to its target; raise UpstreamUnavailable at the limit.

        An idle one makes room: it is left over where a CONNECT wants a connection of its own.
        """
        if connection.count():
            return
        idle = self._pool.lease(connection.target)
        if idle is not None:
            idle.close()
            if connection.count():
                return
        text = f"{connection.target.authority()} has as many connections as it may have"
        raise UpstreamUnavailable(
            503, f"{text} (--max-upstream-connections)", "connection_limit_reached"
        )

    def still_there(self, leased: UpstreamConnection) -> UpstreamConnection | None:
        """Return a leased connection, or the next one, that leads where its name still does."""
        target = leased.target
        connection: UpstreamConnection | None = leased
        while connection is not None and connection.address is not None:
            if self._addresses.has(target, connection.address):
                break
            connection.close()
            connection = self._pool.lease(target)
        return connection


class Dial:
    """One dial under way, for an owner that may lose interest in it."""

    __slots__ = (
        "_addresses", "_begun", "_connection", "_dialer", "_is_opening", "_loop", "_owner",
        "_patience", "_pause", "_task",
    )  # fmt: skip

    def __init__(
        self,
        dialer: Dialer,
        addresses: Addresses,
        loop: asyncio.AbstractEventLoop,
        connection: UpstreamConnection,
        owner: UpstreamOwner,
        patience: float,
    ) -> None:
        self._dialer = dialer
        self._addresses = addresses
        self._patience = patience
        # When the attempt that is under way began; the loop's clock is too coarse for that.
        self._begun = 0.0
        self._pause: asyncio.Future[None] | None = None
        self._loop = loop
        self._connection = connection
        self._owner = owner
        self._is_opening = True
        self._task: asyncio.Task[None] | None = loop.create_task(self._run())

    def abandon(self) -> None:
        """Give up; an owner that is told of a connection all the same has to drop it."""
        if self._is_opening and self._task is not None:
            self._task.cancel()
            # The exception that ends it keeps us, so it must not be kept: the exchange and its
            # client would wait for the garbage collector.
            self._task = None

    async def _run(self) -> None:
        connection = self._connection
        try:
            self._dialer.find_place(connection)
            sock = await self._open(connection.target)
            self._is_opening = False
            connection.dialled_for = monotonic() - self._begun
            connection.address = named_address(connection.target.host, sock)
            # The connection itself tells its owner when it is made, so that no byte comes too soon.
            connection.owner = self._owner
            await self._wrap(sock)
        except UpstreamUnavailable as error:
            connection.uncount()
            self._owner.upstream_unavailable(error)
        except (OSError, MemoryError) as error:
            connection.uncount()
            self._owner.upstream_unavailable(unavailable(connection.target, error))
        except asyncio.CancelledError:
            connection.uncount()
            raise

    def hurry(self) -> None:
        """Dial no more if the port refuses: nobody may be waiting for it."""
        self._patience = 0.0
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)

    async def _open(self, target: Target) -> socket.socket:
        """Return a connected socket, and be patient with a port that refuses."""
        begun = self._loop.time()
        self._begun = monotonic()
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._addresses.open_socket(target)
            except UpstreamUnavailable as error:
                left = begun + self._patience - self._loop.time()
                if error.error != REFUSED or left <= 0:
                    raise
            await self._wait(min(pause, left))
            self._begun = monotonic()
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _wait(self, seconds: float) -> None:
        self._pause = self._loop.create_future()
        timer = self._loop.call_later(seconds, _end, self._pause)
        try:
            await self._pause
        finally:
            timer.cancel()

    async def _wrap(self, sock: socket.socket) -> None:
        """Make the socket the connection's; never cancelled, or it might be closed twice."""
        connection = self._connection
        transport, _ = await self._loop.create_connection(
            lambda: cast(asyncio.BaseProtocol, connection), sock=sock
        )
        leave_closed(sock, transport)


def _end(pause: "asyncio.Future[None]") -> None:
    if not pause.done():
        pause.set_result(None)

"""Opens one connection to a target within a deadline; the only place that connects.

Knows which addresses a target has, in which order and for how long they are tried. Neighbours:
`inside.py` reaches into isolated workspaces, `connection.py` is what comes out, `unavailable.py`
says why nothing does, `relay` is who asks.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

import aiohappyeyeballs

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connecting import connect_tuned
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.inside import connect_inside, may_be_isolated
from cmux_proxy.upstream.names import Names, is_name, named_address
from cmux_proxy.upstream.pool import Pool
from cmux_proxy.upstream.reading import ReadSize
from cmux_proxy.upstream.resolver import AddressInfo, Resolver
from cmux_proxy.upstream.tcp import leave_closed, refuse_itself, tune
from cmux_proxy.upstream.unavailable import REFUSED, unavailable

_BOTH_LOOPBACKS: Final = ("127.0.0.1", "::1")
# RFC 8305 section 5
_NEXT_ADDRESS_AFTER: Final = 0.25
# While a port refuses, it is tried again after so many seconds, then after twice as many.
_FIRST_PAUSE: Final = 0.025
_LONGEST_PAUSE: Final = 0.25


class Dialer:
    """Dials targets, one deadline for each dial.

    With `tries_both_loopbacks`, a target on 127.0.0.1 that refuses is tried on ::1 and the one
    that answered is tried first the next time, port by port. `is_own` tells whether the proxy
    itself listens on an address and port.
    """

    __slots__ = (
        "_answered", "_both", "_is_own", "_loop", "_names", "_pool", "_read_size", "_timeout",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool[UpstreamConnection],
        timeout: float,
        tries_both_loopbacks: bool,
        is_own: Callable[[str, int], bool],
        read_size: ReadSize,
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._read_size = read_size
        self._timeout = timeout
        self._both = tries_both_loopbacks
        self._is_own = is_own
        self._answered: dict[int, str] = {}
        self._names = Names(loop, Resolver(loop).look_up)

    def start(self, target: Target, owner: UpstreamOwner, patience: float = 0.0) -> "Dial":
        """Dial in the background; the owner is told how it went.

        While the port refuses, it is dialled again, for `patience` seconds.
        """
        connection = UpstreamConnection(target, self._pool, self._read_size)
        return Dial(self, self._loop, connection, owner, patience)

    def close(self) -> None:
        """Give up looking up names; dials are for their owners to abandon."""
        self._names.close()

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
            if self._names.has(target.host, connection.address):
                break
            connection.close()
            connection = self._pool.lease(target)
        return connection

    async def open_socket(self, target: Target) -> socket.socket:
        """Return a connected socket within the deadline; raise UpstreamUnavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                sock = await self._connect(target)
        except TimeoutError:
            text = f"no connection to {target.authority()} within {self._timeout:g} s"
            raise UpstreamUnavailable(504, text, "connection_timeout") from None
        except (OSError, UnicodeError, RuntimeError, MemoryError) as error:
            raise unavailable(target, error) from None
        return sock

    async def _connect(self, target: Target) -> socket.socket:
        if self._both and target.host == _BOTH_LOOPBACKS[0]:
            return await self._connect_loopback(target.port)
        if is_name(target.host):
            return await self._connect_name(target)
        if may_be_isolated(target.host):
            inside = await connect_inside(self._loop, target.host, target.port)
            if inside is not None:
                return inside
        return await self._connect_address(target.host, target.port)

    async def _connect_loopback(self, port: int) -> socket.socket:
        first = self._answered.get(port, _BOTH_LOOPBACKS[0])
        second = _BOTH_LOOPBACKS[1] if first == _BOTH_LOOPBACKS[0] else _BOTH_LOOPBACKS[0]
        try:
            return await self._connect_address(first, port)
        except ConnectionRefusedError as refused:
            try:
                sock = await self._connect_address(second, port)
            except OSError:
                raise refused from None
        self._answered[port] = second
        return sock

    async def _connect_address(self, host: str, port: int) -> socket.socket:
        self._refuse_own(host, port)
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        await connect_tuned(self._loop, sock, host, port)
        return sock

    async def _connect_name(self, target: Target) -> socket.socket:
        """Try a name's addresses; where they are not new and fail, those that it has now."""
        found = await self._names.find(target.host, target.port)
        try:
            return await self._connect_any(found.infos, target.port)
        except OSError:
            if found.is_new:
                raise
            new = await self._names.find_anew(target.host, target.port)
            # Resolvers change the order from answer to answer.
            if set(new.infos) == set(found.infos):
                raise
        return await self._connect_any(new.infos, target.port)

    async def _connect_any(self, infos: list[AddressInfo], port: int) -> socket.socket:
        """Try addresses as RFC 8305 says: by turns, without waiting for the slow ones."""
        for info in infos:
            self._refuse_own(str(info[4][0]), port)
        sock = await aiohappyeyeballs.start_connection(
            infos, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER, interleave=1, loop=self._loop
        )
        try:
            tune(sock, str(sock.getpeername()[0]))
            refuse_itself(sock, port)
        except OSError:
            sock.close()
            raise
        return sock

    def _refuse_own(self, host: str, port: int) -> None:
        if self._is_own(host, port):
            text = f"port {port} is the proxy itself; name the port of the service behind it"
            raise UpstreamUnavailable(508, text, "proxy_loop_detected")


class Dial:
    """One dial under way, for an owner that may lose interest in it."""

    __slots__ = (
        "_connection", "_dialer", "_is_opening", "_loop", "_owner", "_patience", "_pause", "_task",
    )  # fmt: skip

    def __init__(
        self,
        dialer: Dialer,
        loop: asyncio.AbstractEventLoop,
        connection: UpstreamConnection,
        owner: UpstreamOwner,
        patience: float,
    ) -> None:
        self._dialer = dialer
        self._patience = patience
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
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._dialer.open_socket(target)
            except UpstreamUnavailable as error:
                left = begun + self._patience - self._loop.time()
                if error.error != REFUSED or left <= 0:
                    raise
            await self._wait(min(pause, left))
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

"""Accepts connections from one listening socket; can stop and resume while the backlog fills.

Two implementations with one interface; `native_backend.py` has a third. uvloop accepts in C, and
takes all connections of the backlog at once. Where that may be too many, the socket is read here, a
few connections at a time. Unix sockets are always read here, and so are all sockets with asyncio:
its own server takes all of them too, and logs a line for each connection once no file descriptor is
left.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

from cmux_proxy.net.asyncio_backend import asyncio_loop, is_asyncio
from cmux_proxy.net.socket_options import LISTEN_BACKLOG
from cmux_proxy.net.stream import FirstOwner, Handle, Loop

_MAX_AT_ONCE: Final = 8
# Seconds until accepting is tried again after no descriptor or no memory was left.
RETRY_DELAY: Final = 1.0

# A protocol of asyncio serves as well as an owner of ours.
Factory = Callable[[], FirstOwner | asyncio.BaseProtocol]
# Whether there is room for one more client on top of those that are accepted, but not counted yet.
HasRoom = Callable[[int], bool]


class Acceptor(Protocol):
    """Accepts between start and stop; all methods are idempotent."""

    async def start(self) -> None:
        """Accept from now on; raise OSError where the system does not allow it."""

    def stop(self) -> None:
        """Leave new connections in the backlog."""

    def finish(self) -> None:
        """Stop, but accept the connections that are in the backlog now."""


class AcceptedConnections:
    """Makes owners for the connections of all acceptors of one proxy."""

    def __init__(self, loop: Loop, factory: Factory, has_room: HasRoom) -> None:
        self.loop = asyncio_loop(loop)
        self.factory = cast(Callable[[], asyncio.BaseProtocol], factory)
        self._has_room = has_room
        self._tasks: set[asyncio.Task[object]] = set()

    def has_room(self) -> bool:
        """Return whether one more may be accepted."""
        return self._has_room(len(self._tasks))

    def add(self, connection: socket.socket) -> None:
        """Make a client of an accepted connection."""
        connection.setblocking(False)
        task = self.loop.create_task(self.loop.connect_accepted_socket(self.factory, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def make_acceptor(
    accepted: AcceptedConnections, sock: socket.socket, accepts_bursts: bool
) -> Acceptor:
    """Return the acceptor that suits the event loop and the socket, which it does not own.

    With `accepts_bursts` there is room for all connections of a backlog.
    """
    is_tcp = sock.family != socket.AF_UNIX
    if is_asyncio(accepted.loop) or not (accepts_bursts and is_tcp):
        return ReaderAcceptor(accepted, sock)
    return ServerAcceptor(accepted, sock)


class ServerAcceptor:
    """Accepts with the loop's own server."""

    def __init__(self, accepted: AcceptedConnections, sock: socket.socket) -> None:
        self._accepted = accepted
        self._sock = sock
        self._server: asyncio.AbstractServer | None = None
        self._is_on = False
        self._reader = ReaderAcceptor(accepted, sock)

    async def start(self) -> None:
        """Accept from now on."""
        if self._is_on:
            return
        self._is_on = True
        try:
            # The server gets a duplicate, so that the backlog outlives it.
            server = await self._serve(self._sock.dup())
        except OSError:
            self._is_on = False
            raise
        if self._is_on and self._server is None:
            self._server = server
        else:
            server.close()

    async def _serve(self, sock: socket.socket) -> asyncio.AbstractServer:
        try:
            loop = self._accepted.loop
            return await loop.create_server(
                self._accepted.factory, sock=sock, backlog=LISTEN_BACKLOG
            )
        except OSError:
            sock.close()
            raise

    def stop(self) -> None:
        """Leave new connections in the backlog."""
        self._is_on = False
        if self._server is not None:
            self._server.close()
            self._server = None

    def finish(self) -> None:
        """Stop, but accept the connections that are in the backlog now."""
        self.stop()
        self._reader.finish()


class ReaderAcceptor:
    """Accepts a few connections each time the socket can be read."""

    def __init__(
        self,
        accepted: AcceptedConnections,
        sock: socket.socket,
        retry_delay: float = RETRY_DELAY,
    ) -> None:
        self._accepted = accepted
        self._loop = accepted.loop
        self._sock = sock
        self._retry_delay = retry_delay
        self._is_on = False
        self._retry: Handle | None = None

    async def start(self) -> None:
        """Accept from now on."""
        self._watch()

    def _watch(self) -> None:
        if not self._is_on:
            self._is_on = True
            self._loop.add_reader(self._sock, self._accept)

    def stop(self) -> None:
        """Leave new connections in the backlog."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._is_on:
            self._is_on = False
            self._loop.remove_reader(self._sock)

    def finish(self) -> None:
        """Stop, but accept the connections that are in the backlog now."""
        self.stop()
        try:
            while True:
                self._accept_next()
        except OSError:
            return

    def _accept(self) -> None:
        for _ in range(_MAX_AT_ONCE):
            if not self._accepted.has_room():
                # The accepted connections will be counted in a moment, which stops this acceptor.
                return
            try:
                self._accept_next()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptors or no memory: the backlog can wait, spinning would not help.
                self.stop()
                self._retry = self._loop.call_later(self._retry_delay, self._watch)
                return

    def _accept_next(self) -> None:
        connection, _address = self._sock.accept()
        self._accepted.add(connection)

"""Accepts connections from one bound socket; can stop and go on while the kernel keeps its queue.

Two ways with one interface. uvloop accepts in C, and takes all that wait in one go. Where that may
be too many, the socket is read here, a few connections at a time; always so for Unix sockets, and
with asyncio, whose own server asks nobody either, and logs a line for each connection once
descriptors have run out.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol

from cmux_proxy.net.asyncio_backend import is_asyncio
from cmux_proxy.net.socket_options import LISTEN_BACKLOG

_AT_ONCE: Final = 8
_RETRY_AFTER: Final = 1.0

Factory = Callable[[], asyncio.BaseProtocol]
# Is there room for one more client, when so many that were accepted are not counted yet?
HasRoom = Callable[[int], bool]


class Acceptor(Protocol):
    """Accepts while it is on; all methods are idempotent."""

    async def start(self) -> None:
        """Accept from now on; raise OSError when the system does not allow it."""

    def stop(self) -> None:
        """Leave new connections in the kernel's queue."""

    def finish(self) -> None:
        """Stop, but accept what is in the kernel's queue by now."""


class AcceptedConnections:
    """What the acceptors of one proxy share: what comes out, and those that are on their way."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, factory: Factory, has_room: HasRoom
    ) -> None:
        self.loop = loop
        self.factory = factory
        self._has_room = has_room
        self._tasks: set[asyncio.Task[object]] = set()

    def has_room(self) -> bool:
        """Return whether one more may be accepted."""
        return self._has_room(len(self._tasks))

    def take(self, connection: socket.socket) -> None:
        """Make a client of an accepted connection."""
        connection.setblocking(False)
        task = self.loop.create_task(self.loop.connect_accepted_socket(self.factory, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def acceptor(arrivals: AcceptedConnections, sock: socket.socket, bursts: bool) -> Acceptor:
    """Return what suits the event loop, and whether bursts may be taken; does not own `sock`."""
    is_tcp = sock.family != socket.AF_UNIX
    if is_asyncio(arrivals.loop) or not (bursts and is_tcp):
        return ReaderAcceptor(arrivals, sock)
    return ServerAcceptor(arrivals, sock)


class ServerAcceptor:
    """Accepts with the loop's own server."""

    def __init__(self, arrivals: AcceptedConnections, sock: socket.socket) -> None:
        self._arrivals = arrivals
        self._sock = sock
        self._server: asyncio.AbstractServer | None = None
        self._is_wanted = False
        self._rest = ReaderAcceptor(arrivals, sock)

    async def start(self) -> None:
        """Accept from now on."""
        if self._is_wanted:
            return
        self._is_wanted = True
        try:
            # The server gets a duplicate, so that the queue outlives it.
            server = await self._serve(self._sock.dup())
        except OSError:
            self._is_wanted = False
            raise
        if self._is_wanted and self._server is None:
            self._server = server
        else:
            server.close()

    async def _serve(self, sock: socket.socket) -> asyncio.AbstractServer:
        try:
            loop = self._arrivals.loop
            return await loop.create_server(
                self._arrivals.factory, sock=sock, backlog=LISTEN_BACKLOG
            )
        except OSError:
            sock.close()
            raise

    def stop(self) -> None:
        """Leave new connections in the kernel's queue."""
        self._is_wanted = False
        if self._server is not None:
            self._server.close()
            self._server = None

    def finish(self) -> None:
        """Stop, but accept what is in the kernel's queue by now."""
        self.stop()
        self._rest.finish()


class ReaderAcceptor:
    """Accepts whenever the socket can be read."""

    def __init__(self, arrivals: AcceptedConnections, sock: socket.socket) -> None:
        self._arrivals = arrivals
        self._loop = arrivals.loop
        self._sock = sock
        self._is_on = False
        self._retry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept from now on."""
        self._watch()

    def _watch(self) -> None:
        if not self._is_on:
            self._is_on = True
            self._loop.add_reader(self._sock, self._accept)

    def stop(self) -> None:
        """Leave new connections in the kernel's queue."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._is_on:
            self._is_on = False
            self._loop.remove_reader(self._sock)

    def finish(self) -> None:
        """Stop, but accept what is in the kernel's queue by now."""
        self.stop()
        try:
            while True:
                self._accept_one()
        except OSError:
            return

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._arrivals.has_room():
                # Who is on the way will be counted in a moment, and that stops this.
                return
            try:
                self._accept_one()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptors or no memory: the queue can wait, spinning would not help.
                self.stop()
                self._retry = self._loop.call_later(_RETRY_AFTER, self._watch)
                return

    def _accept_one(self) -> None:
        connection, _address = self._sock.accept()
        self._arrivals.take(connection)

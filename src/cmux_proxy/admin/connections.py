"""The connections to the admin listener: how many there may be, and how long each may wait.

aiohttp bounds neither. What it makes for a connection stands behind one of these, which passes
every event on. One place is kept free for who comes next: when all are taken, the connection goes
that has been without a whole request for longest. Where nearly all have a request under way, new
connections wait in the kernel's queue.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final, cast

from aiohttp import web

# A request head has to be whole so many seconds after its first byte, or after the connection.
HEAD_TIMEOUT: Final = 10.0
# A connection may be without a request, or take a response, for so many seconds.
IDLE_TIMEOUT: Final = 60.0


class Connections:
    """All that are open, at most `most`; `on_change` is called when there are more or fewer."""

    def __init__(
        self, make: Callable[[], web.RequestHandler], most: int, on_change: Callable[[], None]
    ) -> None:
        self._make = make
        self._most = most
        self._on_change = on_change
        # By what aiohttp has for it; in the order in which they began to wait for a request.
        self._waiting: dict[web.RequestHandler, Connection] = {}
        self._busy: dict[web.RequestHandler, Connection] = {}

    @property
    def is_full(self) -> bool:
        """Whether nobody may come until somebody goes."""
        return not self.has_room(0)

    def has_room(self, arriving: int) -> bool:
        """Return whether one more may be accepted while so many are on their way."""
        return len(self._waiting) + len(self._busy) + arriving < self._most

    def open(self) -> "Connection":
        """Return the protocol of a new connection."""
        return Connection(self, self._make())

    @contextlib.contextmanager
    def request(self, handler: web.RequestHandler) -> Iterator[None]:
        """Let a connection live while a request of its is under way."""
        connection = self._waiting.pop(handler, None)
        if connection is not None:
            connection.stop_waiting()
            self._busy[handler] = connection
        try:
            yield
        finally:
            if self._busy.pop(handler, None) is connection and connection is not None:
                self._waiting[handler] = connection
                connection.wait(IDLE_TIMEOUT)
                self.keep_room()

    def add(self, connection: "Connection") -> None:
        """A connection is open."""
        self._waiting[connection.handler] = connection
        self.keep_room()

    def remove(self, connection: "Connection") -> None:
        """A connection is closed."""
        for table in (self._waiting, self._busy):
            table.pop(connection.handler, None)
        self._on_change()

    def keep_room(self) -> None:
        """Keep a place free; the last of those that wait is left alone, since it has just come."""
        if self.is_full and len(self._waiting) > 1:
            next(iter(self._waiting.values())).abort()
        self._on_change()


class Connection(asyncio.Protocol):
    """One connection, before the handler that aiohttp has for it."""

    def __init__(self, connections: Connections, handler: web.RequestHandler) -> None:
        self.handler = handler
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self._transport = cast(asyncio.Transport, transport)
        self._has_begun = True
        self.handler.connection_made(transport)
        self.wait(HEAD_TIMEOUT)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.stop_waiting()
        self._connections.remove(self)
        self.handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass it on; the first bytes of a head set its time."""
        if self._timer is not None and not self._has_begun:
            self._has_begun = True
            self.wait(HEAD_TIMEOUT)
        self.handler.data_received(data)

    def eof_received(self) -> None:
        """Pass it on; the transport then closes."""
        self.handler.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self.handler.resume_writing()

    def wait(self, seconds: float) -> None:
        """Close it, unless a request is whole by then."""
        self._cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def stop_waiting(self) -> None:
        """Let it be: a request is whole."""
        self._cancel()
        self._has_begun = False

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

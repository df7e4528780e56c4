"""Limits of the admin listener's connections: their number, and how long each may be idle.

aiohttp limits neither, so each connection has an object here that passes every event on to
aiohttp's handler. There is always room for one more connection: when the limit is reached, the
connection that has been without a whole request for longest is closed. Where nearly all
connections have a request under way, new ones wait in the listener's backlog. Does not know what
requests are for. Neighbour: `tls_session.py` opens the TLS session of a connection that begins with
one.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, cast

from aiohttp import web

from cmux_proxy.admin.tls_session import begins_with_tls, open_session
from cmux_proxy.net.stream import FirstOwner, Stream
from cmux_proxy.net.tls_contexts import TlsServer


class ConnectionTimeouts(NamedTuple):
    """Timeouts in seconds.

    `head` runs from the start of a connection, or from the first byte of a later request, until the
    request head is whole. `idle` runs from a response until the first byte of the next request.
    """

    head: float = 10.0
    idle: float = 60.0


DEFAULT_TIMEOUTS: Final = ConnectionTimeouts()


class Connections:
    """All open connections; `on_change` is called after their number has changed.

    With `tls`, a connection may begin with TLS.
    """

    def __init__(
        self,
        make_handler: Callable[[], web.RequestHandler],
        max_connections: int,
        on_change: Callable[[], None],
        timeouts: ConnectionTimeouts = DEFAULT_TIMEOUTS,
        tls: TlsServer | None = None,
    ) -> None:
        self.tls = tls
        self._make_handler = make_handler
        self._max_connections = max_connections
        self._on_change = on_change
        self.timeouts = timeouts
        # By aiohttp's handler, in the order in which they began to wait for a request.
        self._waiting: dict[web.RequestHandler, Connection] = {}
        self._busy: dict[web.RequestHandler, Connection] = {}

    @property
    def is_full(self) -> bool:
        """Whether no connection may be accepted until another one closes."""
        return not self.has_room(0)

    def has_room(self, accepted: int) -> bool:
        """Return whether one more may be accepted besides `accepted` that are not open yet."""
        return len(self._waiting) + len(self._busy) + accepted < self._max_connections

    def open(self) -> "Connection":
        """Return the protocol of a new connection."""
        return Connection(self, self._make_handler())

    @contextlib.contextmanager
    def request(self, handler: web.RequestHandler) -> Iterator[None]:
        """Keep a connection open while its request is under way."""
        connection = self._waiting.pop(handler, None)
        if connection is not None:
            connection.stop_waiting()
            self._busy[handler] = connection
        try:
            yield
        finally:
            if self._busy.pop(handler, None) is connection and connection is not None:
                self._waiting[handler] = connection
                connection.wait(self.timeouts.idle)
                self.keep_room()

    def add(self, connection: "Connection") -> None:
        """Add a connection that has been made."""
        self._waiting[connection.handler] = connection
        self.keep_room()

    def remove(self, connection: "Connection") -> None:
        """Remove a connection that has been lost."""
        for table in (self._waiting, self._busy):
            table.pop(connection.handler, None)
        self._on_change()

    def keep_room(self) -> None:
        """Where there is no room, close the connection that has waited longest, not the newest."""
        if self.is_full and len(self._waiting) > 1:
            next(iter(self._waiting.values())).abort()
        self._on_change()


class Connection(asyncio.Protocol):
    """One connection, which passes its events on to aiohttp's handler."""

    def __init__(self, connections: Connections, handler: web.RequestHandler) -> None:
        self.handler = handler
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_head_begun = False
        # Whether the handler has the transport: where there may be TLS, the first byte decides.
        self._is_attached = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timeout of the first request head, or go on within a TLS session."""
        if self._transport is None:
            self._has_head_begun = True
            self._connections.add(self)
            self.wait(self._connections.timeouts.head)
        is_session = self._transport is not None
        self._transport = cast(asyncio.Transport, transport)
        if is_session or self._connections.tls is None:
            self._attach()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        self.stop_waiting()
        self._connections.remove(self)
        if self._is_attached:
            self.handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass data on; the first bytes of a head start its timeout."""
        if self._timer is not None and not self._has_head_begun:
            self._has_head_begun = True
            self.wait(self._connections.timeouts.head)
        tls = self._connections.tls
        if not self._is_attached and tls is not None and self._transport is not None:
            if begins_with_tls(data):
                stream, owner = cast(Stream, self._transport), cast(FirstOwner, self)
                open_session(asyncio.get_running_loop(), stream, owner, tls, data)
                return
            self._attach()
        self.handler.data_received(data)

    def _attach(self) -> None:
        self._is_attached = True
        self.handler.connection_made(cast(asyncio.BaseTransport, self._transport))

    def eof_received(self) -> None:
        """Pass the end on; the transport then closes."""
        if self._is_attached:
            self.handler.eof_received()

    def pause_writing(self) -> None:
        """Pass the event on."""
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass the event on."""
        self.handler.resume_writing()

    def wait(self, seconds: float) -> None:
        """Close the connection after `seconds`, unless a request is whole by then."""
        self._cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def stop_waiting(self) -> None:
        """Stop the timeout: a request is whole."""
        self._cancel()
        self._has_head_begun = False

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

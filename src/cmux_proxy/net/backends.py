"""How the streams of a proxy are made: by asyncio's transports, or as native streams of ours.

Native streams are faster, and exist where they are built and the kernel has epoll. Neighbours:
`asyncio_backend.py` and `native_backend.py`. Does not know what the streams carry.
"""

import socket
from collections.abc import Sequence
from typing import Protocol

from cmux_proxy._build import HAS_NATIVE
from cmux_proxy.net.acceptor import AcceptedConnections, Acceptor, Factory, HasRoom, make_acceptor
from cmux_proxy.net.asyncio_backend import is_asyncio, open_stream
from cmux_proxy.net.busy_poll import BusyPoll
from cmux_proxy.net.splice import Pipe, SplicePipe
from cmux_proxy.net.stream import CallSoon, FirstOwner, Loop


class Backend(Protocol):
    """Makes the streams of one proxy in its event loop.

    `has_read_size` says that streams have an attribute `max_size`: how much they read at a time.
    `call_soon` costs less than that of the loop, where it calls back behind a batch of events.
    """

    loop: Loop
    call_soon: CallSoon
    is_native: bool
    has_read_size: bool

    async def open_stream(self, sock: socket.socket, owner: FirstOwner) -> None:
        """Make a stream of a connected socket, whose owner is called before this returns.

        Must not be cancelled: a cancellation could close the socket twice.
        """

    def make_acceptors(
        self,
        sockets: Sequence[socket.socket],
        factory: Factory,
        has_room: HasRoom,
        accepts_bursts: bool,
    ) -> list[Acceptor]:
        """Return an acceptor for each listening socket, which it does not own.

        With `accepts_bursts` there is room for all connections of a backlog.
        """

    def make_pipe(self, is_wanted: bool) -> Pipe:
        """Return what large transfers go through; unless it `is_wanted`, it moves nothing."""

    def start_busy_polling(self, max_length: float) -> BusyPoll | None:
        """Poll for events for `max_length` seconds, which is not 0, after each arrival.

        Return what has to know of arrivals, or None where the event loop knows by itself.
        """

    def close(self) -> None:
        """Release what the proxy has used; all its streams are closed."""


class AsyncioBackend:
    """Makes streams of the transports of the event loop, asyncio's or uvloop's."""

    is_native = False

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.call_soon: CallSoon = loop.call_soon
        self.has_read_size = is_asyncio(loop)

    async def open_stream(self, sock: socket.socket, owner: FirstOwner) -> None:
        """Make a stream of a connected socket."""
        await open_stream(self.loop, sock, owner)

    def make_acceptors(
        self,
        sockets: Sequence[socket.socket],
        factory: Factory,
        has_room: HasRoom,
        accepts_bursts: bool,
    ) -> list[Acceptor]:
        """Return an acceptor for each listening socket."""
        accepted = AcceptedConnections(self.loop, factory, has_room)
        return [make_acceptor(accepted, sock, accepts_bursts) for sock in sockets]

    def make_pipe(self, is_wanted: bool) -> Pipe:
        """Return what large transfers go through."""
        return SplicePipe(is_wanted)

    def start_busy_polling(self, max_length: float) -> BusyPoll | None:
        """Keep the event loop from sleeping, by callbacks."""
        return BusyPoll(self.loop, max_length)

    def close(self) -> None:
        """Do nothing: the event loop has everything."""


def make_backend(loop: Loop, wants_native: bool) -> Backend:
    """Return the backend for one proxy: with native streams where they are wanted and built."""
    if wants_native and HAS_NATIVE:
        from cmux_proxy.net.native_backend import NativeBackend

        return NativeBackend(loop)
    return AsyncioBackend(loop)

"""Streams on raw descriptors in any event loop: a reactor for each loop, shared by its proxies.

A reactor is nested in the loop that runs: its epoll is one more descriptor that the loop watches.
Only `native_loop.py` leads its own. Compiled builds on Linux only (`backends.py` knows).
"""

import asyncio
import functools
import socket
import weakref
from collections.abc import Sequence
from typing import Final

from cmux_proxy.net._native_acceptor import NativeAcceptor
from cmux_proxy.net._native_splice import NativePipe
from cmux_proxy.net._reactor import Reactor
from cmux_proxy.net._stream_factory import adopt
from cmux_proxy.net.acceptor import RETRY_DELAY, Acceptor, Factory, HasRoom
from cmux_proxy.net.asyncio_backend import asyncio_loop
from cmux_proxy.net.busy_poll import BusyPoll
from cmux_proxy.net.native_loop import NativeLoop
from cmux_proxy.net.splice import LIMITED_SIZE, Pipe
from cmux_proxy.net.stream import CallSoon, FirstOwner, Handle, Loop


class _Nested:
    """The reactor of a loop that does not know it, and how many proxies use it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.users = 0
        self.reactor = Reactor(loop)
        reader = functools.partial(self.reactor.poll)
        loop.add_reader(self.reactor.fileno(), reader)
        # Only the loop has the reader, so that it ends with a loop that closes before its proxies.
        weakref.finalize(reader, _forget, loop).atexit = False


# By event loop, until the last proxy closes, or the loop does.
_nested: Final[dict[asyncio.AbstractEventLoop, _Nested]] = {}


class NativeBackend:
    """Makes native streams for one proxy; `close` it when all of them are closed."""

    is_native = True
    has_read_size = True

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        reactor = _acquire(asyncio_loop(loop))
        self.call_soon: CallSoon = reactor.call_soon
        self._reactor: Reactor | None = reactor

    async def open_stream(self, sock: socket.socket, owner: FirstOwner) -> None:
        """Make a stream of a connected socket, whose owner is called before this returns."""
        adopt(self._open_reactor(), sock, owner)

    def make_acceptors(
        self,
        sockets: Sequence[socket.socket],
        factory: Factory,
        has_room: HasRoom,
        accepts_bursts: bool,
    ) -> list[Acceptor]:
        """Return an acceptor for each listening socket; none takes more than there is room for."""
        reactor = self._open_reactor()
        return [
            RetryingAcceptor(asyncio_loop(self.loop), reactor, sock, factory, has_room)
            for sock in sockets
        ]

    def make_pipe(self, is_wanted: bool) -> Pipe:
        """Return what large transfers between native streams go through."""
        return NativePipe(is_wanted, LIMITED_SIZE)

    def start_busy_polling(self, max_length: float) -> BusyPoll | None:
        """Poll in C, or in a loop of another kind by callbacks."""
        if not isinstance(self.loop, NativeLoop):
            return BusyPoll(self.loop, max_length)
        self.loop.poll_busily(max_length)
        return None

    def close(self) -> None:
        """Abort what is left of the proxy's connections, if no other proxy uses the reactor."""
        if self._reactor is not None:
            self._reactor = None
            _release(asyncio_loop(self.loop))

    def _open_reactor(self) -> Reactor:
        if self._reactor is None:
            raise RuntimeError("the proxy is closed")
        return self._reactor


class RetryingAcceptor:
    """An acceptor that starts again some time after no room, descriptor or memory was left."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reactor: Reactor,
        sock: socket.socket,
        factory: Factory,
        has_room: HasRoom,
        retry_delay: float = RETRY_DELAY,
    ) -> None:
        self._loop = loop
        self._retry_delay = retry_delay
        self._acceptor = NativeAcceptor(reactor, sock, factory, has_room, self._retry_later)
        self._retry: Handle | None = None

    async def start(self) -> None:
        """Accept from now on; raise OSError where the system does not allow it."""
        self._cancel_retry()
        self._acceptor.start()

    def stop(self) -> None:
        """Leave new connections in the backlog."""
        self._cancel_retry()
        self._acceptor.stop()

    def finish(self) -> None:
        """Stop, but accept the connections that are in the backlog now."""
        self.stop()
        self._acceptor.finish()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _retry_later(self) -> None:
        self._retry = self._loop.call_later(self._retry_delay, self._start_again)

    def _start_again(self) -> None:
        self._retry = None
        try:
            self._acceptor.start()
        except OSError:
            self._retry_later()


def _acquire(loop: asyncio.AbstractEventLoop) -> Reactor:
    """Return the reactor of a loop, and count one more proxy that uses it."""
    if isinstance(loop, NativeLoop):
        return loop.reactor
    nested = _nested.get(loop)
    if nested is None:
        nested = _nested[loop] = _Nested(loop)
    nested.users += 1
    return nested.reactor


def _release(loop: asyncio.AbstractEventLoop) -> None:
    """Count one proxy less; close the reactor of a loop with the last one."""
    nested = _nested.get(loop)
    if nested is None:
        return
    nested.users -= 1
    if not nested.users:
        loop.remove_reader(nested.reactor.fileno())
        _forget(loop)


def _forget(loop: asyncio.AbstractEventLoop) -> None:
    """Close the reactor of a loop, which aborts its connections; idempotent."""
    nested = _nested.pop(loop, None)
    if nested is not None:
        nested.reactor.close()

"""A world without sockets: a third backend of `net.stream`, beside asyncio's and uvloop's.

The peer of a stream is the test, and a dial ends as the test decides. What a transport of asyncio
or uvloop does to its protocol, a `FakeStream` does to its owner: writes that the peer does not take
pile up and pause the owner, nothing is reported while reading is paused, and the loss of a
connection is reported later, when `World.run` is called. The clock of `FakeLoop` stands until the
test moves it.
"""

import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from cmux_proxy import Config, Router, Target, UpstreamUnavailable
from cmux_proxy.config.proxy_config import DEFAULT_UPSTREAM_HOST
from cmux_proxy.config.values import UNIX_PEER
from cmux_proxy.downstream.admission import Admission
from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.errors import UnavailableReason
from cmux_proxy.net.acceptor import Acceptor
from cmux_proxy.net.backends import Backend
from cmux_proxy.net.busy_poll import BusyPoll
from cmux_proxy.net.splice import Pipe, SplicePipe
from cmux_proxy.net.stream import Data, Handle, Loop, Stream, StreamOwner
from cmux_proxy.observe.observer import Observer
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.services import Services
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial import Dial, DialFactory
from cmux_proxy.upstream.dial_owner import DialOwner
from cmux_proxy.upstream.dialer import Dialer

# What asyncio's transports read at a time by default.
READ: Final = 256 * 1024

_END: Final = b""


class FakeLoop(Loop):
    """A clock, and timers that run when the test calls `ring`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.soon: list[Callable[[], object]] = []

    def time(self) -> float:
        """Return the time that the test has set."""
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Keep the timer for `ring`."""
        timer = (self.now + delay, partial(callback, *args))
        self.timers.append(timer)
        return _FakeHandle(self, timer)

    def ring(self) -> None:
        """Call the timers that are due."""
        for timer in [timer for timer in self.timers if timer[0] <= self.now]:
            if timer in self.timers:
                self.timers.remove(timer)
                timer[1]()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Keep the callback for `turn`; a loop that has one does not sleep."""
        self.soon.append(partial(callback, *args))

    def turn(self) -> None:
        """Make the calls of this turn of the loop."""
        callbacks, self.soon = self.soon, []
        for callback in callbacks:
            callback()


class _FakeHandle(Handle):
    def __init__(self, loop: FakeLoop, timer: tuple[float, Callable[[], object]]) -> None:
        self._loop = loop
        self._timer = timer

    def cancel(self) -> None:
        if self._timer in self._loop.timers:
            self._loop.timers.remove(self._timer)


class FakeBackend(Backend):
    """Streams like asyncio's transports; the tests make them."""

    is_native = False
    has_read_size = True

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.call_soon = loop.call_soon

    async def open_stream(self, _sock: object, _owner: object) -> None:
        """Dials are fakes too."""
        raise NotImplementedError

    def make_acceptors(self, *_: object) -> list[Acceptor]:
        """Clients come from the tests."""
        raise NotImplementedError

    def make_pipe(self, is_wanted: bool) -> Pipe:
        """Return that of streams that are not native."""
        return SplicePipe(is_wanted)

    def start_busy_polling(self, max_length: float) -> BusyPoll:
        """The loop has no polling of its own."""
        return BusyPoll(self.loop, max_length)

    def close(self) -> None:
        """Hold nothing."""


class FakeSocket:
    """Records whether its close would reset the connection."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.resets_on_close = False

    def setsockopt(self, level: int, name: int, value: bytes | int) -> None:
        """Record the option that makes the close a reset."""
        if (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER):
            assert isinstance(value, bytes)
            self.resets_on_close = struct.unpack("ii", value) == (1, 0)

    def fileno(self) -> int:
        """Return -1, as a closed socket does: nothing can be read from it."""
        return -1


class _Nobody(StreamOwner):
    """An owner that ignores everything."""

    def data_received(self, data: bytes, /) -> None:
        """Ignore it."""

    def eof_received(self) -> bool:
        """Let the stream close."""
        return False

    def connection_lost(self, error: Exception | None, /) -> None:
        """Ignore it."""

    def pause_writing(self) -> None:
        """Write nothing anyway."""

    def resume_writing(self) -> None:
        """Write nothing anyway."""


class FakeStream(Stream):
    """A stream; `got` are the bytes that its peer has received, `held` those that wait."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.got = b""
        self.held = bytearray()
        self.socket = FakeSocket()
        self.max_size = READ
        self._has_sent_end = False
        self._was_aborted = False
        self._is_lost = False
        self._world = world
        self.owner: StreamOwner = _Nobody()
        self._inbox: deque[bytes | Exception] = deque()
        self._peer_reads = True
        self._is_closing = False
        self._is_reading = True
        self._has_reported_end = False
        self._has_paused = False
        self._high = 65536

    # What the peer does

    def arrives(self, data: bytes) -> None:
        """The peer sends bytes."""
        for start in range(0, len(data), self.max_size):
            self._inbox.append(data[start : start + self.max_size])
        self._deliver()

    def ends(self) -> None:
        """The peer sends its end."""
        self._inbox.append(_END)
        self._deliver()

    def breaks(self, error: Exception | None = None) -> None:
        """The peer resets the connection, or it is lost."""
        self._inbox.append(error or ConnectionResetError())
        self._deliver()

    def stops_reading(self) -> None:
        """The peer stops reading."""
        self._peer_reads = False

    def reads_a_little(self) -> None:
        """The peer reads one of the bytes that wait."""
        self.got += bytes(self.held[:1])
        del self.held[:1]

    def reads_what_waits(self) -> None:
        """The peer reads the bytes that wait, and no more."""
        self.got += bytes(self.held)
        self.held.clear()
        if self._has_paused:
            self._has_paused = False
            self.owner.resume_writing()

    def reads_again(self) -> None:
        """The peer reads everything again."""
        self._peer_reads = True
        if not self._is_lost:
            self.got += bytes(self.held)
        self.held.clear()
        if self._has_paused and not self._is_lost:
            self._has_paused = False
            self.owner.resume_writing()
        if self._is_closing and not self.held:
            self._world.later(self._lose, None)

    def starts_to_close(self) -> None:
        """Let the stream be closing, as it is between a loss and its report."""
        self._is_closing = True

    def _deliver(self) -> None:
        """Report what has come to the owner, as long as it is read."""
        while (
            self._inbox and self._is_reading and not self._is_closing and not self._has_reported_end
        ):
            data = self._inbox.popleft()
            if isinstance(data, Exception):
                self._is_closing = True
                self.held.clear()
                self._world.later(self._lose, data)
            elif data == _END:
                # It stays: an owner that pauses and resumes reading gets it again.
                self._inbox.appendleft(_END)
                self._has_reported_end = True
                if not self.owner.eof_received():
                    self.close()
            else:
                self.owner.data_received(data)

    def is_over(self) -> bool:
        """Return whether the proxy has closed the connection, or lost it."""
        return self._is_closing

    def is_lost(self) -> bool:
        """Return whether the loss was reported to the owner."""
        return self._is_lost

    def was_aborted(self) -> bool:
        """Return whether the proxy has dropped the connection."""
        return self._was_aborted

    def has_sent_end(self) -> bool:
        """Return whether the proxy has sent its end."""
        return self._has_sent_end

    # What the proxy does

    def write(self, data: Data, /) -> None:
        """Hand bytes to the peer, or keep them in the write buffer."""
        if self._has_sent_end:
            raise RuntimeError("write after the end")
        if self._is_closing:
            return
        if self._peer_reads and not self.held:
            self.got += bytes(data)
            return
        self.held += data
        self._world.max_held = max(self._world.max_held, len(self.held))
        if len(self.held) > self._high and not self._has_paused:
            self._has_paused = True
            self.owner.pause_writing()

    def writelines(self, data: Iterable[Data], /) -> None:
        """Write all of it at once."""
        self.write(b"".join(data))

    def can_write_eof(self) -> bool:
        """Return whether it has a half-close, as TCP has."""
        return True

    def write_eof(self) -> None:
        """Send our end; as asyncio does, fail where the peer has reset the connection."""
        if self._is_closing:
            return
        if any(isinstance(item, Exception) for item in self._inbox):
            raise OSError(errno.ENOTCONN, "not connected")
        self._has_sent_end = True

    def close(self) -> None:
        """Close once everything has been sent."""
        if not self._is_closing:
            self._is_closing = True
            if not self.held:
                self._world.later(self._lose, None)

    def abort(self) -> None:
        """Close at once."""
        if not self._is_lost:
            self._was_aborted = True
            self._is_closing = True
            self.held.clear()
            self._world.later(self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self.owner.connection_lost(error)

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Report nothing for now."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Report again; the end too, even if it was reported before."""
        if not self._is_reading:
            self._is_reading = True
            self._has_reported_end = False
            self._world.later(self._deliver)

    def is_reading(self) -> bool:
        """Return whether bytes are reported to the owner."""
        return self._is_reading

    def set_protocol(self, owner: StreamOwner, /) -> None:
        """Report to another owner."""
        self.owner = owner

    def get_protocol(self) -> object:
        """Return the owner."""
        return self.owner

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many bytes may wait before the owner is paused."""
        self._high = 65536 if high is None else high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait."""
        return len(self.held)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket, or the peer's address if the test has set one."""
        if name == "peername" and self._world.peer:
            return (self._world.peer, 1)
        if name == "socket" and self._world.peer == UNIX_PEER:
            return SimpleNamespace(family=socket.AF_UNIX)
        return self.socket if name == "socket" else default


class FakeDial(Dial):
    """A dial that is in flight until the test ends it."""

    def __init__(self, world: "World", target: Target, owner: DialOwner, last_waiter: int) -> None:
        self.target = target
        self.last_waiter = last_waiter
        self.started_at = world.loop.now
        self.is_connecting = True
        self.is_over = False
        self._world = world
        self._dial_owner = owner

    def cancel(self) -> None:
        """End it."""
        assert self.is_connecting
        self.is_over = True

    def opens(self) -> None:
        """Let the socket be open, but not yet a connection."""
        if self.is_connecting:
            self.is_connecting = False
            self._dial_owner.dial_opened(self, 0.0)

    def succeeds(self) -> FakeStream:
        """Let it succeed; return the upstream's stream."""
        self.opens()
        self.is_over = True
        connection = UpstreamConnection(
            self.target, self._world.services.pool, self._world.services.read_size
        )
        connection.on_connected = partial(self._dial_owner.dial_connected, self)
        transport = FakeStream(self._world, "upstream")
        transport.set_protocol(connection)
        self._world.upstreams.append(transport)
        connection.connection_made(transport)
        return transport

    def fails(self, reason: UnavailableReason = UnavailableReason.REFUSED) -> None:
        """Let it fail."""
        self.is_over = True
        self._dial_owner.dial_failed(self, UpstreamUnavailable(reason, "it failed"))

    def times_out(self) -> None:
        """Let it time out, because the target's backlog is full."""
        self.is_over = True
        self._dial_owner.dial_timed_out(self)


class FakeDialFactory(DialFactory):
    """Keeps the dials that are in flight; no name has its address any more."""

    def __init__(self, world: "World", timeout: float, max_connections: int | None) -> None:
        services = world.services
        connector = Connector(world.loop, False, lambda _host, _port: False)
        super().__init__(
            FakeBackend(world.loop),
            services.pool,
            connector,
            services.read_size,
            timeout,
            max_connections,
        )
        self._world = world

    def start(
        self, target: Target, owner: DialOwner, last_waiter: int, timeout: float | None
    ) -> Dial:
        """Start a dial."""
        dial = FakeDial(self._world, target, owner, last_waiter)
        self._world.dials.append(dial)
        return dial

    def is_current(self, connection: UpstreamConnection) -> bool:
        """Return whether its target is an address."""
        return connection.address is None


class World:
    """The services of one worker, without sockets and without a clock."""

    def __init__(self, config: Config | None = None, observer: Observer | None = None) -> None:
        self.loop = FakeLoop()
        self.config = config or Config()
        router = Router(
            self.config.upstream_host or DEFAULT_UPSTREAM_HOST,
            host_suffixes=self.config.routing.suffixes(),
        )
        self.services = Services(
            self.config,
            FakeBackend(self.loop),
            router,
            lambda _host, _port: False,
            None,
            observer,
            Admission.from_config(self.config),
        )
        timeouts, limits = self.config.timeouts, self.config.limits
        self.services.dialer = Dialer(
            FakeDialFactory(self, timeouts.connect, limits.upstream_connections)
        )
        self.exchanges = ExchangePool(self.services)
        self.dials: list[FakeDial] = []
        self.clients: list[FakeStream] = []
        self.upstreams: list[FakeStream] = []
        # The address of all clients.
        self.peer = ""
        # The largest number of bytes that have waited in one stream.
        self.max_held = 0
        self._queue: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def later(self, callback: Callable[..., object], *args: object) -> None:
        """Queue a call for `run`."""
        self._queue.append((callback, args))

    def run(self) -> None:
        """Make all queued calls."""
        while self._queue:
            callback, args = self._queue.popleft()
            callback(*args)

    def walk(self, seconds: float) -> None:
        """Let time pass, and let the ticker act on deadlines."""
        self.loop.now += seconds
        self.loop.ring()
        self.services.ticker.walk(self.loop.now)

    def client(self) -> FakeStream:
        """Accept a client."""
        transport = FakeStream(self, "client")
        connection = Http1Connection(self.services, self.exchanges)
        transport.set_protocol(connection)
        self.clients.append(transport)
        connection.connection_made(transport)
        return transport

    def stranger(self) -> FakeStream:
        """Return a stream that has nothing to do with the proxy."""
        return FakeStream(self, "stranger")

    def dial(self) -> FakeDial:
        """Return the dial that is in flight."""
        [dial] = [dial for dial in self.dials if not dial.is_over]
        return dial

    def ask(self, request: bytes) -> tuple[FakeStream, FakeStream]:
        """Return a client that has sent a request, and the upstream that was dialled for it."""
        client = self.client()
        client.arrives(request)
        return client, self.dial().succeeds()


def statuses(client: FakeStream) -> list[int]:
    """Return the statuses of the responses that a client has received."""
    return [int(line[:3]) for line in bytes(client.got).split(b"HTTP/1.1 ")[1:]]

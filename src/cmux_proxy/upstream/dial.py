"""One attempt to open a connection to a target, in the background.

It always reports its end to its owner, unless it is cancelled. Neighbours: `target_queue.py` owns
it, `connector.py` connects a socket, `connection.py` is the result.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.net.asyncio_backend import start_task
from cmux_proxy.net.backends import Backend
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import FirstOwner, Handle
from cmux_proxy.net.tcp_connect import ConnectTimeout
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connect_errors import handshake_failed, no_http2, unavailable
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial_owner import DialOwner
from cmux_proxy.upstream.dns_cache import resolved_address
from cmux_proxy.upstream.pool import UNLIMITED, Pool
from cmux_proxy.upstream.upstream_tls import UpstreamTls

if TYPE_CHECKING:
    from cmux_proxy.upstream.http2_settings import Http2Settings
    from cmux_proxy.upstream.http2_upstream import Http2Upstream
    from cmux_proxy.upstream.tls_opening import TlsOpening


class DialFactory:
    """Makes the dials of one event loop.

    A request waits at most `timeout` seconds for its connection, and a target has at most
    `max_connections` at a time. `clock` measures how long a dial takes: the loop's own is too
    coarse.
    """

    __slots__ = (
        "_http2", "backend", "clock", "connector", "loop", "max_connections", "pool", "read_size",
        "timeout", "tls",
    )  # fmt: skip

    def __init__(
        self,
        backend: Backend,
        pool: Pool[UpstreamConnection],
        connector: Connector,
        read_size: ReadSize,
        timeout: float,
        max_connections: int | None = None,
        clock: Callable[[], float] = monotonic,
        tls: UpstreamTls | None = None,
        http2: "Http2Settings | None" = None,
    ) -> None:
        self.backend = backend
        self.loop = backend.loop
        self.pool = pool
        self.connector = connector
        self.read_size = read_size
        self.timeout = timeout
        self.clock = clock
        self.tls = UpstreamTls() if tls is None else tls
        self._http2 = http2
        self.max_connections = UNLIMITED if max_connections is None else max_connections

    def start(
        self, target: Target, owner: DialOwner, last_waiter: int, timeout: float | None
    ) -> "Dial":
        """Start a dial, which may take `timeout` seconds to connect."""
        return Dial(self, target, owner, last_waiter, timeout)

    def shake_hands(
        self,
        target: Target,
        owner: FirstOwner,
        on_done: Callable[[], None],
        on_failed: Callable[[HandshakeError], None],
    ) -> "TlsOpening":
        """Return the owner of a stream until there is TLS on it for `owner`."""
        from cmux_proxy.upstream.tls_opening import TlsOpening

        engine = self.tls.new_engine(target)
        return TlsOpening(
            self.loop, engine, owner, self.read_size, on_done, on_failed, target.is_http2()
        )

    def share(
        self,
        connection: UpstreamConnection,
        on_open: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> "Http2Upstream":
        """Return the owner of a shared connection, whose first slot a new connection becomes."""
        from cmux_proxy.upstream.http2_upstream import Http2Upstream

        if self._http2 is None:
            raise RuntimeError("HTTP/2 to upstreams is not set up")
        return Http2Upstream(
            self.loop, self.pool, self.read_size, self._http2, connection, on_open, on_failed
        )

    def is_current(self, connection: UpstreamConnection) -> bool:
        """Return whether the name of a connection's target still has its address."""
        address = connection.address
        return address is None or self.connector.has_address(connection.target, address)


class Dial:
    """A dial in flight, for the requests up to number `last_waiter`; it started at `started_at`.

    It can be cancelled while it `is_connecting`, which handshakes are part of, and reports
    nothing then.
    """

    __slots__ = (
        "_factory", "_opening", "_owner", "_target", "_task", "is_connecting", "last_waiter",
        "started_at",
    )  # fmt: skip

    def __init__(
        self,
        factory: DialFactory,
        target: Target,
        owner: DialOwner,
        last_waiter: int,
        timeout: float | None,
    ) -> None:
        self._factory = factory
        self._target = target
        self._owner = owner
        self.last_waiter = last_waiter
        self.started_at = factory.loop.time()
        self.is_connecting = True
        # Once a handshake is under way. The task must not be cancelled then.
        self._opening: TlsOpening | Http2Upstream | None = None
        self._task: Handle | None = start_task(factory.loop, self._run(timeout))

    def cancel(self) -> None:
        """Give up."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        elif self._task is not None:
            self._task.cancel()
            # The exception that ends the task refers to this dial. If the dial kept the task, both
            # would wait for the garbage collector.
            self._task = None

    async def _run(self, timeout: float | None) -> None:
        try:
            await self._open(timeout)
        except ConnectTimeout:
            self._owner.dial_timed_out(self)
        except UpstreamUnavailable as error:
            self._owner.dial_failed(self, error)
        except Exception as error:
            self._owner.dial_failed(self, unavailable(self._target, error))

    async def _open(self, timeout: float | None) -> None:
        factory = self._factory
        started_at = factory.clock()
        sock = await factory.connector.open_socket(self._target, timeout)
        connection = UpstreamConnection(self._target, factory.pool, factory.read_size)
        connection.address = resolved_address(self._target.host, sock)
        # The connection itself reports that it exists, so that no byte arrives before its owner.
        connection.on_connected = self._connected
        opened = partial(self._opened, connection, started_at)
        owner: FirstOwner = connection
        target = self._target
        if target.is_http2():
            shared = factory.share(connection, opened, self._http2_failed)
            owner = self._opening = shared
            opened = partial(self._handshake_done, shared)
        if target.has_tls():
            owner = self._opening = factory.shake_hands(
                target, owner, opened, self._handshake_failed
            )
        if self._opening is None:
            opened()
        await factory.backend.open_stream(sock, owner)

    def _handshake_done(self, shared: "Http2Upstream") -> None:
        self._opening = shared

    def _opened(self, connection: UpstreamConnection, started_at: float) -> None:
        self.is_connecting = False
        self._opening = None
        connection.connect_seconds = self._factory.clock() - started_at
        self._owner.dial_opened(self, connection.connect_seconds)

    def _handshake_failed(self, error: HandshakeError) -> None:
        self._opening = None
        self._owner.dial_failed(self, handshake_failed(self._target, error))

    def _http2_failed(self, rule: str) -> None:
        self._opening = None
        self._owner.dial_failed(self, no_http2(self._target, rule))

    def _connected(self, connection: UpstreamConnection) -> None:
        self._owner.dial_connected(self, connection)

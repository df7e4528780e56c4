"""One connection to an upstream, as the owner of its stream, and the base class of its users.

Knows nothing of HTTP: what arrives goes to the owner. Without an owner the connection is idle in
the pool, and any event ends it. Neighbours: `dial.py` makes it, `pool.py` keeps it.
"""

from collections.abc import Callable

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.socket_queues import read_rest
from cmux_proxy.net.stream import Stream
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.pool import Idle, Pool


class UpstreamOwner:
    """The base class of what has leased or dialled a connection; receives all its events."""

    __slots__ = ()

    def upstream_connected(self, connection: "UpstreamConnection") -> None:
        """The owner has a connection, new or used before."""
        raise NotImplementedError

    def upstream_unavailable(self, error: UpstreamUnavailable) -> None:
        """There is no connection; nothing was sent."""
        raise NotImplementedError

    def upstream_data(self, data: bytes) -> None:
        """Bytes have arrived."""
        raise NotImplementedError

    def upstream_ended(self) -> None:
        """The upstream has sent its last byte; the connection closes."""
        raise NotImplementedError

    def upstream_lost(self, error: Exception | None) -> None:
        """The connection is gone; `error` is None unless it broke."""
        raise NotImplementedError

    def upstream_paused(self) -> None:
        """The upstream does not keep up: send nothing for now."""
        raise NotImplementedError

    def upstream_resumed(self) -> None:
        """The upstream keeps up again."""
        raise NotImplementedError


class UpstreamConnection(Idle):
    """A connection to `target`; idle in `pool` while `owner` is None."""

    __slots__ = (
        "_is_counted",
        "_is_reading",
        "_pool",
        "_read_size",
        "_target_pool",
        "address",
        "connect_seconds",
        "has_served",
        "is_open",
        "on_connected",
        "owner",
        "target",
        "transport",
    )

    def __init__(
        self, target: Target, pool: "Pool[UpstreamConnection]", read_size: ReadSize
    ) -> None:
        super().__init__()
        self._is_counted = False
        self._read_size = read_size
        self.target = target
        # The address to which the target's name was resolved; None where the target is an address.
        self.address: str | None = None
        self.owner: UpstreamOwner | None = None
        # Called first once it exists; sets the owner.
        self.on_connected: Callable[[UpstreamConnection], None] | None = None
        self.has_served = False
        # How many seconds it took to connect.
        self.connect_seconds = 0.0
        self.is_open = False
        self._pool = pool
        self._target_pool = pool.target_pool(target)
        self._is_reading = True
        self.transport: Stream

    def connection_made(self, transport: Stream) -> None:
        """Take the stream; never let it buffer more than one write."""
        self.transport = transport
        self.is_open = True
        self._is_counted = True
        self._pool.opened(self._target_pool)
        transport.set_write_buffer_limits(high=0)
        self._read_size.limit(transport, self)
        if self.on_connected is not None:
            self.on_connected(self)
            self.on_connected = None

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; close an idle connection, because no request asked for them."""
        owner = self.owner
        if owner is None:
            self._pool.discard(self)
            self.abort()
        else:
            owner.upstream_data(data)

    def eof_received(self) -> bool:
        """Report to the owner; never keep a half-open connection."""
        owner = self.owner
        self.uncount()
        if owner is None:
            self._pool.discard(self)
        else:
            owner.upstream_ended()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Report to the owner, or leave the pool."""
        self.is_open = False
        # After another error, bytes may be missing before those that the kernel has.
        if isinstance(error, OSError) and self.owner is not None:
            self._read_rest()
        owner = self.owner
        self.owner = None
        self.uncount()
        if owner is None:
            self._pool.discard(self)
        else:
            owner.upstream_lost(error)

    def uncount(self) -> None:
        """Make room for another connection to the target; idempotent."""
        if self._is_counted:
            self._is_counted = False
            self._pool.closed(self._target_pool)

    def _read_rest(self) -> None:
        """Hand over what came before the connection broke.

        An upstream may respond and close without reading the whole request. Then a write of ours
        fails first, and the transport gives up while the response is still unread in the kernel.
        """
        left = self._read_size.max_bytes
        while self.owner is not None and left > 0:
            data = read_rest(self.transport, left)
            if not data:
                return
            left -= len(data)
            self.owner.upstream_data(data)

    def pause_writing(self) -> None:
        """Report to the owner that bytes wait to be sent."""
        if self.owner is not None:
            self.owner.upstream_paused()

    def resume_writing(self) -> None:
        """Report to the owner that all bytes have been sent."""
        if self.owner is not None:
            self.owner.upstream_resumed()

    def set_reading(self, is_reading: bool) -> None:
        """Read, or leave what arrives with the kernel; idempotent."""
        if is_reading == self._is_reading or not self.is_open:
            return
        self._is_reading = is_reading
        if is_reading:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def release(self, now: float) -> None:
        """Hand the connection to a request that waits, or keep it in the pool, or close it."""
        self.owner = None
        self.has_served = True
        self.set_reading(True)
        if not self.is_open or not self._pool.keeps_alive:
            self.close()
            return
        offer = self._target_pool.offer
        if offer is not None and offer(self):
            return
        if not self._pool.give_back(self._target_pool, self, now):
            self.close()

    def close(self) -> None:
        """Close in order; the owner gets no more events."""
        self.owner = None
        self.uncount()
        self.transport.close()

    def abort(self) -> None:
        """Drop the connection at once; the owner gets no more events."""
        self.owner = None
        self.uncount()
        self.transport.abort()


def close_expired(pool: Pool[UpstreamConnection], now: float) -> None:
    """Close the connections that have been idle for too long."""
    for connection in pool.expired(now):
        connection.close()

"""The upstream's connection of one exchange: leased from the pool or waited for, then given back.

Does not know what is sent on it. Neighbours: `upstream/pool.py` keeps idle connections,
`upstream/dialer.py` has the requests that wait for new ones.
"""

from cmux_proxy.relay.services import Services
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.waiters import Waiter


class UpstreamLease:
    """A connection, or a place among those that wait for one, or neither.

    `is_reused` says that the connection has carried a request before.
    """

    __slots__ = ("_services", "connection", "is_reused", "waiter")

    def __init__(self, services: Services) -> None:
        self._services = services
        self.connection: UpstreamConnection | None = None
        self.waiter: Waiter | None = None
        self.is_reused = False

    def take_idle(self, target: Target, owner: UpstreamOwner) -> UpstreamConnection | None:
        """Lease an idle connection whose address is still that of the target, if there is one."""
        connection = self._services.pool.lease(target)
        if connection is not None and connection.address is not None:
            connection = self._services.dialer.revalidate(connection)
        if connection is not None:
            connection.owner = owner
            self.connection = connection
            self.is_reused = connection.has_served
        return connection

    def wait(
        self, target: Target, owner: UpstreamOwner, connect_retry: float, needs_fresh: bool
    ) -> None:
        """Wait for a connection; raise UpstreamUnavailable where there may be no more.

        A port that refuses is dialled again for `connect_retry` seconds. With `needs_fresh`, the
        connection must not have carried a request.
        """
        self.waiter = self._services.dialer.wait(target, owner, connect_retry, needs_fresh)

    def stop_retrying(self) -> None:
        """Dial a port that refuses no more, for this exchange."""
        if self.waiter is not None:
            self._services.dialer.stop_retrying(self.waiter)

    def connected(self, connection: UpstreamConnection) -> None:
        """Use this connection, whose owner is the exchange."""
        self.waiter = None
        self.connection = connection
        self.is_reused = connection.has_served

    def set_reading(self, is_reading: bool) -> None:
        """Read from the upstream, or stop."""
        if self.connection is not None:
            self.connection.set_reading(is_reading)

    def unsent(self) -> int:
        """Return how many bytes wait for the upstream to read."""
        connection = self.connection
        return 0 if connection is None else connection.transport.get_write_buffer_size()

    def release(self) -> None:
        """Give the connection back to the pool."""
        if self.connection is not None:
            self.connection.release(self._services.ticker.now)
            self.connection = None

    def close(self) -> None:
        """Close the connection once everything has been sent."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def detach(self) -> None:
        """Own the connection no more: it is lost, or a tunnel's."""
        if self.connection is not None:
            self.connection.owner = None
            self.connection = None

    def drop(self) -> None:
        """Wait no longer, and abort the connection."""
        if self.waiter is not None:
            self._services.dialer.cancel(self.waiter)
            self.waiter = None
        if self.connection is not None:
            self.connection.abort()
            self.connection = None

"""Gets connections for requests for which the pool has none.

Knows which of the pool's connections may be used, and which requests wait where. Neighbours:
`target_queue.py` has the requests of one target and the dials for them; `relay` calls this.
"""

from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.dial import DialFactory
from cmux_proxy.upstream.target_queue import TargetQueue
from cmux_proxy.upstream.waiters import Waiter


class Dialer:
    """Lets requests wait for connections, within one event loop."""

    __slots__ = ("_factory", "_queues")

    def __init__(self, factory: DialFactory) -> None:
        self._factory = factory
        self._queues: dict[Target, TargetQueue] = {}

    def wait(
        self,
        target: Target,
        owner: UpstreamOwner,
        retry_seconds: float = 0.0,
        needs_fresh: bool = False,
    ) -> Waiter:
        """Call the owner later, with its connection or with the reason why there is none.

        With `needs_fresh` no request has used that connection before. A port that refuses is
        dialled again for `retry_seconds`. Raises UpstreamUnavailable where the target has as many
        connections as it may have.
        """
        queue = self._queues.get(target)
        if queue is None:
            queue = self._queues[target] = TargetQueue(target, self._factory, self._forget)
        # What is shared has never carried this request alone.
        return queue.add(owner, retry_seconds, needs_fresh and not target.is_http2())

    def cancel(self, waiter: Waiter) -> None:
        """Stop waiting; the owner is not called."""
        queue = self._queues.get(waiter.target)
        if queue is not None:
            queue.remove(waiter)

    def stop_retrying(self, waiter: Waiter) -> None:
        """Wait no more for a port that refuses: the client may not wait for the response."""
        waiter.retry_until = 0.0
        queue = self._queues.get(waiter.target)
        if queue is not None:
            queue.retry_now()

    def close(self) -> None:
        """Cancel dials and look-ups; no request waits any more."""
        for queue in list(self._queues.values()):
            queue.close()
        self._factory.connector.close()

    def revalidate(self, leased: UpstreamConnection) -> UpstreamConnection | None:
        """Return a leased connection, or the next one, whose name still has its address."""
        target = leased.target
        connection: UpstreamConnection | None = leased
        while connection is not None and not self._factory.is_current(connection):
            connection.close()
            connection = self._factory.pool.lease(target)
        return connection

    def _forget(self, queue: TargetQueue) -> None:
        del self._queues[queue.target]

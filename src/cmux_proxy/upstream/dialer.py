"""Finds connections for requests that the pool has none for.

Knows which of the pool's connections may be used, and who waits where. Neighbours:
`target_queue.py` has the requests of one target and the dials for them, `relay` is who asks.
"""

from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.dial import Dialling
from cmux_proxy.upstream.target_queue import TargetQueue
from cmux_proxy.upstream.waiters import Waiter


class Dialer:
    """Has requests wait for connections, within one event loop."""

    __slots__ = ("_dialling", "_queues")

    def __init__(self, dialling: Dialling) -> None:
        self._dialling = dialling
        self._queues: dict[Target, TargetQueue] = {}

    def wait(
        self, target: Target, owner: UpstreamOwner, patience: float = 0.0, needs_fresh: bool = False
    ) -> Waiter:
        """Have the owner told of its connection, later, or why there is none.

        With `needs_fresh` nobody has used that connection before. A port that refuses is dialled
        again for `patience` seconds. Raises UpstreamUnavailable where the target has as many
        connections as it may have.
        """
        queue = self._queues.get(target)
        if queue is None:
            queue = self._queues[target] = TargetQueue(target, self._dialling, self._forget)
        return queue.join(owner, patience, needs_fresh)

    def leave(self, waiter: Waiter) -> None:
        """The owner waits no more, and is told nothing."""
        queue = self._queues.get(waiter.target)
        if queue is not None:
            queue.leave(waiter)

    def stop_retrying(self, waiter: Waiter) -> None:
        """Wait no more for a port that refuses: nobody may be waiting for the response."""
        waiter.patient_until = 0.0
        queue = self._queues.get(waiter.target)
        if queue is not None:
            queue.dial_again()

    def close(self) -> None:
        """Give up dials and look-ups; who waits has left before."""
        for queue in list(self._queues.values()):
            queue.close()
        self._dialling.addresses.close()

    def revalidate(self, leased: UpstreamConnection) -> UpstreamConnection | None:
        """Return a leased connection, or the next one, that leads where its name still does."""
        target = leased.target
        connection: UpstreamConnection | None = leased
        while connection is not None and not self._dialling.leads_there(connection):
            connection.close()
            connection = self._dialling.pool.lease(target)
        return connection

    def _forget(self, queue: TargetQueue) -> None:
        del self._queues[queue.target]

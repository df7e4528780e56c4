"""The slots of one HTTP/2 connection to an upstream: made, offered to requests, given up.

Does not know how many there may be: `http2_upstream.py` does. Neighbour: `pool.py` keeps the idle
ones.
"""

from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.http2_slot import Http2Slot
from cmux_proxy.upstream.pool import Pool
from cmux_proxy.upstream.slot_carrier import SlotCarrier


class SlotSet:
    """The slots of a connection to `target`, whose name was resolved to `address`."""

    __slots__ = ("_address", "_pool", "_read_size", "_slots", "_target")

    def __init__(
        self,
        target: Target,
        pool: "Pool[UpstreamConnection]",
        read_size: ReadSize,
        address: str | None,
    ) -> None:
        self._target = target
        self._pool = pool
        self._read_size = read_size
        self._address = address
        self._slots: set[Http2Slot] = set()

    def add(self, carrier: SlotCarrier, connection: UpstreamConnection) -> None:
        """Make a slot, which the connection owns."""
        slot = Http2Slot(carrier, connection)
        self._slots.add(slot)
        connection.connection_made(slot)

    def offer(self, carrier: SlotCarrier, now: float) -> bool:
        """Give an idle slot, or a new one, to the next request that waits, or to the pool.

        Return whether a request has taken it, so that another may wait.
        """
        connection = self._pool.lease(self._target)
        if connection is None:
            connection = UpstreamConnection(self._target, self._pool, self._read_size)
            connection.address = self._address
            connection.has_served = True
            self.add(carrier, connection)
        connection.release(now)
        return connection.owner is not None

    def discard(self, slot: Http2Slot) -> None:
        """Forget a slot."""
        self._slots.discard(slot)

    def count(self) -> int:
        """Return how many there are."""
        return len(self._slots)

    def count_surplus(self) -> tuple[int, int]:
        """Return how many more there are than the connection, in all and of the idle ones.

        The connection counts as idle if all of them are.
        """
        count = len(self._slots)
        idle = sum(slot.connection.is_idle for slot in self._slots)
        return max(0, count - 1), idle - 1 if 0 < idle == count else idle

    def has_idle(self) -> bool:
        """Return whether the pool has one of them."""
        return any(slot.connection.is_idle for slot in self._slots)

    def has_busy(self) -> bool:
        """Return whether one of them has a request under way."""
        return any(slot.stream is not None for slot in self._slots)

    def all(self) -> list[Http2Slot]:
        """Return all of them."""
        return list(self._slots)

    def take_all(self) -> list[Http2Slot]:
        """Forget all of them, and return them."""
        slots = list(self._slots)
        self._slots.clear()
        return slots

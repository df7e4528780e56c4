"""Streams of HTTP/2 clients: how many are under way in one worker, and which ones wait.

Each may need a connection to an upstream, as a client of HTTP/1 may, so that both share one budget.
It follows from the file descriptors, which this file does not know. Neighbour:
`connection_registry.py` has the connections.
"""

from collections.abc import Callable
from typing import Final

# What stands for no limit: no number of connections comes near it.
UNLIMITED: Final = 1 << 60
# How many may wait; a further one is refused at once.
MAX_WAITING: Final = 1000


class StreamBudget:
    """Counts the streams that are under way: their exchanges and tunnels.

    `connections` counts the open HTTP/2 connections, and `opened` all so far. `tunnels` counts the
    tunnels on streams.
    """

    __slots__ = (
        "_is_filling", "_waiting", "connections", "count", "max_exchanges", "opened", "tunnels",
    )  # fmt: skip

    def __init__(self) -> None:
        # By stream, in their order, what begins it.
        self._waiting: dict[object, Callable[[], None]] = {}
        self._is_filling = False
        self.count = 0
        self.connections = 0
        self.opened = 0
        self.tunnels = 0
        self.max_exchanges = UNLIMITED

    def room(self, clients: int) -> int:
        """Return how many more exchanges may begin; `clients` is the number of connections.

        Each client of HTTP/1 counts as an exchange, because it may begin one at any time.
        """
        return self.max_exchanges - self.count - clients + self.connections

    def wait(self, stream: object, begin: Callable[[], None]) -> bool:
        """Call back once there is room, in order; return False if too many wait already."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting[stream] = begin
        return True

    def withdraw(self, stream: object) -> None:
        """Let a stream wait no longer; idempotent."""
        self._waiting.pop(stream, None)

    def is_waiting(self) -> bool:
        """Return whether a stream waits."""
        return len(self._waiting) > 0

    def fill(self, count_clients: Callable[[], int]) -> None:
        """Begin streams that wait, as many as there is room for."""
        if self._is_filling:
            return
        # A stream may end, and so make room, while it begins.
        self._is_filling = True
        waiting = self._waiting
        while waiting and self.room(count_clients()) > 0:
            stream = next(iter(waiting))
            begin = waiting.pop(stream)
            self.count += 1
            begin()
        self._is_filling = False

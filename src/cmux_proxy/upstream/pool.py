"""Bookkeeping of upstream connections: lease, give back, evict, and how many there are.

Pure: knows neither sockets nor clocks. Whoever calls closes what is handed out to be closed, and
tells the pool when an idle connection has died. Idle lists are oldest first and leases newest
first, so that what is not needed ages and goes.
"""

from typing import Generic, TypeVar

from cmux_proxy.routing.target import Target


class Idle:
    """What a pool keeps; a connection is a subclass."""

    __slots__ = ("idle_since",)

    def __init__(self) -> None:
        self.idle_since = 0.0


C = TypeVar("C", bound=Idle)


class Pool(Generic[C]):
    """Idle connections by target, `per_target` of each and `total` in all, for `idle` seconds.

    At most `most_open` connections to a target, idle or not, may be open at a time.
    """

    __slots__ = (
        "_count", "_idle", "_idle_seconds", "_most_open", "_open", "_per_target", "_total",
    )  # fmt: skip

    def __init__(
        self, per_target: int, total: int, idle: float, most_open: int | None = None
    ) -> None:
        self._per_target = per_target
        self._total = total
        self._idle_seconds = idle
        self._idle: dict[Target, list[C]] = {}
        self._count = 0
        self._most_open = most_open
        # How many are open, by target; those that nobody limits are not counted.
        self._open: dict[Target, int] = {}

    def may_open(self, target: Target) -> bool:
        """Count a connection that is about to be opened; False when there are enough."""
        if self._most_open is None:
            return True
        count = self._open.get(target, 0)
        if count >= self._most_open:
            return False
        self._open[target] = count + 1
        return True

    def closed(self, target: Target) -> None:
        """A connection that was counted is gone, or has not come about."""
        count = self._open.get(target, 0)
        if count > 1:
            self._open[target] = count - 1
        elif count:
            del self._open[target]

    def lease(self, target: Target) -> C | None:
        """Take the newest idle connection to `target`, or None."""
        idle = self._idle.get(target)
        if not idle:
            return None
        self._count -= 1
        return idle.pop()

    def give_back(self, target: Target, connection: C, now: float) -> bool:
        """Keep a connection that is idle from `now` on; False when the caller has to close it."""
        if self._count >= self._total:
            return False
        idle = self._idle.get(target)
        if idle is None:
            idle = self._idle[target] = []
        if len(idle) >= self._per_target:
            return False
        connection.idle_since = now
        idle.append(connection)
        self._count += 1
        return True

    def discard(self, target: Target, connection: C) -> None:
        """Forget an idle connection that has died; one that is not idle is no concern of ours."""
        idle = self._idle.get(target)
        if idle is not None and connection in idle:
            idle.remove(connection)
            self._count -= 1

    def expired(self, now: float) -> list[C]:
        """Take out what has been idle for too long; the caller closes it."""
        before = now - self._idle_seconds
        taken: list[C] = []
        for target in list(self._idle):
            idle = self._idle[target]
            keep = 0
            while keep < len(idle) and idle[keep].idle_since <= before:
                keep += 1
            taken += idle[:keep]
            del idle[:keep]
            if not idle:
                del self._idle[target]
        self._count -= len(taken)
        return taken

    def drain(self) -> list[C]:
        """Take out everything; the caller closes it."""
        taken = [connection for idle in self._idle.values() for connection in idle]
        self._idle.clear()
        self._count = 0
        return taken

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        each = ", ".join(f"{to.authority()}: {len(idle)}" for to, idle in self._idle.items())
        return f"<Pool {self._count} idle{f' ({each})' if each else ''}>"

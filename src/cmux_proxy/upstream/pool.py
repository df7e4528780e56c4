"""Bookkeeping of upstream connections: lease, give back, evict, and how many are open.

Pure: knows neither sockets nor clocks. The caller closes what is handed out to be closed, and
tells the pool when an idle connection has died. Idle lists are oldest first and leases newest
first, so that what is not needed ages and goes: as many stay idle as were busy at a time within
the idle timeout. Neighbour: `dial.py`, whose requests wait for what is released.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from cmux_proxy.routing.target import Target

UNLIMITED: Final = 1 << 62


class Idle:
    """What a pool keeps; a connection is a subclass."""

    __slots__ = ("idle_since", "is_idle")

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.is_idle = False


C = TypeVar("C", bound=Idle)


class TargetPool(Generic[C]):
    """What a pool knows of one target.

    `idle` may hold connections that have died, until their turn comes. `open` counts connections,
    idle ones and tunnels included. While requests wait, `offer` is called with each connection that
    is released, and says whether one of them has taken it; as long as it is set, the object stays.
    """

    __slots__ = ("idle", "offer", "open", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.idle: list[C] = []
        self.open = 0
        self.offer: Callable[[C], bool] | None = None


class Pool(Generic[C]):
    """Idle connections of all targets, `most_idle` at a time, each for `idle` seconds.

    None is kept while more than `most_open` are open, idle or not; 0 seconds keep none, and
    `keeps_alive` is False then.
    """

    __slots__ = (
        "_count", "_idle_seconds", "_most_idle", "_most_open", "_open", "_targets",
        "keeps_alive",
    )  # fmt: skip

    def __init__(self, most_idle: int | None, idle: float, most_open: int | None = None) -> None:
        self.keeps_alive = idle > 0
        self._most_idle = UNLIMITED if most_idle is None else most_idle
        if not self.keeps_alive:
            self._most_idle = 0
        self._most_open = UNLIMITED if most_open is None else most_open
        self._idle_seconds = idle
        self._targets: dict[Target, TargetPool[C]] = {}
        self._count = 0
        self._open = 0

    def of(self, target: Target) -> TargetPool[C]:
        """Return what is known of `target`; the same object for as long as it is in use."""
        target_pool = self._targets.get(target)
        if target_pool is None:
            target_pool = self._targets[target] = TargetPool(target)
        return target_pool

    def opened(self, target_pool: TargetPool[C]) -> None:
        """Count a connection that has been made."""
        target_pool.open += 1
        self._open += 1

    def closed(self, target_pool: TargetPool[C]) -> None:
        """Count a connection no more that was counted."""
        target_pool.open -= 1
        self._open -= 1

    def lease(self, target: Target) -> C | None:
        """Take the newest idle connection to `target`, or None."""
        target_pool = self._targets.get(target)
        if target_pool is None:
            return None
        idle = target_pool.idle
        while idle:
            connection = idle.pop()
            if connection.is_idle:
                connection.is_idle = False
                self._count -= 1
                return connection
        return None

    def give_back(self, target_pool: TargetPool[C], connection: C, now: float) -> bool:
        """Keep a connection that is idle from `now` on; False when the caller has to close it."""
        if self._count >= self._most_idle or self._open > self._most_open:
            return False
        connection.idle_since = now
        connection.is_idle = True
        target_pool.idle.append(connection)
        self._count += 1
        return True

    def discard(self, connection: C) -> None:
        """Forget an idle connection that has died; one that is not idle is no concern of ours."""
        if connection.is_idle:
            connection.is_idle = False
            self._count -= 1

    def make_room(self) -> C | None:
        """Take an idle connection that has to be closed before one more may be opened."""
        if self._open < self._most_open or not self._count:
            return None
        for target_pool in self._targets.values():
            for at, connection in enumerate(target_pool.idle):
                if connection.is_idle:
                    del target_pool.idle[: at + 1]
                    self.discard(connection)
                    return connection
        return None

    def expired(self, now: float) -> list[C]:
        """Take out what has been idle for too long; the caller closes it."""
        before = now - self._idle_seconds
        taken: list[C] = []
        for target in list(self._targets):
            target_pool = self._targets[target]
            idle = target_pool.idle
            keep = 0
            while keep < len(idle) and (not idle[keep].is_idle or idle[keep].idle_since <= before):
                if idle[keep].is_idle:
                    idle[keep].is_idle = False
                    taken.append(idle[keep])
                keep += 1
            del idle[:keep]
            if not idle and not target_pool.open and target_pool.offer is None:
                del self._targets[target]
        self._count -= len(taken)
        return taken

    def drain(self) -> list[C]:
        """Take out everything; the caller closes it."""
        taken: list[C] = []
        for target_pool in self._targets.values():
            taken += [connection for connection in target_pool.idle if connection.is_idle]
            target_pool.idle.clear()
        for connection in taken:
            connection.is_idle = False
        self._count = 0
        return taken

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        each = {
            target_pool.target.authority(): sum(one.is_idle for one in target_pool.idle)
            for target_pool in self._targets.values()
        }
        shown = ", ".join(f"{name}: {count}" for name, count in each.items() if count)
        return f"<Pool {self._count} idle{f' ({shown})' if shown else ''}>"

"""Bookkeeping of upstream connections: lease, give back, evict, and how many are open.

Pure: knows neither sockets nor clocks. The caller closes what the pool returns to be closed, and
reports when an idle connection has died. Idle lists are oldest first and leases newest first, so
that connections that are not needed expire: as many stay idle as were busy at the same time within
the idle timeout. Neighbour: `target_queue.py`, whose requests wait for released connections.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from cmux_proxy.routing.target import Target

# More than any number of connections, and still a plain integer in a compiled build.
UNLIMITED: Final = 1 << 60


class Idle:
    """The base class of a connection that a pool keeps."""

    __slots__ = ("idle_since", "is_idle")

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.is_idle = False


C = TypeVar("C", bound=Idle)


class Sharer:
    """The base class of a connection that several requests share."""

    __slots__ = ()

    def count_room(self) -> int:
        """Return how many more requests it can take."""
        raise NotImplementedError

    def wake(self) -> None:
        """Requests wait: offer them connections soon."""
        raise NotImplementedError

    def count_surplus(self) -> tuple[int, int]:
        """Return how many more places than connections there are, in all and of the idle ones."""
        raise NotImplementedError


class TargetPool(Generic[C]):
    """What a pool knows of one target.

    `idle` may contain connections that have died, until they are taken out. `open` counts
    connections, idle ones and tunnels included. While requests wait, `offer` is called with each
    released connection, and returns whether a request has taken it; while it is set, the object
    stays.
    """

    __slots__ = ("idle", "offer", "open", "shared", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.idle: list[C] = []
        self.open = 0
        self.offer: Callable[[C], bool] | None = None
        # The shared connections; of each, `idle` and `open` have the places for one request.
        self.shared: list[Sharer] = []

    def count_room(self) -> int:
        """Return how many more requests the shared connections can take."""
        room = 0
        for sharer in self.shared:
            room += sharer.count_room()
        return room

    def wake(self) -> None:
        """Requests wait, if shared connections have room for them."""
        for sharer in self.shared:
            sharer.wake()


class Pool(Generic[C]):
    """Idle connections of all targets, `max_idle` at a time, each for `idle_timeout` seconds.

    None is kept while more than `max_open` are open, idle or not. With a timeout of 0 none is kept,
    and `keeps_alive` is False.
    """

    __slots__ = (
        "_count", "_idle_timeout", "_last", "_max_idle", "_max_open", "_open", "_targets",
        "keeps_alive",
    )  # fmt: skip

    def __init__(
        self, max_idle: int | None, idle_timeout: float, max_open: int | None = None
    ) -> None:
        self.keeps_alive = idle_timeout > 0
        self._max_idle = UNLIMITED if max_idle is None else max_idle
        if not self.keeps_alive:
            self._max_idle = 0
        self._max_open = UNLIMITED if max_open is None else max_open
        self._idle_timeout = idle_timeout
        self._targets: dict[Target, TargetPool[C]] = {}
        # That of the last lease: the router returns one object per port, and the hash of a target
        # is computed each time.
        self._last: TargetPool[C] | None = None
        self._count = 0
        self._open = 0

    def target_pool(self, target: Target) -> TargetPool[C]:
        """Return what is known of `target`; the same object as long as it is in use."""
        target_pool = self._targets.get(target)
        if target_pool is None:
            target_pool = self._targets[target] = TargetPool(target)
        return target_pool

    def opened(self, target_pool: TargetPool[C]) -> None:
        """Count a connection that has been made."""
        target_pool.open += 1
        self._open += 1

    def closed(self, target_pool: TargetPool[C]) -> None:
        """Stop counting a connection that was counted."""
        target_pool.open -= 1
        self._open -= 1

    def lease(self, target: Target) -> C | None:
        """Take the newest idle connection to `target`, or None."""
        target_pool = self._last
        if target_pool is None or target_pool.target is not target:
            target_pool = self._targets.get(target)
            if target_pool is None:
                return None
            self._last = target_pool
        idle = target_pool.idle
        while idle:
            connection = idle.pop()
            if connection.is_idle:
                connection.is_idle = False
                self._count -= 1
                return connection
        return None

    def give_back(self, target_pool: TargetPool[C], connection: C, now: float) -> bool:
        """Keep a connection that is idle from `now` on; return False if it must be closed."""
        if self._count >= self._max_idle or self._open > self._max_open:
            return False
        connection.idle_since = now
        connection.is_idle = True
        target_pool.idle.append(connection)
        self._count += 1
        return True

    def discard(self, connection: C) -> None:
        """Forget an idle connection that has died; do nothing if it is not idle."""
        if connection.is_idle:
            connection.is_idle = False
            self._count -= 1

    def make_room(self) -> C | None:
        """Take out an idle connection that must be closed before another may be opened."""
        if self._open < self._max_open or not self._count:
            return None
        for target_pool in self._targets.values():
            for index, connection in enumerate(target_pool.idle):
                if connection.is_idle:
                    del target_pool.idle[: index + 1]
                    self.discard(connection)
                    return connection
        return None

    def expired(self, now: float) -> list[C]:
        """Take out the connections that have expired; the caller closes them."""
        expired_since = now - self._idle_timeout
        taken: list[C] = []
        for target in list(self._targets):
            target_pool = self._targets[target]
            idle = target_pool.idle
            count = 0
            while count < len(idle) and (
                not idle[count].is_idle or idle[count].idle_since <= expired_since
            ):
                if idle[count].is_idle:
                    idle[count].is_idle = False
                    taken.append(idle[count])
                count += 1
            del idle[:count]
            is_unused = not idle and not target_pool.open and not target_pool.shared
            if is_unused and target_pool.offer is None:
                del self._targets[target]
                self._last = None
        self._count -= len(taken)
        return taken

    def drain(self) -> list[C]:
        """Take out all idle connections, which the caller closes, and keep none from now on."""
        self.keeps_alive = False
        taken: list[C] = []
        for target_pool in self._targets.values():
            taken += [connection for connection in target_pool.idle if connection.is_idle]
            target_pool.idle.clear()
        for connection in taken:
            connection.is_idle = False
        self._count = 0
        return taken

    def count_surplus(self) -> tuple[int, int]:
        """Return how many more places than connections there are, in all and of the idle ones."""
        places = idle = 0
        for target_pool in self._targets.values():
            for sharer in target_pool.shared:
                more, more_idle = sharer.count_surplus()
                places += more
                idle += more_idle
        return places, idle

    def __len__(self) -> int:
        """Return how many are idle, among them the idle places on shared connections."""
        return self._count

    def __repr__(self) -> str:
        counts = {
            target_pool.target.authority(): sum(idle.is_idle for idle in target_pool.idle)
            for target_pool in self._targets.values()
        }
        targets = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
        return f"<Pool {self._count} idle{f' ({targets})' if targets else ''}>"

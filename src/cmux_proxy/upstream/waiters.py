"""The requests that wait for a connection to one target, oldest first.

Pure: time is passed in. Knows which request is next, and which has waited too long. Neighbour:
`target_queue.py` dials for them and calls their owners.
"""

from collections import OrderedDict
from collections.abc import Iterator
from math import inf

from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner


class Waiter:
    """One request; with `needs_fresh` it takes no connection that was used before.

    It waits since `since`, and waits until `retry_until` for a port that refuses.
    """

    __slots__ = ("needs_fresh", "number", "owner", "retry_until", "since", "target")

    def __init__(
        self,
        target: Target,
        owner: UpstreamOwner,
        now: float,
        retry_seconds: float,
        needs_fresh: bool,
    ) -> None:
        self.target = target
        self.owner = owner
        self.since = now
        self.retry_until = now + retry_seconds
        self.needs_fresh = needs_fresh
        # Its number in the order of arrival, from 1 on.
        self.number = 0

    def take(self, connection: UpstreamConnection) -> None:
        """Give a connection to the owner."""
        connection.owner = self.owner
        self.owner.upstream_connected(connection)


class Waiters:
    """All requests that wait; `last` is the number of the newest, also if it has left.

    A refusal ends the attempt for which they waited, so their time to wait starts again at
    `refused_at`.
    """

    __slots__ = ("_fresh", "_shared", "last", "refused_at")

    def __init__(self) -> None:
        # Two queues, so that the next one for a used connection is found without a search.
        self._shared: OrderedDict[int, Waiter] = OrderedDict()
        self._fresh: OrderedDict[int, Waiter] = OrderedDict()
        self.last = 0
        self.refused_at = -inf

    def add(self, waiter: Waiter) -> None:
        """Let a request wait behind all others."""
        self.last += 1
        waiter.number = self.last
        self._queue_of(waiter)[waiter.number] = waiter

    def remove(self, waiter: Waiter) -> None:
        """Forget a request; do nothing if it does not wait any more."""
        queue = self._queue_of(waiter)
        if queue.get(waiter.number) is waiter:
            del queue[waiter.number]

    def pop_for_used(self) -> Waiter | None:
        """Take out the oldest that accepts a connection that was used before."""
        return self._shared.popitem(last=False)[1] if self._shared else None

    def pop_for_fresh(self) -> Waiter | None:
        """Take out the oldest of all."""
        queues = [queue for queue in (self._shared, self._fresh) if queue]
        if not queues:
            return None
        return min(queues, key=_first_number).popitem(last=False)[1]

    def pop_timed_out(self, now: float, timeout: float) -> list[Waiter]:
        """Take out those that have waited for `timeout` seconds."""
        timed_out = []
        for queue in (self._shared, self._fresh):
            while queue and self._waits_since(_first(queue)) + timeout <= now:
                timed_out.append(queue.popitem(last=False)[1])
        return timed_out

    def next_timeout(self, timeout: float) -> float:
        """Return when the next one will have waited for `timeout` seconds."""
        starts = [
            self._waits_since(_first(queue)) for queue in (self._shared, self._fresh) if queue
        ]
        return min(starts, default=inf) + timeout

    def pop_up_to(self, number: int) -> list[Waiter]:
        """Take out those that came no later than number `number`."""
        return self._pop([waiter for waiter in self if waiter.number <= number])

    def pop_refused(self, number: int, now: float) -> list[Waiter]:
        """Take out those of them that do not wait any longer for a port that refuses."""
        return self._pop(
            [waiter for waiter in self if waiter.number <= number and waiter.retry_until <= now]
        )

    def next_retry_end(self) -> float:
        """Return when the first of them stops waiting for a port that refuses."""
        return min((waiter.retry_until for waiter in self), default=inf)

    def _pop(self, waiters: list[Waiter]) -> list[Waiter]:
        for waiter in waiters:
            self.remove(waiter)
        return waiters

    def _waits_since(self, waiter: Waiter) -> float:
        return max(waiter.since, self.refused_at)

    def _queue_of(self, waiter: Waiter) -> OrderedDict[int, Waiter]:
        return self._fresh if waiter.needs_fresh else self._shared

    def __iter__(self) -> Iterator[Waiter]:
        yield from self._shared.values()
        yield from self._fresh.values()

    def __len__(self) -> int:
        return len(self._shared) + len(self._fresh)


def _first(queue: OrderedDict[int, Waiter]) -> Waiter:
    return next(iter(queue.values()))


def _first_number(queue: OrderedDict[int, Waiter]) -> int:
    return next(iter(queue))

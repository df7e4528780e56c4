"""The requests that wait for a connection to one target, oldest first.

Pure: time is passed in. Knows who is next and who has waited too long. Neighbour: `dialer.py`,
which dials for them and tells them.
"""

from collections import OrderedDict
from collections.abc import Iterator
from math import inf

from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner


class Waiter:
    """One request; with `needs_fresh` it takes no connection that was used before.

    It waits since `since`, and while the port refuses until `patient_until`.
    """

    __slots__ = ("needs_fresh", "number", "owner", "patient_until", "since", "target")

    def __init__(
        self, target: Target, owner: UpstreamOwner, now: float, patience: float, needs_fresh: bool
    ) -> None:
        self.target = target
        self.owner = owner
        self.since = now
        self.patient_until = now + patience
        self.needs_fresh = needs_fresh
        # Its place in the order, from 1 on.
        self.number = 0

    def take(self, connection: UpstreamConnection) -> None:
        """Take a connection, which is the owner's from now on."""
        connection.owner = self.owner
        self.owner.upstream_connected(connection)


class Waiters:
    """All who wait; `last` is the number of the last who came, whether or not it still waits.

    A refusal ends the attempt for which they waited, so from `refused_at` on they wait anew.
    """

    __slots__ = ("_fresh", "_shared", "last", "refused_at")

    def __init__(self) -> None:
        # Two queues, so that the next one for a used connection is not searched for.
        self._shared: OrderedDict[int, Waiter] = OrderedDict()
        self._fresh: OrderedDict[int, Waiter] = OrderedDict()
        self.last = 0
        self.refused_at = -inf

    def join(self, waiter: Waiter) -> None:
        """Let a request wait behind all others."""
        self.last += 1
        waiter.number = self.last
        self._queue_of(waiter)[waiter.number] = waiter

    def leave(self, waiter: Waiter) -> None:
        """Forget a request; one that does not wait any more is no concern of ours."""
        queue = self._queue_of(waiter)
        if queue.get(waiter.number) is waiter:
            del queue[waiter.number]

    def next_for_used(self) -> Waiter | None:
        """Take out the oldest that takes a connection that was used before."""
        return self._shared.popitem(last=False)[1] if self._shared else None

    def next_for_fresh(self) -> Waiter | None:
        """Take out the oldest of all."""
        queues = [queue for queue in (self._shared, self._fresh) if queue]
        if not queues:
            return None
        return min(queues, key=_first_number).popitem(last=False)[1]

    def late(self, now: float, timeout: float) -> list[Waiter]:
        """Take out those that have waited for `timeout` seconds."""
        taken = []
        for queue in (self._shared, self._fresh):
            while queue and self._begin(_first(queue)) + timeout <= now:
                taken.append(queue.popitem(last=False)[1])
        return taken

    def next_late(self, timeout: float) -> float:
        """Return when the next one will have waited for `timeout` seconds."""
        begins = [self._begin(_first(queue)) for queue in (self._shared, self._fresh) if queue]
        return min(begins, default=inf) + timeout

    def up_to(self, number: int) -> list[Waiter]:
        """Take out those that came no later than number `number`."""
        return self._take([one for one in self if one.number <= number])

    def impatient(self, number: int, now: float) -> list[Waiter]:
        """Take out those of them that do not wait for a port that refuses."""
        return self._take(
            [one for one in self if one.number <= number and one.patient_until <= now]
        )

    def patience(self) -> float:
        """Return when the first of them loses patience."""
        return min((one.patient_until for one in self), default=inf)

    def _take(self, chosen: list[Waiter]) -> list[Waiter]:
        for waiter in chosen:
            self.leave(waiter)
        return chosen

    def _begin(self, waiter: Waiter) -> float:
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

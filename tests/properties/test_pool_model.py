"""The pool against a model: no connection leased twice, the limits hold, nothing leaks.

A request that finds no connection waits, and gets the next connection that is released.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.pool import Pool
from tests.helpers.fakes import FakeStream, World

TARGETS = [Target("127.0.0.1", 1), Target("127.0.0.1", 2), Target("::1", 1)]
LIMITS = st.integers(0, 4)
targets = st.sampled_from(TARGETS)
numbers = st.integers(0, 30)
WORLD = World()
READ_SIZE: ReadSize = WORLD.services.read_size


class PoolModel(RuleBasedStateMachine):
    """Every connection is in use, idle or closed, and in one list of the model only."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        # A pool that was drained keeps no connection.
        self.is_drained = False
        self.in_use: list[UpstreamConnection] = []
        self.idle: dict[Target, list[UpstreamConnection]] = {target: [] for target in TARGETS}
        self.closed: list[UpstreamConnection] = []

    @initialize(total=st.one_of(LIMITS, st.none()), idle=st.integers(1, 3), room=LIMITS)
    def begin(self, total: int | None, idle: int, room: int) -> None:
        self.total = 1000 if total is None else total
        self.idle_seconds = idle
        self.room = room
        self.pool: Pool[UpstreamConnection] = Pool(total, float(idle), room)

    def count(self) -> int:
        return sum(map(len, self.idle.values()))

    @rule(upstream=targets)
    def dial(self, upstream: Target) -> None:
        self.connect(upstream)

    def connect(self, target: Target) -> None:
        is_full = len(self.open_connections()) >= self.room and self.count() > 0
        evicted = self.pool.make_room()
        assert (evicted is not None) is is_full
        if evicted is not None:
            assert evicted is self.idle[evicted.target][0]
            self.forget([evicted])
        connection = UpstreamConnection(target, self.pool, READ_SIZE)
        transport = FakeStream(WORLD, "upstream")
        transport.set_protocol(connection)
        connection.connection_made(transport)
        self.in_use.append(connection)

    def idle_connections(self) -> list[UpstreamConnection]:
        """Return all idle connections."""
        return [connection for idle in self.idle.values() for connection in idle]

    def open_connections(self) -> list[UpstreamConnection]:
        """Return all open connections."""
        return self.in_use + self.idle_connections()

    @rule(upstream=targets)
    def wait_and_take(self, upstream: Target) -> None:
        """Wait for a connection in use, and get it when it is released."""
        busy = [connection for connection in self.in_use if connection.target == upstream]
        if self.is_drained or not busy or self.idle[upstream]:
            return
        taken: list[UpstreamConnection] = []

        def takes(connection: UpstreamConnection) -> bool:
            taken.append(connection)
            return True

        target_pool = self.pool.target_pool(upstream)
        target_pool.offer = takes
        busy[0].release(self.now)
        target_pool.offer = None
        assert taken == busy[:1]
        assert self.pool.lease(upstream) is None

    @rule(upstream=targets)
    def lease(self, upstream: Target) -> None:
        leased = self.pool.lease(upstream)
        if self.idle[upstream]:
            assert leased is self.idle[upstream].pop()
            assert leased not in self.in_use
            self.in_use.append(leased)
        else:
            assert leased is None

    @precondition(lambda self: self.in_use)
    @rule(number=numbers)
    def release(self, number: int) -> None:
        connection = self.in_use.pop(number % len(self.in_use))
        target = connection.target
        is_open = len(self.open_connections()) + 1
        has_room = self.count() < self.total and is_open <= self.room and not self.is_drained
        connection.release(self.now)
        assert connection.transport.is_closing() is not has_room
        if has_room:
            assert connection.idle_since == self.now
            self.idle[target].append(connection)
        else:
            self.closed.append(connection)

    @precondition(lambda self: self.count())
    @rule(number=numbers)
    def lose_an_idle_connection(self, number: int) -> None:
        idle_connections = self.idle_connections()
        connection = idle_connections[number % len(idle_connections)]
        connection.connection_lost(None)
        self.idle[connection.target].remove(connection)
        self.closed.append(connection)

    @precondition(lambda self: self.in_use or self.closed)
    @rule(number=numbers)
    def lose_another_connection(self, number: int) -> None:
        others = self.in_use + self.closed
        self.pool.discard(others[number % len(others)])

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 2.5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        before = self.now - self.idle_seconds
        old = [
            connection for connection in self.idle_connections() if connection.idle_since <= before
        ]
        expired = self.pool.expired(self.now)
        assert sorted(map(id, expired)) == sorted(map(id, old))
        self.forget(expired)
        expected = ", ".join(
            f"{target.authority()}: {len(idle)}" for target, idle in self.idle.items() if idle
        )
        assert self.counts(repr(self.pool)) == self.counts(expected)

    @rule()
    def drain(self) -> None:
        idle_connections = self.idle_connections()
        drained = self.pool.drain()
        self.is_drained = True
        assert sorted(map(id, drained)) == sorted(map(id, idle_connections))
        self.forget(drained)
        assert repr(self.pool) == "<Pool 0 idle>"

    def forget(self, connections: list[UpstreamConnection]) -> None:
        for connection in connections:
            self.idle[connection.target].remove(connection)
            self.closed.append(connection)
            connection.close()

    @staticmethod
    def counts(summary: str) -> set[str]:
        """Return the targets that a summary names, each with its number."""
        inner = summary.partition("(")[2].partition(")")[0] if "(" in summary else summary
        return {part for part in inner.split(", ") if part and "idle" not in part}

    @invariant()
    def the_pool_counts_idle_connections(self) -> None:
        assert len(self.pool) == self.count() <= self.total

    @invariant()
    def the_pool_counts_open_connections(self) -> None:
        for target in TARGETS:
            opened = [one for one in self.open_connections() if one.target == target]
            assert self.pool.target_pool(target).open == len(opened)

    @invariant()
    def every_connection_is_in_one_list(self) -> None:
        connections = self.in_use + self.closed + self.idle_connections()
        assert len(set(map(id, connections))) == len(connections)


PoolModel.TestCase.settings = settings(stateful_step_count=40)
TestThePoolEqualsItsModel = PoolModel.TestCase

"""The pool against a model: no connection leased twice, the limits hold, nothing leaks.

Some who find no connection wait: then a connection that is released is theirs.
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
READ_SIZE: ReadSize = WORLD.context.read_size


class PoolModel(RuleBasedStateMachine):
    """Every connection is in use, idle in the model's lists, or closed; never two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
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

    @rule(to=targets)
    def dial(self, to: Target) -> None:
        self.connect(to)

    def connect(self, to: Target) -> None:
        is_full = len(self.everyone()) >= self.room and self.count() > 0
        given_up = self.pool.make_room()
        assert (given_up is not None) is is_full
        if given_up is not None:
            assert given_up is self.idle[given_up.target][0]
            self.forget([given_up])
        connection = UpstreamConnection(to, self.pool, READ_SIZE)
        transport = FakeStream(WORLD, "upstream")
        transport.set_protocol(connection)
        connection.connection_made(transport)
        self.in_use.append(connection)

    def everyone(self) -> list[UpstreamConnection]:
        """Return all that are open."""
        return self.in_use + [each for idle in self.idle.values() for each in idle]

    @rule(to=targets)
    def wait_and_take(self, to: Target) -> None:
        """Wait for a connection that somebody else has, and get it when it is released."""
        busy = [each for each in self.in_use if each.target == to]
        if not busy or self.idle[to]:
            return
        taken: list[UpstreamConnection] = []

        def takes(connection: UpstreamConnection) -> bool:
            taken.append(connection)
            return True

        target_pool = self.pool.of(to)
        target_pool.offer = takes
        busy[0].release(self.now)
        target_pool.offer = None
        assert taken == busy[:1]
        assert self.pool.lease(to) is None

    @rule(to=targets)
    def lease(self, to: Target) -> None:
        leased = self.pool.lease(to)
        if self.idle[to]:
            assert leased is self.idle[to].pop()
            assert leased not in self.in_use
            self.in_use.append(leased)
        else:
            assert leased is None

    @precondition(lambda self: self.in_use)
    @rule(number=numbers)
    def give_back(self, number: int) -> None:
        connection = self.in_use.pop(number % len(self.in_use))
        target = connection.target
        is_open = len(self.everyone()) + 1
        has_room = self.count() < self.total and is_open <= self.room
        connection.release(self.now)
        assert connection.transport.is_closing() is not has_room
        if has_room:
            assert connection.idle_since == self.now
            self.idle[target].append(connection)
        else:
            self.closed.append(connection)

    @precondition(lambda self: self.count())
    @rule(number=numbers)
    def die_idle(self, number: int) -> None:
        everyone = [each for idle in self.idle.values() for each in idle]
        connection = everyone[number % len(everyone)]
        connection.connection_lost(None)
        self.idle[connection.target].remove(connection)
        self.closed.append(connection)

    @precondition(lambda self: self.in_use or self.closed)
    @rule(number=numbers)
    def die_elsewhere(self, number: int) -> None:
        others = self.in_use + self.closed
        self.pool.discard(others[number % len(others)])

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 2.5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        before = self.now - self.idle_seconds
        old = [each for idle in self.idle.values() for each in idle if each.idle_since <= before]
        expired = self.pool.expired(self.now)
        assert sorted(map(id, expired)) == sorted(map(id, old))
        self.forget(expired)
        held = ", ".join(f"{to.authority()}: {len(idle)}" for to, idle in self.idle.items() if idle)
        assert self.counts(repr(self.pool)) == self.counts(held)

    @rule()
    def drain(self) -> None:
        everyone = [each for idle in self.idle.values() for each in idle]
        drained = self.pool.drain()
        assert sorted(map(id, drained)) == sorted(map(id, everyone))
        self.forget(drained)
        assert repr(self.pool) == "<Pool 0 idle>"

    def forget(self, connections: list[UpstreamConnection]) -> None:
        for connection in connections:
            self.idle[connection.target].remove(connection)
            self.closed.append(connection)
            connection.close()

    @staticmethod
    def counts(shown: str) -> set[str]:
        """Return the targets that a summary names, each with its number."""
        inner = shown.partition("(")[2].partition(")")[0] if "(" in shown else shown
        return {part for part in inner.split(", ") if part and "idle" not in part}

    @invariant()
    def the_pool_counts_what_is_idle(self) -> None:
        assert len(self.pool) == self.count() <= self.total

    @invariant()
    def the_pool_counts_what_is_open(self) -> None:
        for to in TARGETS:
            mine = [each for each in self.everyone() if each.target == to]
            assert self.pool.of(to).open == len(mine)

    @invariant()
    def every_connection_is_in_one_place(self) -> None:
        everyone = (
            self.in_use + self.closed + [each for idle in self.idle.values() for each in idle]
        )
        assert len(set(map(id, everyone))) == len(everyone)


PoolModel.TestCase.settings = settings(stateful_step_count=40)
TestThePoolDoesWhatItsModelDoes = PoolModel.TestCase

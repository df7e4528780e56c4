"""Deadlines that one ticker walks, with a clock of the test's own."""

import pytest

from cmux_proxy import Target
from cmux_proxy.relay.deadlines import NEVER, TICK, Timed
from cmux_proxy.upstream.connection import UpstreamOwner
from tests.helpers.fakes import FakeLoop, FakeTransport, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def answer(world: World) -> tuple[FakeTransport, FakeTransport]:
    """Return a client that has its answer, and the upstream connection, idle now."""
    client, upstream = world.ask(GET)
    upstream.arrives(OK)
    assert client.got == OK
    return client, upstream


def tick(loop: FakeLoop) -> None:
    """Call the one timer, at its time."""
    [(when, callback)] = loop.timers
    loop.timers.clear()
    loop.now = when
    callback()


def test_nothing_has_a_deadline_unless_it_is_set() -> None:
    assert Timed().deadline == NEVER


def test_a_deadline_is_met_when_it_is_due_and_not_before() -> None:
    world = World()
    client = world.client()
    idle = world.config.timeouts.idle
    assert idle is not None
    world.walk(idle - 0.1)
    assert not client.is_over()
    world.walk(0.1)
    assert client.is_over()


def test_the_ticker_ticks_until_it_is_stopped() -> None:
    world = World()
    loop, ticker = world.loop, world.context.ticker
    ticker.start()
    begun = loop.now
    for count in range(1, 4):
        tick(loop)
        assert ticker.now == loop.now == begun + count * TICK
    ticker.stop()
    assert loop.timers == []
    ticker.stop()


def test_a_tick_acts_on_what_is_due() -> None:
    world = World()
    client = world.client()
    [timed] = world.context.clients
    timed.deadline = world.loop.now + TICK
    world.context.ticker.start()
    tick(world.loop)
    assert client.is_over()


def test_upstream_connections_that_were_idle_for_too_long_are_closed() -> None:
    world = World()
    _client, upstream = answer(world)
    world.walk(world.config.pool.idle - 0.1)
    assert not upstream.is_over()
    world.walk(0.1)
    assert upstream.is_over()
    assert len(world.context.pool) == 0


def test_the_idle_time_of_an_upstream_connection_begins_when_it_is_given_back() -> None:
    world = World()
    client, upstream = answer(world)
    world.walk(world.config.pool.idle - 1)
    client.arrives(GET)
    world.walk(0.5)
    upstream.arrives(OK)
    world.walk(world.config.pool.idle - 0.1)
    assert not upstream.is_over()


def test_connections_that_come_and_go_during_a_walk_do_no_harm() -> None:
    world = World()
    clients = [world.client() for _ in range(5)]
    for client in clients:
        client.arrives(b"GET ")
    # Each of them is answered with 408, and its place is taken by a lingering close.
    head_timeout = world.config.timeouts.head
    assert head_timeout is not None
    world.walk(head_timeout)
    assert all(client.got.startswith(b"HTTP/1.1 408 ") for client in clients)
    assert len(world.context.clients) == 5
    world.walk(world.config.timeouts.linger)
    world.run()
    assert not world.context.clients


@pytest.mark.parametrize("method", ["deadline_passed", "abort"])
def test_whoever_has_a_deadline_says_what_that_means(method: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(Timed(), method)()


def test_a_drain_means_nothing_unless_somebody_says_so() -> None:
    timed = Timed()
    timed.drain()
    assert timed.deadline == NEVER


def test_a_pool_knows_nothing_of_owners() -> None:
    world = World()
    _client, _upstream = answer(world)
    [connection] = world.context.pool.drain()
    assert connection.owner is None
    assert connection.target == Target("127.0.0.1", 80)
    assert not isinstance(connection, UpstreamOwner)

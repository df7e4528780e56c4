"""Deadlines that one ticker walks, with a clock of the test's own."""

import pytest

from cmux_proxy import Config, Target, Timeouts
from cmux_proxy.net.timers import CHECK_INTERVAL, NEVER, TICK, Ticker, Timed, Unread
from cmux_proxy.upstream.connection import UpstreamOwner
from tests.helpers.fakes import FakeLoop, FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def answer(world: World) -> tuple[FakeStream, FakeStream]:
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
    loop, ticker = world.loop, world.services.ticker
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
    [timed] = world.services.registry.clients
    timed.deadline = world.loop.now + TICK
    world.services.ticker.start()
    tick(world.loop)
    assert client.is_over()


def test_upstream_connections_that_were_idle_for_too_long_are_closed() -> None:
    world = World()
    _client, upstream = answer(world)
    world.walk(world.config.timeouts.upstream_idle - 0.1)
    assert not upstream.is_over()
    world.walk(0.1)
    assert upstream.is_over()
    assert len(world.services.pool) == 0


def test_the_idle_time_of_an_upstream_connection_begins_when_it_is_given_back() -> None:
    world = World()
    client, upstream = answer(world)
    world.walk(world.config.timeouts.upstream_idle - 1)
    client.arrives(GET)
    world.walk(0.5)
    upstream.arrives(OK)
    world.walk(world.config.timeouts.upstream_idle - 0.1)
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
    assert len(world.services.registry.lingering) == 5
    world.walk(world.config.timeouts.linger)
    world.run()
    assert not world.services.registry.clients


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
    [connection] = world.services.pool.drain()
    assert connection.owner is None
    assert connection.target == Target("127.0.0.1", 80)
    assert not isinstance(connection, UpstreamOwner)


# Bodies and tunnels

SLOW = Config(timeouts=Timeouts(body=10, response_idle=10, response=20, tunnel=10))
POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 100")
BODY = head("HTTP/1.1 200 OK", "Content-Length: 100")


def upload(answer: bytes = b"") -> tuple[World, FakeStream, FakeStream]:
    """Return a client that sends a body, and its upstream."""
    world = World(SLOW)
    client = world.client()
    client.arrives(POST + b"one")
    upstream = world.dial().succeeds()
    upstream.arrives(answer)
    return world, client, upstream


def download() -> tuple[World, FakeStream, FakeStream]:
    """Return a client that gets a body, and its upstream."""
    world = World(SLOW)
    client = world.client()
    client.arrives(GET)
    upstream = world.dial().succeeds()
    upstream.arrives(BODY + b"one")
    return world, client, upstream


def tunnel() -> tuple[World, FakeStream, FakeStream]:
    """Return a client that has a tunnel, and its upstream."""
    world = World(SLOW)
    client = world.client()
    client.arrives(head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE))
    return world, client, world.dial().succeeds()


def test_every_byte_of_a_body_grants_more_time() -> None:
    world, client, upstream = upload()
    for _ in range(5):
        world.walk(9)
        client.arrives(b"x")
    world.walk(9.9)
    assert not client.got
    world.walk(0.2)
    assert client.got.startswith(b"HTTP/1.1 408 ")
    assert upstream.was_aborted()


def test_the_answer_is_waited_for_from_the_last_byte_of_the_request() -> None:
    world, client, upstream = upload()
    world.walk(9)
    client.arrives(bytes(97))
    world.walk(19.9)
    assert not client.got
    world.walk(0.2)
    assert client.got.startswith(b"HTTP/1.1 504 ")
    assert upstream.was_aborted()


def test_an_upstream_that_reads_nothing_is_told_from_one_that_reads_slowly() -> None:
    world, client, upstream = upload()
    upstream.stops_reading()
    client.arrives(b"waits here")
    for _ in range(5):
        world.walk(9.9)
        upstream.reads_a_little()
        world.walk(0.2)
        assert not client.got
    world.walk(10.1)
    assert client.got.startswith(b"HTTP/1.1 504 ")
    assert b"did not read the request body in time" in client.got


def test_an_upstream_that_has_read_all_has_no_bonus() -> None:
    world, client, upstream = upload()
    upstream.stops_reading()
    client.arrives(b"waits here")
    upstream.reads_again()
    world.run()
    world.walk(10.1)
    assert client.got.startswith(b"HTTP/1.1 408 ")


def test_a_response_that_makes_no_progress_is_broken_off() -> None:
    world, client, upstream = download()
    for _ in range(5):
        world.walk(9)
        upstream.arrives(b"x")
    world.walk(10.1)
    world.run()
    assert client.got == BODY + b"onexxxxx"
    assert client.is_over()
    assert upstream.was_aborted()


def test_a_client_that_reads_slowly_gets_its_answer() -> None:
    world, client, upstream = download()
    client.stops_reading()
    upstream.arrives(b"waits here")
    for _ in range(5):
        world.walk(9.9)
        client.reads_a_little()
        world.walk(0.2)
        assert not client.is_over()
    world.walk(10.1)
    assert client.is_over()


def test_an_answer_that_goes_on_keeps_the_request_alive() -> None:
    world, client, upstream = upload(BODY)
    for _ in range(5):
        world.walk(9)
        upstream.arrives(b"x")
    assert not client.is_over()
    world.walk(10.1)
    assert client.is_over()


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_tunnel_whose_reader_is_slow_is_not_silent(up: bool) -> None:
    world, client, upstream = tunnel()
    sender, reader = (client, upstream) if up else (upstream, client)
    reader.stops_reading()
    sender.arrives(b"waits here")
    for _ in range(5):
        world.walk(9.9)
        reader.reads_a_little()
        world.walk(0.2)
        assert not client.is_over()
    world.walk(10.1)
    world.run()
    assert client.is_lost()
    assert upstream.is_lost()
    assert not world.services.registry.tunnels


def test_a_tunnel_has_no_deadline_unless_it_is_set() -> None:
    world = World()
    world.client().arrives(head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE))
    world.dial().succeeds()
    world.walk(1e9)
    assert len(world.services.registry.tunnels) == 1


# Checks for peers that have left


def test_peers_are_checked_every_few_seconds() -> None:
    loop = FakeLoop()
    checks: list[float] = []
    ticker = Ticker(loop, [], lambda _now: None, lambda: checks.append(ticker.now))
    begun = loop.now
    for seconds in (CHECK_INTERVAL - TICK, CHECK_INTERVAL, 2 * CHECK_INTERVAL - TICK):
        ticker.walk(begun + seconds)
    assert checks == [begun + CHECK_INTERVAL]
    ticker.walk(begun + 2 * CHECK_INTERVAL)
    assert checks == [begun + CHECK_INTERVAL, begun + 2 * CHECK_INTERVAL]


def test_peers_are_checked_at_every_tick_while_it_is_urgent() -> None:
    loop = FakeLoop()
    checks: list[float] = []
    ticker = Ticker(loop, [], lambda _now: None, lambda: checks.append(ticker.now))
    ticker.is_urgent = True
    for count in range(1, 4):
        ticker.walk(loop.now + count * TICK)
        assert len(checks) == count
    ticker.is_urgent = False
    ticker.walk(loop.now + 4 * TICK)
    assert len(checks) == 3


def test_checks_are_urgent_while_clients_wait_because_the_proxy_is_full() -> None:
    world = World()
    world.services.registry.on_change = lambda: None
    world.services.registry.max_clients = 1
    client = world.client()
    assert world.services.ticker.is_urgent
    client.ends()
    world.run()
    assert not world.services.ticker.is_urgent


def test_a_connection_that_is_read_is_not_checked() -> None:
    world = World()
    client, _upstream = world.ask(GET)
    [connection] = world.services.registry.clients
    unread: list[Unread] = []
    connection.add_unread(unread)
    assert not unread
    client.ends()
    connection.add_unread(unread)
    assert [entry.transport for entry in unread] == [client]
    Timed().add_unread(unread)
    assert len(unread) == 1

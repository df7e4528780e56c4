"""Requests that wait for a connection to one target: which gets it, and how they fail.

Without sockets: dials end as the test decides.
tests/network/test_wait_for_connection.py tests them with sockets.
"""

import pytest

from cmux_proxy import Config, Limits, Timeouts
from cmux_proxy.upstream.connection import UpstreamConnection
from tests.helpers.fakes import FakeDial, FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
RETRYING = head("GET / HTTP/1.1", "Host: a", ROUTE, "X-Cmux-Wait: 60s")
OTHER = head("GET / HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 81")
DISTANT = head("GET / HTTP/1.1", "Host: a", "X-Cmux-Workspace-Internal: a", ROUTE)
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE)
SENT = head("GET / HTTP/1.1", "Host: a")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
CLOSE = head("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 2") + b"ok"
ESTABLISHED = head("HTTP/1.1 200 Connection established")


def ask(world: World, request: bytes = GET) -> FakeStream:
    client = world.client()
    client.arrives(request)
    return client


def under_way(world: World) -> list[FakeDial]:
    return [dial for dial in world.dials if not dial.is_over]


def pause(world: World) -> float:
    """Let the pause before the next dials pass; return how long it was."""
    when = min(at for at, _ in world.loop.timers)
    seconds = when - world.loop.now
    world.loop.now = when
    world.loop.ring()
    return seconds


def busy(world: World) -> tuple[FakeStream, FakeStream]:
    """Return a client and the upstream that it waits for."""
    client = ask(world)
    return client, under_way(world)[0].succeeds()


def full(world: World, request: bytes = GET) -> FakeStream:
    """Return a client whose dial was not answered."""
    client = ask(world, request)
    under_way(world)[-1].times_out()
    assert under_way(world) == []
    return client


# Which request gets a connection


def test_the_oldest_request_takes_the_connection_that_becomes_free_first() -> None:
    world = World()
    first, upstream = busy(world)
    second, third = full(world), ask(world)
    upstream.got = b""
    upstream.arrives(OK)
    assert first.got == OK
    assert upstream.got == SENT
    upstream.arrives(OK)
    assert (second.got, upstream.got) == (OK, SENT + SENT)
    upstream.arrives(OK)
    assert third.got == OK
    assert len(world.services.pool) == 1


def test_the_oldest_request_takes_the_connection_that_was_dialled_for_another() -> None:
    world = World()
    clients = [ask(world) for _ in range(3)]
    dials = under_way(world)
    assert len(dials) == 3
    dials[2].succeeds().arrives(OK)
    assert [client.got for client in clients] == [OK, b"", b""]
    # Its connection was free again, and became the second's.
    world.upstreams[0].arrives(OK)
    assert [client.got for client in clients] == [OK, OK, b""]


def test_a_dial_whose_request_has_another_connection_is_for_the_next_request() -> None:
    world = World()
    _first, upstream = busy(world)
    ask(world)
    [dial] = under_way(world)
    upstream.arrives(OK)
    assert not dial.is_over
    third = ask(world)
    assert under_way(world) == [dial]
    dial.succeeds().arrives(OK)
    assert third.got == OK


def test_a_connection_for_which_no_request_waits_any_more_is_kept() -> None:
    world = World()
    _first, upstream = busy(world)
    second = ask(world)
    [dial] = under_way(world)
    upstream.arrives(OK)
    spare = dial.succeeds()
    assert len(world.services.pool) == 1
    # It may have been closed while it was idle, as any other.
    third = ask(world)
    assert spare.got == SENT
    spare.breaks()
    world.run()
    world.dial().succeeds().arrives(OK)
    upstream.arrives(OK)
    assert (second.got, third.got) == (OK, OK)


def test_a_lost_connection_is_not_handed_over() -> None:
    world = World()
    _first, upstream = busy(world)
    second = full(world, head("POST / HTTP/1.1", "Host: a", ROUTE))
    upstream.arrives(OK[:-1])
    upstream.starts_to_close()
    upstream.owner.data_received(OK[-1:])
    assert second.got == b""
    pause(world)
    world.dial().succeeds().arrives(OK)
    assert second.got == OK


def test_a_connection_to_an_address_that_its_name_no_longer_has_is_not_handed_over() -> None:
    world = World()
    _first, upstream = busy(world)
    full(world)
    connection = upstream.get_protocol()
    assert isinstance(connection, UpstreamConnection)
    connection.address = "192.0.2.1"
    upstream.got = b""
    upstream.arrives(OK)
    assert upstream.got == b""


@pytest.mark.parametrize(
    "config",
    [
        Config(timeouts=Timeouts(upstream_idle=0)),
        Config(limits=Limits(idle_upstream_connections=0)),
    ],
    ids=["off", "none"],
)
def test_without_keep_alive_nothing_is_handed_over(config: Config) -> None:
    world = World(config)
    _first, upstream = busy(world)
    second = full(world)
    upstream.arrives(OK)
    # A cap on idle connections leaves those alone that never are.
    assert upstream.is_over() is (config.timeouts.upstream_idle == 0)
    if config.timeouts.upstream_idle == 0:
        pause(world)
        upstream = world.dial().succeeds()
    upstream.arrives(OK)
    assert second.got == OK
    assert upstream.is_over()


def test_a_connect_takes_a_new_connection_in_its_turn() -> None:
    world = World()
    _first, upstream = busy(world)
    tunnel, third = full(world, CONNECT), ask(world)
    upstream.got = b""
    upstream.arrives(OK)
    # The third came later, but takes what the tunnel may not have.
    assert (tunnel.got, upstream.got) == (b"", SENT)
    fourth = ask(world)
    pause(world)
    world.dial().succeeds()
    assert tunnel.got == ESTABLISHED
    world.dial().succeeds().arrives(OK)
    upstream.arrives(OK)
    assert (third.got, fourth.got) == (OK, OK)


def test_a_request_is_sent_again_on_a_new_connection() -> None:
    world = World()
    _first, upstream = busy(world)
    _other, other = busy(world)
    second = full(world)
    upstream.arrives(OK)
    upstream.breaks()
    world.run()
    # Neither this one, which becomes free, nor a second time.
    other.got = b""
    other.arrives(OK)
    assert other.got == b""
    fresh = world.dial().succeeds()
    assert fresh.got == SENT
    fresh.breaks()
    world.run()
    assert second.got.startswith(b"HTTP/1.1 502 ")


def test_a_request_that_is_not_idempotent_is_not_sent_again() -> None:
    world = World()
    _first, upstream = busy(world)
    second = full(world, head("POST / HTTP/1.1", "Host: a", ROUTE))
    upstream.arrives(OK)
    upstream.breaks()
    world.run()
    assert second.got.startswith(b"HTTP/1.1 502 ")
    assert under_way(world) == []


# Who leaves


def test_a_client_that_leaves_makes_room_for_the_next() -> None:
    world = World()
    _first, upstream = busy(world)
    second, third = full(world), ask(world)
    second.breaks()
    world.run()
    upstream.arrives(OK)
    upstream.arrives(OK)
    assert third.got == OK


def test_the_dial_of_a_client_that_leaves_is_cancelled() -> None:
    world = World()
    clients = [ask(world) for _ in range(2)]
    older, younger = under_way(world)
    clients[0].breaks()
    world.run()
    assert (older.is_over, younger.is_over) == (False, True)
    clients[1].breaks()
    world.run()
    assert under_way(world) == []
    assert world.loop.timers == []


def test_a_connection_for_which_no_client_is_left_is_closed() -> None:
    """A service that serves one connection at a time would wait for a request on it."""
    world = World()
    client = ask(world)
    dial = world.dial()
    dial.opens()
    client.breaks()
    world.run()
    assert dial.succeeds().is_over()
    assert len(world.services.pool) == 0
    assert world.loop.timers == []


# Time


def test_the_timeout_starts_when_a_request_starts_to_wait() -> None:
    world = World()
    first, last = ask(world), None
    for _ in range(3):
        world.walk(1)
        ask(world)
    world.walk(1)
    last = ask(world)
    assert len(under_way(world)) == 4
    world.walk(1)
    assert first.got.startswith(b"HTTP/1.1 504 ")
    assert b"no connection to 127.0.0.1:80 within 5 s" in first.got
    assert last.got == b""
    # What hangs is replaced, for those who still wait.
    assert len(under_way(world)) == 4
    for _ in range(4):
        world.walk(1)
    assert last.got.startswith(b"HTTP/1.1 504 ")
    assert under_way(world) == []
    assert world.loop.timers == []


def test_a_dial_that_hangs_is_cancelled_even_if_no_request_waits_for_it() -> None:
    world = World()
    _first, upstream = busy(world)
    ask(world)
    upstream.arrives(OK)
    [dial] = under_way(world)
    world.walk(5)
    assert dial.is_over
    assert world.loop.timers == []


def test_a_target_that_hangs_does_not_hold_others() -> None:
    world = World()
    for _ in range(100):
        ask(world)
    hanging = len(under_way(world))
    assert hanging == 4
    other = ask(world, OTHER)
    under_way(world)[-1].succeeds().arrives(OK)
    assert other.got == OK
    assert len(under_way(world)) == hanging


# The pace


def test_dials_start_a_few_at_a_time_and_more_while_they_succeed() -> None:
    world = World()
    for _ in range(100):
        ask(world)
    counts = []
    while under_way(world):
        counts.append(len(under_way(world)))
        for dial in under_way(world):
            dial.opens()
        for dial in under_way(world)[: counts[-1]]:
            dial.succeeds()
    assert counts == [4, 8, 16, 32, 40]


def test_dials_that_time_out_are_followed_by_one_after_a_pause() -> None:
    world = World()
    for _ in range(10):
        ask(world)
    for dial in under_way(world):
        dial.times_out()
    assert under_way(world) == []
    # A request that comes meanwhile does not make it shorter.
    ask(world)
    assert under_way(world) == []
    started = world.loop.now
    while not under_way(world):
        pause(world)
    assert world.loop.now - started == pytest.approx(0.004)
    assert len(under_way(world)) == 1


def test_more_dials_to_a_distant_target_start_while_none_is_silent_for_long() -> None:
    world = World(Config(upstream_host="192.0.2.1"))
    for _ in range(20):
        ask(world)
    counts = [len(under_way(world))]
    while len(under_way(world)) < 20:
        pause(world)
        counts.append(len(under_way(world)))
    assert counts == [4, 8, 16, 20]
    world.loop.now += 0.25
    for _ in range(100):
        ask(world)
    pause(world)
    assert len(under_way(world)) == 32


# What fails


def test_a_dial_that_fails_fails_all_requests_that_waited_when_it_started() -> None:
    world = World()
    clients = [ask(world) for _ in range(10)]
    dials = under_way(world)
    late = ask(world)
    dials[0].fails()
    for client in clients[:1]:
        assert client.got.startswith(b"HTTP/1.1 502 ")
    while under_way(world):
        under_way(world)[0].fails()
    assert all(client.got.startswith(b"HTTP/1.1 502 ") for client in [*clients, late])
    # Four at once, and one for all who came when these had begun.
    assert len(world.dials) == 5


def test_each_request_has_its_own_time_to_retry() -> None:
    world = World()
    patient, other = ask(world, RETRYING), ask(world)
    for dial in under_way(world):
        dial.fails()
    assert (patient.got, other.got[:13]) == (b"", b"HTTP/1.1 502 ")
    assert pause(world) == pytest.approx(0.025)
    world.dial().succeeds().arrives(OK)
    assert patient.got == OK


def test_a_port_that_refuses_is_dialled_once_at_a_time_for_all_requests() -> None:
    world = World()
    clients = [ask(world, RETRYING) for _ in range(2000)]
    for dial in under_way(world):
        dial.fails()
    count = len(world.dials)
    started = world.loop.now
    while world.loop.now < started + 10:
        if under_way(world):
            world.dial().fails()
        pause(world)
    assert len(world.dials) - count < 50
    while under_way(world):
        for dial in under_way(world):
            dial.opens()
        for dial in under_way(world):
            dial.succeeds().arrives(OK)
            for upstream in world.upstreams:
                upstream.arrives(OK) if upstream.got.count(b"GET") > 1 else None
    assert all(client.got for client in clients)


def test_a_request_that_comes_while_a_port_refuses_fails_at_once() -> None:
    world = World()
    patient = ask(world, RETRYING)
    world.dial().fails()
    assert under_way(world) == []
    other = ask(world)
    world.dial().fails()
    assert (patient.got, other.got[:13]) == (b"", b"HTTP/1.1 502 ")


def test_the_timeout_starts_again_with_each_refusal() -> None:
    world = World(Config(timeouts=Timeouts(connect=5, connect_retry=3600)))
    client = ask(world)
    for _ in range(5):
        world.walk(4)
        world.dial().fails()
        pause(world)
    assert client.got == b""
    world.walk(5)
    assert client.got.startswith(b"HTTP/1.1 504 ")


# The limit


def test_the_limit_counts_the_requests_that_wait() -> None:
    world = World(Config(limits=Limits(upstream_connections=10)))
    clients = [ask(world) for _ in range(10)]
    assert len(under_way(world)) == 4
    assert ask(world).got.startswith(b"HTTP/1.1 503 ")
    clients[0].breaks()
    world.run()
    assert ask(world).got == b""
    assert ask(world).got.startswith(b"HTTP/1.1 503 ")


def test_a_dial_for_which_no_request_waits_counts() -> None:
    world = World(Config(limits=Limits(upstream_connections=2)))
    _first, upstream = busy(world)
    ask(world)
    upstream.arrives(OK)
    third = ask(world)
    assert third.got == b""
    assert ask(world).got.startswith(b"HTTP/1.1 503 ")
    world.dial().succeeds().arrives(OK)
    assert third.got == OK

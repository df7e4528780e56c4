"""The two directions of a tunnel: bytes, ends, losses and back-pressure.

The streams are fakes (`tests/helpers/fakes.py`): no socket, no event loop, no real time.
"""

from collections.abc import Callable

import pytest

from cmux_proxy import Config, Timeouts
from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE)
UPGRADE = head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: upgrade", "Upgrade: x")
SWITCHING = head("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: x")
ESTABLISHED = head("HTTP/1.1 200 Connection established")


def tunnel(world: World, up: bool = True) -> tuple[FakeStream, FakeStream]:
    """Return both ends of a new tunnel; the client is the first one if `up`."""
    client, upstream = world.ask(CONNECT)
    assert client.got == ESTABLISHED
    client.got = b""
    return (client, upstream) if up else (upstream, client)


either_way = pytest.mark.parametrize("up", [True, False], ids=["up", "down"])


@either_way
def test_bytes_are_forwarded_unchanged(up: bool) -> None:
    side, other = tunnel(World(), up)
    side.arrives(b"\x00any bytes\r\n\r\n")
    side.arrives(b"GET / HTTP/1.1\r\n\r\n")
    assert other.got == b"\x00any bytes\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    assert side.got == b""


@either_way
def test_a_side_that_stops_reading_pauses_the_other_after_one_write(up: bool) -> None:
    world = World()
    side, other = tunnel(world, up)
    other.stops_reading()
    side.arrives(b"first")
    assert not side.is_reading()
    side.arrives(b"second")
    assert other.held == b"first"
    other.reads_again()
    world.run()
    assert other.got == b"firstsecond"
    assert side.is_reading()


@either_way
def test_the_opposite_direction_flows_while_one_is_paused(up: bool) -> None:
    world = World()
    side, other = tunnel(world, up)
    other.stops_reading()
    side.arrives(b"x")
    other.arrives(b"y")
    assert side.got == b"y"


@either_way
def test_a_half_close_is_passed_on_and_the_other_direction_stays_open(up: bool) -> None:
    world = World()
    side, other = tunnel(world, up)
    side.arrives(b"last")
    side.ends()
    assert (other.got, other.has_sent_end()) == (b"last", True)
    assert not side.has_sent_end()
    other.arrives(b"still here")
    assert side.got == b"still here"
    other.ends()
    world.run()
    assert side.is_lost()
    assert other.is_lost()
    assert not world.services.registry.tunnels


@either_way
def test_a_half_close_is_sent_after_the_buffered_bytes_and_once(up: bool) -> None:
    world = World()
    side, other = tunnel(world, up)
    other.stops_reading()
    side.arrives(b"much")
    side.ends()
    assert not other.has_sent_end()
    other.reads_again()
    world.run()
    assert other.has_sent_end()
    # The side that has ended is not read again, because it would report its end again.
    other.stops_reading()
    other.reads_again()
    world.run()
    assert not other.is_over()


@either_way
@pytest.mark.parametrize(
    ("lose", "resets"),
    [
        pytest.param(lambda side: side.breaks(), True, id="reset"),
        pytest.param(lambda side: side.breaks(TimeoutError()), True, id="timeout"),
        pytest.param(lambda side: side.close(), False, id="close"),
    ],
)
def test_a_reset_is_passed_on_as_a_reset_and_a_close_as_a_close(
    lose: Callable[[FakeStream], None], resets: bool, up: bool
) -> None:
    world = World()
    side, other = tunnel(world, up)
    lose(side)
    world.run()
    assert other.is_lost()
    assert other.socket.resets_on_close == resets
    assert other.was_aborted() == resets
    assert not world.services.registry.tunnels


def test_after_a_close_the_other_side_still_gets_the_buffered_bytes() -> None:
    world = World()
    side, other = tunnel(world)
    other.stops_reading()
    side.arrives(b"held")
    side.close()
    world.run()
    assert not other.is_lost()
    other.reads_again()
    world.run()
    assert other.got == b"held"
    assert other.is_lost()


def test_the_response_is_sent_before_the_first_bytes_of_the_upstream() -> None:
    world = World()
    client, upstream = world.ask(UPGRADE + b"from the client")
    upstream.got = b""
    upstream.arrives(SWITCHING + b"from the upstream")
    assert client.got == SWITCHING + b"from the upstream"
    assert upstream.got == b"from the client"
    assert len(world.services.registry.tunnels) == 1
    assert not world.services.registry.clients


def test_early_bytes_and_the_end_of_a_half_closed_client_are_passed_on() -> None:
    world = World()
    client, upstream = world.ask(UPGRADE + b"all")
    client.ends()
    assert not upstream.has_sent_end()
    upstream.got = b""
    upstream.arrives(SWITCHING)
    assert (upstream.got, upstream.has_sent_end()) == (b"all", True)
    upstream.arrives(b"bye")
    assert client.got == SWITCHING + b"bye"
    upstream.ends()
    world.run()
    assert client.is_lost()


def test_early_bytes_that_the_upstream_does_not_read_pause_the_client() -> None:
    world = World()
    client, upstream = world.ask(UPGRADE)
    upstream.stops_reading()
    client.arrives(b"e" * 100_000)
    upstream.arrives(SWITCHING)
    world.run()
    assert len(upstream.held) == 100_000
    client.arrives(b"l" * 100_000)
    assert len(upstream.held) == 100_000
    upstream.got = b""
    upstream.reads_again()
    world.run()
    assert upstream.got == b"e" * 100_000 + b"l" * 100_000


def test_early_bytes_that_the_client_does_not_read_pause_the_upstream() -> None:
    world = World()
    client, upstream = world.ask(UPGRADE)
    client.stops_reading()
    upstream.arrives(SWITCHING + b"early")
    upstream.arrives(b"late")
    assert client.held == SWITCHING + b"early"
    client.reads_again()
    world.run()
    assert client.got == SWITCHING + b"early" + b"late"


def test_a_transport_that_was_full_before_the_upgrade_pauses_the_other_side() -> None:
    world = World()
    client, upstream = world.ask(UPGRADE)
    client.stops_reading()
    upstream.arrives(head("HTTP/1.1 103 Early Hints"))
    upstream.arrives(SWITCHING)
    client.reads_again()
    world.run()
    client.stops_reading()
    upstream.arrives(b"one")
    upstream.arrives(b"two")
    assert client.held == b"one"


def test_a_drain_leaves_a_tunnel_open_and_an_abort_drops_both_sides() -> None:
    world = World()
    client, upstream = tunnel(world)
    [timed] = world.services.registry.tunnels
    timed.drain()
    assert not client.is_over()
    timed.abort()
    world.run()
    assert (client.was_aborted(), upstream.was_aborted()) == (True, True)
    assert not world.services.registry.tunnels


def test_a_deadline_drops_both_sides() -> None:
    world = World()
    client, upstream = tunnel(world)
    [timed] = world.services.registry.tunnels
    timed.deadline_passed()
    world.run()
    assert client.is_lost()
    assert upstream.is_lost()


def test_a_deadline_spares_a_tunnel_whose_side_reads_slowly() -> None:
    world = World(Config(timeouts=Timeouts(tunnel=20)))
    side, other = tunnel(world)
    other.stops_reading()
    side.arrives(b"some bytes")
    for _ in range(5):
        other.reads_a_little()
        world.walk(20)
        assert not side.is_over()
    world.walk(20)
    assert side.was_aborted()
    assert other.was_aborted()


def test_the_server_is_notified_when_a_tunnel_has_closed() -> None:
    world = World()
    client, _upstream = tunnel(world)
    counts: list[int] = []
    registry = world.services.registry
    registry.on_change = lambda: counts.append(len(registry.tunnels))
    client.breaks()
    world.run()
    assert counts == [0]

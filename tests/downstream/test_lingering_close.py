"""Closing by reset, and closing after the client has read."""

import errno

import pytest

from cmux_proxy.downstream.lingering_close import LingeringClose
from cmux_proxy.net.closing import reset, send_end
from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head


class Unplugged(FakeStream):
    """A transport without a socket."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return nothing."""
        return default


class JustReset(FakeStream):
    """A transport whose peer has reset the connection, which its owner does not know yet."""

    def write_eof(self) -> None:
        """Fail as `shutdown` of such a socket does."""
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")


def lingering(world: World) -> FakeStream:
    """Return a refused client that may still send."""
    client = world.client()
    client.arrives(head("POST / HTTP/1.1", "Host: a", "Content-Length: 100"))
    assert client.got.startswith(b"HTTP/1.1 400 ")
    assert isinstance(client.get_protocol(), LingeringClose)
    return client


def test_a_reset_drops_buffered_bytes_and_sends_rst() -> None:
    world = World()
    transport = FakeStream(world, "any")
    transport.stops_reading()
    client = world.client()
    transport.set_protocol(client.owner)
    reset(transport)
    assert transport.socket.resets_on_close
    assert transport.was_aborted()


def test_a_closing_transport_is_only_aborted() -> None:
    world = World()
    client = world.client()
    client.close()
    reset(client)
    assert not client.socket.resets_on_close
    assert client.was_aborted()


def test_a_transport_without_a_socket_is_aborted() -> None:
    world = World()
    transport = Unplugged(world, "any")
    transport.set_protocol(world.client().owner)
    reset(transport)
    assert transport.was_aborted()


def test_a_lingering_close_half_closes_and_keeps_reading() -> None:
    client = lingering(World())
    assert client.has_sent_end()
    client.arrives(b"x" * 1000)
    assert client.is_reading()
    assert not client.is_over()


def test_it_closes_when_the_client_has_ended() -> None:
    world = World()
    client = lingering(world)
    client.ends()
    world.run()
    assert client.is_lost()
    assert not client.was_aborted()
    assert not world.services.registry.lingering


def test_it_reads_a_client_whose_reading_was_paused() -> None:
    world = World()
    client, _upstream = world.ask(
        head("GET / HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 80", "Connection: close")
        + b"x" * 10_000
    )
    assert not client.is_reading()
    _upstream.arrives(head("HTTP/1.1 204 No Content"))
    assert client.has_sent_end()
    assert client.is_reading()


def test_it_drops_a_client_that_neither_sends_nor_ends() -> None:
    world = World()
    client = lingering(world)
    world.walk(world.config.timeouts.linger - 0.1)
    assert not client.is_over()
    world.walk(0.1)
    world.run()
    assert client.was_aborted()
    assert not world.services.registry.lingering


def test_a_client_that_sends_gets_more_time_up_to_a_limit() -> None:
    world = World()
    client = lingering(world)
    linger = world.config.timeouts.linger
    walks = 0
    while not client.is_over():
        world.walk(linger * 0.9)
        client.arrives(b"more")
        walks += 1
        assert walks < 20
    assert walks > 3
    world.run()
    assert not world.services.registry.lingering


@pytest.mark.parametrize("loss", ["breaks", "abort"])
def test_it_is_forgotten_when_the_connection_is_lost(loss: str) -> None:
    world = World()
    client = lingering(world)
    counts: list[int] = []
    registry = world.services.registry
    registry.on_change = lambda: counts.append(len(registry.lingering))
    getattr(client, loss)()
    world.run()
    assert counts == [0]


def test_a_drain_leaves_it_open_and_an_abort_drops_it() -> None:
    world = World()
    client = lingering(world)
    [timed] = world.services.registry.lingering
    timed.drain()
    assert not client.is_over()
    timed.abort()
    assert client.was_aborted()


def test_a_client_that_reads_late_still_gets_its_response() -> None:
    world = World()
    client = world.client()
    client.stops_reading()
    client.arrives(head("POST / HTTP/1.1", "Host: a", "Content-Length: 100"))
    client.ends()
    world.run()
    assert not client.is_lost()
    client.reads_again()
    world.run()
    assert client.got.startswith(b"HTTP/1.1 400 ")
    assert client.is_lost()


def test_an_end_that_cannot_be_sent_closes_the_connection() -> None:
    world = World()
    transport = JustReset(world, "any")
    transport.set_protocol(world.client().owner)
    send_end(transport)
    assert transport.was_aborted()


@pytest.mark.parametrize("slowly", [True, False])
def test_a_client_that_reads_its_response_slowly_is_waited_for(slowly: bool) -> None:
    world = World()
    client = world.client()
    client.stops_reading()
    client.arrives(head("POST / HTTP/1.1", "Host: a", "Content-Length: 100"))
    linger = world.config.timeouts.linger
    for _ in range(20):
        assert not client.was_aborted()
        if slowly:
            client.reads_a_little()
        world.walk(linger)
        if not slowly:
            break
    assert client.was_aborted() is not slowly
    world.walk(linger)
    assert client.was_aborted()

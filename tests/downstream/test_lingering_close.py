"""Closing by reset, and closing once the client has read."""

import errno

import pytest

from cmux_proxy.downstream.lingering_close import LingeringClose
from cmux_proxy.net.closing import reset, send_end
from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head


class Unplugged(FakeStream):
    """A transport that does not show its socket."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return nothing."""
        return default


class JustReset(FakeStream):
    """A transport whose peer has reset the connection, which nobody has been told of yet."""

    def write_eof(self) -> None:
        """Fail as shutting down such a socket does."""
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")


def lingering(world: World) -> FakeStream:
    """Return a client that was refused and may still be sending."""
    client = world.client()
    client.arrives(head("POST / HTTP/1.1", "Host: a", "Content-Length: 100"))
    assert client.got.startswith(b"HTTP/1.1 400 ")
    assert isinstance(client.get_protocol(), LingeringClose)
    return client


def test_a_reset_drops_what_is_held_and_says_so_on_the_wire() -> None:
    world = World()
    transport = FakeStream(world, "any")
    transport.stops_reading()
    client = world.client()
    transport.set_protocol(client.owner)
    reset(transport)
    assert transport.socket.resets_on_close
    assert transport.was_aborted()


def test_a_transport_that_closes_already_is_only_aborted() -> None:
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


def test_a_lingering_close_ends_its_half_and_takes_what_still_comes() -> None:
    client = lingering(World())
    assert client.has_sent_end()
    client.arrives(b"x" * 1000)
    assert client.is_reading()
    assert not client.is_over()


def test_it_closes_as_soon_as_the_client_has_ended() -> None:
    world = World()
    client = lingering(world)
    client.ends()
    world.run()
    assert client.is_lost()
    assert not client.was_aborted()
    assert not world.services.registry.lingering


def test_it_reads_a_client_that_was_held() -> None:
    world = World()
    client, _upstream = world.ask(
        head("GET / HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 80", "Connection: close")
        + b"x" * 10_000
    )
    assert not client.is_reading()
    _upstream.arrives(head("HTTP/1.1 204 No Content"))
    assert client.has_sent_end()
    assert client.is_reading()


def test_it_gives_up_on_a_client_that_neither_sends_nor_ends() -> None:
    world = World()
    client = lingering(world)
    world.walk(world.config.timeouts.linger - 0.1)
    assert not client.is_over()
    world.walk(0.1)
    world.run()
    assert client.was_aborted()
    assert not world.services.registry.lingering


def test_a_client_that_sends_gets_more_time_but_not_for_ever() -> None:
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


@pytest.mark.parametrize("how", ["breaks", "abort"])
def test_it_is_forgotten_when_the_connection_is_lost(how: str) -> None:
    world = World()
    client = lingering(world)
    told: list[int] = []
    world.services.registry.on_change = lambda: told.append(len(world.services.registry.lingering))
    getattr(client, how)()
    world.run()
    assert told == [0]


def test_a_close_of_the_proxy_drops_it() -> None:
    world = World()
    client = lingering(world)
    [timed] = world.services.registry.lingering
    timed.drain()
    assert not client.is_over()
    timed.abort()
    assert client.was_aborted()


def test_a_client_that_reads_late_still_gets_its_answer() -> None:
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


def test_an_end_that_cannot_be_sent_any_more_ends_the_connection() -> None:
    world = World()
    transport = JustReset(world, "any")
    transport.set_protocol(world.client().owner)
    send_end(transport)
    assert transport.was_aborted()


@pytest.mark.parametrize("slowly", [True, False])
def test_a_client_that_reads_its_answer_slowly_is_waited_for(slowly: bool) -> None:
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

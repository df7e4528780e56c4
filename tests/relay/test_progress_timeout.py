"""The timeout of an exchange: a slow peer is waited for, a peer that reads nothing is not.

Bytes that the kernel moves in a large transfer count like those that are read.

Without sockets, an event loop and real time: see tests/helpers/fakes.py.
"""

import pytest

from cmux_proxy import Config, Timeouts
from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.net.busy_poll import FROM_CLIENT, FROM_UPSTREAM
from cmux_proxy.net.splice import LARGE_READ, CountMoved, Remaining
from cmux_proxy.net.stream import Stream
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.relay.tunnel import Tunnel
from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 1000")
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE)
LARGE_POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 10000000")
LARGE = head("HTTP/1.1 200 OK", "Content-Length: 10000000")
LENGTH = head("HTTP/1.1 200 OK", "Content-Length: 1000")


def world() -> World:
    """Return a worker whose exchanges may stand still for ten seconds."""
    return World(Config(timeouts=Timeouts(body=10, response_idle=10, tunnel=10)))


def test_a_client_that_reads_slowly_keeps_its_response() -> None:
    worker = world()
    client, upstream = worker.ask(GET)
    client.stops_reading()
    upstream.arrives(LENGTH + b"x" * 100)
    for _ in range(3):
        client.reads_a_little()
        worker.walk(10)
    assert not client.is_over()
    worker.walk(10)
    assert client.is_over()
    assert worker.services.tally.count(Outcome.BROKEN_OFF) == 1


def test_an_upstream_that_reads_slowly_keeps_its_request() -> None:
    worker = world()
    client, upstream = worker.ask(POST)
    upstream.stops_reading()
    client.arrives(b"x" * 100)
    for _ in range(3):
        upstream.reads_a_little()
        worker.walk(10)
    assert not upstream.is_over()
    worker.walk(10)
    assert client.got.startswith(b"HTTP/1.1 504 ")


def test_a_peer_that_reads_again_gets_the_whole_timeout() -> None:
    worker = world()
    client, upstream = worker.ask(GET)
    client.stops_reading()
    upstream.arrives(LENGTH + b"x" * 100)
    client.reads_again()
    worker.walk(9)
    upstream.arrives(b"x")
    worker.walk(9)
    assert not client.is_over()
    worker.walk(1)
    assert client.is_over()


# Large transfers


class FakePipe:
    """Takes over what a source sends; the test says when it has moved something."""

    is_able = True
    limited_buffer = memoryview(b"")

    def __init__(self) -> None:
        self.moved: CountMoved

    def start(
        self, _source: Stream, _sink: Stream, _body: Remaining | None, count_moved: CountMoved
    ) -> None:
        """Keep what counts the bytes."""
        self.moved = count_moved

    def is_open(self) -> bool:
        """There is no pipe."""
        return False

    def close(self) -> None:
        """Close nothing."""


def piped(worker: World, *streams: FakeStream) -> FakePipe:
    """Return the pipe of a worker, and let the kernel move the bytes of these streams."""
    pipe = worker.services.splice_pipe = FakePipe()
    for stream in streams:
        stream.socket.fileno = lambda: 7  # type: ignore[method-assign]
    return pipe


def moves_and_stops(worker: World, pipe: FakePipe, stream: FakeStream) -> None:
    """Move bytes just before the timeout, and then none until it passes."""
    worker.walk(9)
    pipe.moved(1000)
    worker.walk(9)
    assert not stream.is_over()
    worker.walk(1)
    assert stream.is_over()


def test_a_response_that_the_kernel_moves_is_progress_and_counted() -> None:
    worker = world()
    client, upstream = worker.ask(GET)
    pipe = piped(worker, client, upstream)
    upstream.arrives(LARGE)
    upstream.arrives(bytes(LARGE_READ))
    [timed] = worker.services.registry.clients
    assert isinstance(timed, Http1Connection)
    assert timed.exchange is not None
    pipe.moved(500)
    assert timed.exchange.response_stream.sent == len(LARGE) + LARGE_READ + 500
    moves_and_stops(worker, pipe, client)


def test_a_request_that_the_kernel_moves_is_progress_and_counted() -> None:
    worker = world()
    client, upstream = worker.ask(LARGE_POST)
    pipe = piped(worker, client, upstream)
    client.arrives(bytes(LARGE_READ))
    [timed] = worker.services.registry.clients
    assert isinstance(timed, Http1Connection)
    assert timed.exchange is not None
    before = timed.exchange.request_stream.request.received
    pipe.moved(500)
    assert timed.exchange.request_stream.request.received == before + 500
    moves_and_stops(worker, pipe, upstream)


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_what_the_kernel_moves_keeps_a_tunnel_and_is_counted(up: bool) -> None:
    worker = world()
    client, upstream = worker.ask(CONNECT)
    pipe = piped(worker, client, upstream)
    (client if up else upstream).arrives(bytes(LARGE_READ))
    [tunnel] = worker.services.registry.tunnels
    assert isinstance(tunnel, Tunnel)
    moves_and_stops(worker, pipe, client)
    assert tunnel.moved() == ((LARGE_READ + 1000, 0) if up else (0, LARGE_READ + 1000))


def test_what_the_kernel_moves_is_an_arrival_for_busy_polling() -> None:
    worker = World(Config(busy_poll=0.001))
    client, upstream = worker.ask(LARGE_POST)
    pipe = piped(worker, client, upstream)
    client.arrives(bytes(LARGE_READ))
    from_client = pipe.moved
    upstream.arrives(LARGE)
    upstream.arrives(bytes(LARGE_READ))
    from_upstream = pipe.moved
    polling = worker.services.busy_poll
    assert polling is not None
    for moved, sender in [(from_client, FROM_CLIENT), (from_upstream, FROM_UPSTREAM)]:
        polling.is_polling = False
        moved(1000)
        assert polling.is_polling
        assert polling.sender == sender

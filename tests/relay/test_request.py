"""The request half of an exchange: refused, routed, sent and retried; without sockets."""

from typing import cast

import pytest

from cmux_proxy import Config, Limits, Timeouts
from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.upstream.connection import UpstreamConnection
from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
SENT = head("GET / HTTP/1.1", "Host: a")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def pooled(world: World) -> tuple[FakeStream, FakeStream]:
    """Return a client and its upstream connection, which is in the pool."""
    client, upstream = world.ask(GET)
    upstream.arrives(OK)
    assert len(world.services.pool) == 1
    client.got = b""
    upstream.got = b""
    return client, upstream


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        pytest.param(["GET / HTTP/1.1", ROUTE], 400, id="no host"),
        pytest.param(["GET * HTTP/1.1", "Host: a", ROUTE], 400, id="target"),
        pytest.param(["GET / HTTP/1.1", "Host: a", ROUTE, "Expect: x"], 417, id="expectation"),
        pytest.param(["CONNECT a:1 HTTP/1.1", "Host: a", ROUTE, "Expect: x"], 417, id="connect"),
        pytest.param(["CONNECT a HTTP/1.1", "Host: a", ROUTE], 400, id="authority"),
        pytest.param(["CONNECT a:1 HTTP/1.1", ROUTE], 400, id="connect, no host"),
        pytest.param(["GET / HTTP/1.1", "Host: a"], 400, id="no route"),
        pytest.param(["CONNECT a:1 HTTP/1.1", "Host: a"], 400, id="connect, no route"),
        pytest.param(
            ["GET / HTTP/1.1", "Host: a", ROUTE, "Connection: upgrade", "Upgrade: ("],
            400,
            id="upgrade",
        ),
        pytest.param(["POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: x"], 400, id="framing"),
    ],
)
def test_a_request_is_refused_before_the_dial(lines: list[str], status: int) -> None:
    world = World()
    client = world.client()
    client.arrives(head(*lines))
    assert client.got.startswith(b"HTTP/1.1 %d " % status)
    assert world.dials == []


def test_a_malformed_body_that_arrives_with_the_head_is_refused_before_the_dial() -> None:
    world = World()
    client = world.client()
    client.arrives(
        head("POST / HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked") + b"x\r\n"
    )
    assert client.got.startswith(b"HTTP/1.1 400 ")
    assert client.has_sent_end()
    assert world.dials == []


def test_the_head_and_the_body_bytes_that_arrived_with_it_are_sent_in_one_write() -> None:
    world = World()
    fields = ["Host: a", "Content-Length: 10"]
    _client, upstream = world.ask(head("POST / HTTP/1.1", ROUTE, *fields) + b"01234")
    assert upstream.got == head("POST / HTTP/1.1", *fields) + b"01234"


def test_a_pooled_connection_is_preferred_to_a_dial() -> None:
    world = World()
    client, upstream = pooled(world)
    client.arrives(GET)
    assert upstream.got == SENT
    assert len(world.services.pool) == 0
    assert all(dial.is_over for dial in world.dials)


def test_a_pooled_connection_to_an_old_address_is_not_used() -> None:
    world = World()
    client, upstream = pooled(world)
    cast(UpstreamConnection, upstream.get_protocol()).address = "192.0.2.1"
    client.arrives(GET)
    assert (upstream.got, upstream.is_closing()) == (b"", True)
    assert world.dial().succeeds().got == SENT


def test_connect_dials_even_if_the_pool_has_a_connection() -> None:
    world = World()
    client, upstream = pooled(world)
    client.arrives(head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE))
    assert upstream.got == b""
    assert len(world.services.pool) == 1
    world.dial().succeeds()
    assert client.got == head("HTTP/1.1 200 Connection established")


@pytest.mark.parametrize("error", [None, ConnectionResetError()], ids=["end", "reset"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_an_idempotent_request_is_retried_once(method: str, error: Exception | None) -> None:
    world = World()
    client, upstream = pooled(world)
    client.arrives(head(f"{method} / HTTP/1.1", "Host: a", ROUTE))
    lose(world, upstream, error)
    fresh = world.dial().succeeds()
    assert fresh.got == head(f"{method} / HTTP/1.1", "Host: a")
    lose(world, fresh, error)
    assert client.got.startswith(b"HTTP/1.1 502 ")
    assert all(dial.is_over for dial in world.dials)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(head("POST / HTTP/1.1", "Host: a", ROUTE), id="POST"),
        pytest.param(head("PATCH / HTTP/1.1", "Host: a", ROUTE), id="PATCH"),
        pytest.param(head("put / HTTP/1.1", "Host: a", ROUTE), id="lower case"),
        pytest.param(
            head("PUT / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 2") + b"o", id="open body"
        ),
    ],
)
def test_other_requests_are_not_retried(request_bytes: bytes) -> None:
    world = World()
    client, upstream = pooled(world)
    client.arrives(request_bytes)
    lose(world, upstream, None)
    assert client.got.startswith(b"HTTP/1.1 502 ")
    assert all(dial.is_over for dial in world.dials)


@pytest.mark.parametrize("part", [b"H", head("HTTP/1.1 100 Continue")], ids=["a byte", "a 100"])
def test_after_a_part_of_the_response_a_request_is_not_retried(part: bytes) -> None:
    world = World()
    client, upstream = pooled(world)
    client.arrives(GET)
    upstream.arrives(part)
    lose(world, upstream, None)
    assert client.got.endswith(b"\n")
    assert b"HTTP/1.1 502 " in client.got


def test_a_failed_dial_of_a_retry_gets_502() -> None:
    world = World()
    client, upstream = pooled(world)
    client.arrives(GET)
    lose(world, upstream, None)
    world.dial().fails()
    assert client.got.startswith(b"HTTP/1.1 502 ")


def test_a_body_is_not_read_faster_than_the_upstream_reads_it() -> None:
    world = World()
    client, upstream = world.ask(
        head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 1000000")
    )
    upstream.stops_reading()
    client.arrives(b"x" * 100_000)
    assert not client.is_reading()
    upstream.reads_again()
    world.run()
    assert client.is_reading()


@pytest.mark.parametrize("is_pooled", [True, False], ids=["pooled", "dialled"])
def test_a_half_close_is_passed_on_after_a_complete_request(is_pooled: bool) -> None:
    world = World()
    if is_pooled:
        client, upstream = pooled(world)
        client.arrives(GET)
        client.ends()
    else:
        client = world.client()
        client.arrives(GET)
        client.ends()
        upstream = world.dial().succeeds()
    assert (upstream.got, upstream.has_sent_end()) == (SENT, True)
    upstream.arrives(OK)
    world.run()
    assert client.got == OK
    assert upstream.is_lost()
    assert len(world.services.pool) == 0


def test_a_half_close_is_not_passed_on_while_more_requests_wait() -> None:
    client, upstream = World().ask(GET + GET)
    client.ends()
    assert not upstream.has_sent_end()
    upstream.arrives(OK)
    assert upstream.has_sent_end()


def test_the_response_timeout_starts_when_the_request_is_sent() -> None:
    world = World(Config(timeouts=Timeouts(response=10)))
    client = world.client()
    client.arrives(GET)
    world.walk(4)
    upstream = world.dial().succeeds()
    world.walk(9)
    assert client.got == b""
    world.walk(1)
    assert client.got.startswith(b"HTTP/1.1 504 ")
    assert upstream.was_aborted()


def lose(world: World, upstream: FakeStream, error: Exception | None) -> None:
    """Let an upstream connection end, or fail with an error."""
    if error is None:
        upstream.ends()
    else:
        upstream.breaks(error)
    world.run()


# What is buffered


def buffered(world: World) -> int:
    """Return how many bytes of a client the proxy buffers, including the request's head."""
    [client] = world.services.registry.clients
    assert isinstance(client, Http1Connection)
    exchange = client.exchange
    assert exchange is not None
    request = exchange.request_stream.request
    assert isinstance(request, Http1Request)
    outgoing = exchange.request_stream.outgoing
    return len(client.pipelined) + len(outgoing) + len(request.head.buffer)


FRAMINGS = {
    "length": (head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 9999999"), b"x" * 1000),
    "chunked": (
        head("POST / HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked"),
        b"3e8\r\n" + b"x" * 1000 + b"\r\n",
    ),
    "CONNECT": (head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE), b"x" * 1000),
    "more requests": (
        head("GET / HTTP/1.1", "Host: a", ROUTE),
        head("GET /more HTTP/1.1", "Host: a", ROUTE),
    ),
}
framings = pytest.mark.parametrize(("start", "part"), FRAMINGS.values(), ids=FRAMINGS)
buffers = pytest.mark.parametrize("buffer", [16 * 1024, 100_000, 256 * 1024])


@buffers
@framings
def test_bytes_that_wait_for_a_connection_are_buffered_once_and_within_the_limit(
    start: bytes, part: bytes, buffer: int
) -> None:
    world = World(Config(limits=Limits(buffer=buffer)))
    client = world.client()
    client.arrives(start + part * (3 * buffer // len(part)))
    assert not client.is_reading()
    # The head is buffered as it was received and as it will be sent.
    assert buffer // 2 < buffered(world) <= buffer + 2 * len(start)
    if start.startswith(b"POST"):
        upstream = world.dial().succeeds()
        world.run()
        assert client.is_reading()
        assert upstream.got.endswith(part * (3 * buffer // len(part)))


def test_after_a_failed_dial_the_client_of_a_large_request_is_read_again() -> None:
    world = World()
    client = world.client()
    body = bytes(100_000)
    put = head("PUT / HTTP/1.1", "Host: a", ROUTE, f"Content-Length: {len(body)}")
    client.arrives(put + body)
    assert not client.is_reading()
    world.dial().fails()
    world.run()
    assert client.got.startswith(b"HTTP/1.1 502 ")
    assert client.is_reading()


@pytest.mark.parametrize(("pipelined", "is_retried"), [(b"", True), (b"G" * 5000, False)])
def test_a_large_request_is_kept_for_a_retry_unless_many_bytes_are_pipelined(
    pipelined: bytes, is_retried: bool
) -> None:
    world = World()
    client, upstream = pooled(world)
    body = bytes(100_000)
    put = head("PUT / HTTP/1.1", "Host: a", ROUTE, f"Content-Length: {len(body)}")
    client.arrives(put + body)
    if pipelined:
        client.arrives(pipelined)
    assert upstream.got.endswith(body)
    upstream.breaks()
    world.run()
    if is_retried:
        # It waits for a connection again.
        assert not client.is_reading()
        upstream = world.dial().succeeds()
        assert upstream.got.endswith(body)
        assert client.is_reading()
    else:
        assert client.got.startswith(b"HTTP/1.1 502 ")


def test_a_small_request_is_retried_even_if_many_bytes_are_pipelined() -> None:
    world = World()
    client, upstream = pooled(world)
    client.arrives(head("GET / HTTP/1.1", "Host: a", ROUTE))
    client.arrives(head("GET /more HTTP/1.1", "Host: a", ROUTE) * 200)
    upstream.breaks()
    world.run()
    assert world.dial().succeeds().got == head("GET / HTTP/1.1", "Host: a")

"""The response half of an exchange; without sockets."""

import pytest

from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
GET_10 = head("GET / HTTP/1.0", "Host: a", ROUTE, "Connection: keep-alive")
HEAD = head("HEAD / HTTP/1.1", "Host: a", ROUTE)
POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 10") + b"01234"


def respond(request: bytes, *parts: bytes) -> tuple[World, FakeStream, FakeStream]:
    """Let an upstream respond in these parts; return the world, the client and the upstream."""
    world = World()
    client, upstream = world.ask(request)
    for part in parts:
        upstream.arrives(part)
    return world, client, upstream


def split(data: bytes) -> list[bytes]:
    """Return the bytes one by one."""
    return [data[at : at + 1] for at in range(len(data))]


LENGTH = head("HTTP/1.1 200 OK", "Content-Length: 5") + b"hello"
CHUNKED = (
    head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
)
NOTHING = head("HTTP/1.1 200 OK", "Content-Length: 0")
CASES = {
    "length": (GET, LENGTH, LENGTH),
    "length, HTTP/1.0": (
        GET_10,
        LENGTH,
        head("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: keep-alive") + b"hello",
    ),
    "chunked": (GET, CHUNKED, CHUNKED),
    "chunked, HTTP/1.0": (
        GET_10,
        CHUNKED,
        head("HTTP/1.1 200 OK", "Connection: close") + b"hello",
    ),
    "HEAD": (HEAD, NOTHING, NOTHING),
    "204": (GET, head("HTTP/1.1 204 No Content"), head("HTTP/1.1 204 No Content")),
    "interim": (
        GET,
        head("HTTP/1.1 103 Early Hints") + head("HTTP/1.1 100 Continue") + LENGTH,
        head("HTTP/1.1 103 Early Hints") + head("HTTP/1.1 100 Continue") + LENGTH,
    ),
    "interim, HTTP/1.0": (
        GET_10,
        head("HTTP/1.1 103 Early Hints") + LENGTH,
        head("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: keep-alive") + b"hello",
    ),
}


@pytest.mark.parametrize(("request_bytes", "response", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
def test_a_response_is_forwarded_in_any_split(
    bytewise: bool, request_bytes: bytes, response: bytes, expected: bytes
) -> None:
    parts = split(response) if bytewise else [response]
    world, client, _upstream = respond(request_bytes, *parts)
    assert client.got == expected
    assert len(world.services.pool) == 1
    assert client.is_over() == (b"Connection: close" in expected)


def test_after_a_response_to_head_with_a_length_the_connection_is_not_pooled() -> None:
    world, client, upstream = respond(HEAD, LENGTH[:-5])
    assert client.got == LENGTH[:-5]
    assert len(world.services.pool) == 0
    assert upstream.is_over()
    assert not client.is_over()


def test_a_response_until_close_is_chunked_as_it_arrives() -> None:
    world, client, upstream = respond(GET, head("HTTP/1.1 200 OK"))
    assert client.got == head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    client.got = b""
    upstream.arrives(b"hello")
    assert client.got == b"5\r\nhello\r\n"
    client.got = b""
    upstream.ends()
    assert client.got == b"0\r\n\r\n"
    assert not client.is_over()
    assert len(world.services.pool) == 0


def test_a_body_until_close_that_arrives_with_its_head_is_chunked() -> None:
    _world, client, upstream = respond(GET, head("HTTP/1.1 200 OK") + b"hello")
    upstream.ends()
    body = b"5\r\nhello\r\n0\r\n\r\n"
    assert client.got == head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + body


def test_a_response_until_close_ends_with_a_close_for_http10() -> None:
    world, client, upstream = respond(GET_10, head("HTTP/1.1 200 OK") + b"hel", b"lo")
    upstream.ends()
    world.run()
    assert client.got == head("HTTP/1.1 200 OK", "Connection: close") + b"hello"
    assert client.is_lost()
    assert not client.socket.resets_on_close


def test_bytes_of_framing_alone_send_nothing_to_http10() -> None:
    _world, client, upstream = respond(
        GET_10, head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    )
    client.got = b""
    upstream.arrives(b"5")
    upstream.arrives(b"\r\n")
    assert client.got == b""
    upstream.arrives(b"hello")
    assert client.got == b"hello"


@pytest.mark.parametrize(
    ("request_bytes", "response"),
    [
        pytest.param(GET, LENGTH, id="length"),
        pytest.param(GET, CHUNKED, id="chunked"),
        pytest.param(HEAD, LENGTH[:-5], id="HEAD"),
        pytest.param(GET, head("HTTP/1.1 204 No Content"), id="204"),
    ],
)
@pytest.mark.parametrize("is_split", [False, True], ids=["in one read", "in two reads"])
def test_bytes_after_a_response_close_the_connection_and_do_not_change_the_response(
    is_split: bool, request_bytes: bytes, response: bytes
) -> None:
    parts = [response[:-1], response[-1:] + b"extra"] if is_split else [response + b"extra"]
    world, client, upstream = respond(request_bytes, *parts)
    assert client.got == response
    assert not client.is_over()
    assert upstream.is_over()
    assert len(world.services.pool) == 0


@pytest.mark.parametrize(
    ("request_bytes", "response", "connection"),
    [
        pytest.param(GET, "Content-Length: 0", [], id="both keep alive"),
        pytest.param(
            head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: close"),
            "Content-Length: 0",
            ["Connection: close"],
            id="the client closes",
        ),
        pytest.param(
            POST,
            "Content-Length: 0\r\nConnection: close",
            ["Connection: close"],
            id="early response",
        ),
    ],
)
def test_connection_close_is_sent_if_the_connection_closes(
    request_bytes: bytes, response: str, connection: list[str]
) -> None:
    _world, client, _upstream = respond(request_bytes, head("HTTP/1.1 200 OK", response))
    assert client.got == head("HTTP/1.1 200 OK", "Content-Length: 0", *connection)
    assert (client.is_over() or client.has_sent_end()) == bool(connection)


def test_a_response_during_a_drain_has_connection_close() -> None:
    world = World()
    client, upstream = world.ask(GET)
    world.services.registry.is_draining = True
    upstream.arrives(LENGTH)
    assert (
        client.got == head("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: close") + b"hello"
    )
    assert client.is_over()


@pytest.mark.parametrize("part", [b"+5\r\n", b"5\r\nhello!"], ids=["size", "end of a chunk"])
def test_a_malformed_chunk_cuts_a_response_that_has_started(part: bytes) -> None:
    start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    world, client, upstream = respond(GET, start, part)
    world.run()
    assert client.got.startswith(start)
    assert not client.got.endswith(b"0\r\n\r\n")
    assert client.is_lost()
    assert upstream.was_aborted()


def test_a_malformed_chunk_that_arrives_with_the_head_is_a_502() -> None:
    response = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"+5\r\n"
    _world, client, upstream = respond(GET, response)
    assert client.got.startswith(b"HTTP/1.1 502 ")
    assert upstream.was_aborted()


def test_a_response_before_the_end_of_the_request_does_not_stop_the_request() -> None:
    world, client, upstream = respond(POST, LENGTH)
    assert client.got == LENGTH
    assert len(world.services.pool) == 0
    client.arrives(b"56789")
    assert upstream.got.endswith(b"0123456789")
    assert len(world.services.pool) == 0
    assert not client.is_over()


def test_bytes_after_a_response_within_the_request_close_both() -> None:
    world, client, upstream = respond(POST, LENGTH, b"unasked")
    world.run()
    assert client.got == LENGTH
    assert client.has_sent_end()
    assert upstream.is_lost()

"""The response half of an exchange: how an answer reaches a client; without sockets."""

import pytest

from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
GET_10 = head("GET / HTTP/1.0", "Host: a", ROUTE, "Connection: keep-alive")
HEAD = head("HEAD / HTTP/1.1", "Host: a", ROUTE)
POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 10") + b"01234"


def reach(request: bytes, *pieces: bytes) -> tuple[World, FakeStream, FakeStream]:
    """Let an upstream answer in these pieces; return everybody."""
    world = World()
    client, upstream = world.ask(request)
    for piece in pieces:
        upstream.arrives(piece)
    return world, client, upstream


def split(data: bytes) -> list[bytes]:
    """Return single bytes."""
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


@pytest.mark.parametrize(("request_bytes", "answer", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_an_answer_reaches_its_client_however_it_comes(
    bytewise: bool, request_bytes: bytes, answer: bytes, expected: bytes
) -> None:
    pieces = split(answer) if bytewise else [answer]
    world, client, _upstream = reach(request_bytes, *pieces)
    assert client.got == expected
    assert len(world.services.pool) == 1
    assert client.is_over() == (b"Connection: close" in expected)


def test_an_answer_to_head_that_tells_of_a_body_leaves_no_connection() -> None:
    world, client, upstream = reach(HEAD, LENGTH[:-5])
    assert client.got == LENGTH[:-5]
    assert len(world.services.pool) == 0
    assert upstream.is_over()
    assert not client.is_over()


def test_an_answer_until_close_is_chunked_as_it_comes() -> None:
    world, client, upstream = reach(GET, head("HTTP/1.1 200 OK"))
    assert client.got == head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    client.got = b""
    upstream.arrives(b"hello")
    assert client.got == b"5\r\nhello\r\n"
    client.got = b""
    upstream.ends()
    assert client.got == b"0\r\n\r\n"
    assert not client.is_over()
    assert len(world.services.pool) == 0


def test_an_answer_until_close_whose_body_comes_with_its_head_is_chunked_too() -> None:
    _world, client, upstream = reach(GET, head("HTTP/1.1 200 OK") + b"hello")
    upstream.ends()
    body = b"5\r\nhello\r\n0\r\n\r\n"
    assert client.got == head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + body


def test_an_answer_until_close_is_ended_by_close_for_http10() -> None:
    world, client, upstream = reach(GET_10, head("HTTP/1.1 200 OK") + b"hel", b"lo")
    upstream.ends()
    world.run()
    assert client.got == head("HTTP/1.1 200 OK", "Connection: close") + b"hello"
    assert client.is_lost()
    assert not client.socket.resets_on_close


def test_a_chunk_of_nothing_but_framing_sends_nothing_to_http10() -> None:
    _world, client, upstream = reach(GET_10, head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
    client.got = b""
    upstream.arrives(b"5")
    upstream.arrives(b"\r\n")
    assert client.got == b""
    upstream.arrives(b"hello")
    assert client.got == b"hello"


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        pytest.param(GET, LENGTH, id="length"),
        pytest.param(GET, CHUNKED, id="chunked"),
        pytest.param(HEAD, LENGTH[:-5], id="HEAD"),
        pytest.param(GET, head("HTTP/1.1 204 No Content"), id="204"),
    ],
)
@pytest.mark.parametrize("apart", [False, True], ids=["in one piece", "body in two"])
def test_bytes_behind_an_answer_spoil_the_connection_and_not_the_answer(
    apart: bool, request_bytes: bytes, answer: bytes
) -> None:
    pieces = [answer[:-1], answer[-1:] + b"extra"] if apart else [answer + b"extra"]
    world, client, upstream = reach(request_bytes, *pieces)
    assert client.got == answer
    assert not client.is_over()
    assert upstream.is_over()
    assert len(world.services.pool) == 0


@pytest.mark.parametrize(
    ("request_bytes", "answer", "connection"),
    [
        pytest.param(GET, "Content-Length: 0", [], id="both persist"),
        pytest.param(
            head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: close"),
            "Content-Length: 0",
            ["Connection: close"],
            id="the client does not",
        ),
        pytest.param(
            POST, "Content-Length: 0\r\nConnection: close", ["Connection: close"], id="mid-request"
        ),
    ],
)
def test_what_is_said_about_the_connection_is_true(
    request_bytes: bytes, answer: str, connection: list[str]
) -> None:
    _world, client, _upstream = reach(request_bytes, head("HTTP/1.1 200 OK", answer))
    assert client.got == head("HTTP/1.1 200 OK", "Content-Length: 0", *connection)
    assert (client.is_over() or client.has_sent_end()) == bool(connection)


def test_an_answer_in_a_drain_says_close() -> None:
    world = World()
    client, upstream = world.ask(GET)
    world.services.registry.is_draining = True
    upstream.arrives(LENGTH)
    assert (
        client.got == head("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: close") + b"hello"
    )
    assert client.is_over()


@pytest.mark.parametrize("piece", [b"+5\r\n", b"5\r\nhello!"], ids=["size", "end of a chunk"])
def test_a_malformed_chunk_cuts_an_answer_that_has_begun(piece: bytes) -> None:
    start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    world, client, upstream = reach(GET, start, piece)
    world.run()
    assert client.got.startswith(start)
    assert not client.got.endswith(b"0\r\n\r\n")
    assert client.is_lost()
    assert upstream.was_aborted()


def test_a_malformed_chunk_in_the_first_piece_is_a_502() -> None:
    answer = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"+5\r\n"
    _world, client, upstream = reach(GET, answer)
    assert client.got.startswith(b"HTTP/1.1 502 ")
    assert upstream.was_aborted()


def test_an_answer_before_the_end_of_the_request_leaves_that_running() -> None:
    world, client, upstream = reach(POST, LENGTH)
    assert client.got == LENGTH
    assert len(world.services.pool) == 0
    client.arrives(b"56789")
    assert upstream.got.endswith(b"0123456789")
    assert len(world.services.pool) == 0
    assert not client.is_over()


def test_bytes_behind_an_answer_amid_the_request_end_both() -> None:
    world, client, upstream = reach(POST, LENGTH, b"unasked")
    world.run()
    assert client.got == LENGTH
    assert client.has_sent_end()
    assert upstream.is_lost()

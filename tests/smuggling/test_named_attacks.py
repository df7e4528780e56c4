"""The known attacks: each is refused, or read in one way."""

import pytest

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.errors import BadMessage
from tests.helpers.feeding import ways_to_split
from tests.helpers.judging import judge_request, judge_response, request_head
from tests.smuggling.attacks import (
    AMBIGUOUS_RESPONSES,
    BOTH_FRAMINGS,
    CHUNKED_BODIES,
    CHUNKS,
    CODING,
    CODINGS,
    HIDDEN,
    LENGTH,
    LENGTHS,
    LINES,
    NAMES,
    NOMINATED,
    attack,
)


def assert_refused(data: bytes) -> None:
    for pieces in ways_to_split(data):
        with pytest.raises((BadMessage, RouteRefused)):
            judge_request(pieces)


@pytest.mark.parametrize("fields", BOTH_FRAMINGS.values(), ids=BOTH_FRAMINGS)
def test_two_framings_are_refused(fields: tuple[bytes, ...]) -> None:
    assert_refused(attack(*fields))


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_an_obscured_coding_is_refused(coding: bytes) -> None:
    assert_refused(attack(coding))
    assert_refused(attack(coding, LENGTH))
    assert_refused(attack(LENGTH, coding))


@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
def test_an_obscured_length_is_refused(length: bytes) -> None:
    assert_refused(attack(b"Content-Length: " + length + b"\r\n"))


@pytest.mark.parametrize("line", NAMES.values(), ids=NAMES)
def test_an_obscured_name_is_refused(line: bytes) -> None:
    assert_refused(attack(LENGTH, line))


@pytest.mark.parametrize("body", CHUNKED_BODIES.values(), ids=CHUNKED_BODIES)
def test_an_obscured_chunk_is_refused(body: bytes) -> None:
    assert_refused(attack(CODING, body=body))


@pytest.mark.parametrize("head", LINES.values(), ids=LINES)
def test_an_obscured_destination_is_refused(head: bytes) -> None:
    assert_refused(head + b"X-Cmux-Port-Internal: 1\r\n\r\n")


@pytest.mark.parametrize("name", NOMINATED)
def test_framing_and_routing_cannot_be_nominated_away(name: str) -> None:
    for value in (name, name.upper(), f"close, {name}", f"{name},"):
        assert_refused(attack(LENGTH, f"Connection: {value}\r\n".encode()))


def test_a_coding_of_http10_is_refused() -> None:
    assert_refused(attack(CODING).replace(b"HTTP/1.1", b"HTTP/1.0", 1))


# Accepted messages have one reading


def test_a_hidden_request_in_a_length_is_content() -> None:
    judged = judge_request([attack(LENGTH)])
    assert judged is not None
    assert judged.forwarded.endswith(b"\r\n\r\n" + CHUNKS)
    assert judged.trailing_data == b""


def test_a_hidden_request_after_the_last_chunk_is_the_next_request() -> None:
    judged = judge_request([attack(CODING)])
    assert judged is not None
    assert judged.forwarded.endswith(b"\r\n\r\n0\r\n\r\n")
    assert judged.trailing_data == HIDDEN


def test_a_hidden_request_after_no_framing_is_the_next_request() -> None:
    judged = judge_request([attack(body=HIDDEN)])
    assert judged is not None
    assert judged.trailing_data == HIDDEN
    assert HIDDEN not in judged.forwarded


def test_a_trailer_cannot_frame_or_route() -> None:
    trailers = b"Content-Length: 5\r\nX-Cmux-Port-Internal: 2\r\nHost: b\r\nA: 1\r\n"
    judged = judge_request([attack(CODING, body=b"0\r\n" + trailers + b"\r\n")])
    assert judged is not None
    assert judged.port == 1
    assert judged.forwarded.endswith(b"\r\n\r\n0\r\nA: 1\r\n\r\n")


def test_the_authority_of_a_target_replaces_host() -> None:
    data = b"GET http://b/ HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: 1\r\n\r\n"
    judged = judge_request([data])
    assert judged is not None
    assert judged.forwarded == b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"
    assert judged.port == 1


@pytest.mark.parametrize("connection", [b"Upgrade, HTTP2-Settings", b"Upgrade", b"close"])
@pytest.mark.parametrize("upgrade", [b"h2c", b"H2C", b", h2c ,"])
def test_an_upgrade_to_http2_is_not_forwarded(connection: bytes, upgrade: bytes) -> None:
    """Requests in its tunnel would bypass routing and tokens."""
    lines = b"Connection: %b\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABk\r\n"
    judged = judge_request([attack(lines % (connection, upgrade), body=b"")])
    assert judged is not None
    assert not judged.upgrade
    assert judged == judge_request([attack(b"Connection: %b\r\n" % connection, body=b"")])


# Responses


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("head", AMBIGUOUS_RESPONSES.values(), ids=AMBIGUOUS_RESPONSES)
def test_an_ambiguous_response_is_refused(head: bytes, method: str) -> None:
    request = request_head(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    for pieces in ways_to_split(head + b"\r\n" + CHUNKS):
        with pytest.raises(BadMessage):
            judge_response(request, pieces)


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [("HEAD", 200, LENGTH), ("GET", 304, LENGTH), ("GET", 204, b""), ("HEAD", 200, CODING)],
)
def test_bytes_after_a_response_without_body_do_not_belong_to_it(
    method: str, status: int, fields: bytes
) -> None:
    request = request_head(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    response = b"HTTP/1.1 %d X\r\n" % status + fields + b"\r\n"
    judged = judge_response(request, [response + b"HTTP/1.1 200 OK\r\n\r\n"])
    assert judged is not None
    assert judged.head + judged.body == response
    assert judged.trailing_data == b"HTTP/1.1 200 OK\r\n\r\n"

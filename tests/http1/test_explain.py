"""The reason and the status of a refused head, and of one that is refused before its end."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.explain import (
    check_request_start,
    check_response_start,
    explain_request,
    explain_response,
)

THREE = "the request line is not method, target and version"
NO_VERSION = "the request line does not end in an HTTP version"
PREFACE = "HTTP/2 begins a connection, and over TLS is chosen by ALPN"
TWO_VERSIONS = "only HTTP/1.0 and HTTP/1.1 are supported"
TARGET = "the request target has bytes that are not allowed"
LF = "a line ends in LF without CR"
CR = "a CR is not followed by LF"


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"PRI * HTTP/2.0", 505, PREFACE),
        (b"PRI / HTTP/2.0", 505, TWO_VERSIONS),
        (b"GET / HTTP/1.2", 505, TWO_VERSIONS),
        (b"GET / HTTP/3", 505, "only HTTP/1.0 and HTTP/1.1 are supported"),
        (b"GET / HTTP/01.1", 400, NO_VERSION),
        (b"GET / HTTP/1.10", 400, NO_VERSION),
        (b"GET /", 400, THREE),
        (b"GET  / HTTP/1.1", 400, THREE),
        (b"G@T / HTTP/1.1", 400, "the method is not a token"),
        (b" / HTTP/1.1", 400, "the method is not a token"),
        (b"GET / HTTP/1.", 400, NO_VERSION),
        (b"GET / http/1.1", 400, NO_VERSION),
        (b"GET /# HTTP/1.1", 400, TARGET),
        (b"GET /\xff HTTP/1.1", 400, TARGET),
        (b"GET /# HTTP/1.0", 400, TARGET),
        (b"GET /\n HTTP/1.1", 400, LF),
        (b"GET /\r HTTP/1.1", 400, CR),
        (b"GET /\x00 HTTP/1.1", 400, "the head contains a NUL byte"),
        (b"GET /\x1f HTTP/1.1", 400, "the head contains a control byte"),
        (b"GET /\x7f HTTP/1.1", 400, "the head contains a control byte"),
        (b"GET /\t HTTP/1.1", 400, TARGET),
    ],
)
def test_a_request_line_is_refused_for_its_first_fault(
    line: bytes, status: int, reason: str
) -> None:
    error = explain_request(line + b"\r\nHost: a\r\n\r\n")
    assert (error.status, error.reason) == (status, reason)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"HTTP/1.1 20 OK", "the status line is malformed"),
        (b"HTTP/2 200 OK", "the status line is malformed"),
        (b"HTTP/1.1 200 O\nK", LF),
        (b"HTTP/1.1 200 O\rK", CR),
        (b"HTTP/1.1 200 \x08", "the head contains a control byte"),
    ],
)
def test_a_status_line_is_refused_for_its_first_fault(line: bytes, reason: str) -> None:
    assert explain_response(line + b"\r\n\r\n").reason == reason


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (b"A: \x00\r\n", "header field 1 is refused: the head contains a NUL byte"),
        (b"A: 1\r\nB: \x01\r\n", "header field 2 is refused: the head contains a control byte"),
        (b"A: 1\nB: 2\r\n", f"header field 1 is refused: {LF}"),
        (b"A: 1\rB: 2\r\n", f"header field 1 is refused: {CR}"),
        (b" A: 1\r\n", "header field 1 begins with white space"),
        (b"\tA: 1\r\n", "header field 1 begins with white space"),
        (b"A: 1\r\n B: 1\r\n", "header field 2 is folded"),
        (b"A: 1\r\n\t\r\n", "header field 2 is folded"),
        (b"A\r\n", "header field 1 has no colon"),
        (b"A : 1\r\n", "header field 1 has white space before its colon"),
        (b"A\t: 1\r\n", "header field 1 has white space before its colon"),
        (b": 1\r\n", "header field 1 has a name that is not a token"),
        (b"A: 1\r\nB: 2\r\nC=: 3\r\n", "header field 3 has a name that is not a token"),
    ],
)
def test_a_field_is_refused_for_its_first_fault(start: bytes, fields: bytes, reason: str) -> None:
    explain = explain_request if start.startswith(b"GET") else explain_response
    assert explain(start + fields + b"\r\nA : bytes after the head are not checked\r\n").reason == (
        reason
    )


def test_a_head_without_a_visible_fault_is_still_refused() -> None:
    assert explain_request(b"GET / HTTP/1.1\r\nA: 1\r\n\r\n").reason == "the head is malformed"
    assert explain_response(b"HTTP/1.1 200 OK\r\n\r\n").reason == "the head is malformed"


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"\x16\x03", "this port speaks plain HTTP, and TLS was sent; use http://"),
        (b"\x05", "the request does not begin with a method"),
        (b" GET", "the request does not begin with a method"),
        (b"\r\n", "the request does not begin with a method"),
        (b"GET / HTTP/1.1\n", LF),
        (b"GET / HTTP/1.1\r\nHost: a\n", LF),
        (b"GET /\r\n", THREE),
        (b"PRI * HTTP/2.0\r\nx", PREFACE),
    ],
)
def test_an_invalid_start_of_a_request_is_refused_at_once(start: bytes, reason: str) -> None:
    with pytest.raises(BadMessage) as caught:
        check_request_start(start, 0)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"SSH-2.0", "the response does not begin with HTTP/1."),
        (b"HTTX", "the response does not begin with HTTP/1."),
        (b"\r\nHTTP/1.1", "the response does not begin with HTTP/1."),
        (b"HTTP/2 200", "the response does not begin with HTTP/1."),
        (b"HTTP/1 200", "the response does not begin with HTTP/1."),
        (b"HTTP/1.1 20\n", "the status line is malformed"),
        (b"HTTP/1.x 200 OK\r\n", "the status line is malformed"),
        (b"HTTP/1.1 200 O\x00K\n", "the head contains a NUL byte"),
        (b"HTTP/1.1 200 O\rK\n", "a CR is not followed by LF"),
    ],
)
def test_an_invalid_start_of_a_response_is_refused_at_once(start: bytes, reason: str) -> None:
    with pytest.raises(BadMessage) as caught:
        check_response_start(start, 0)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "start", [b"", b"G", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nA: 1\r\n"]
)
def test_a_start_that_may_become_a_request_is_accepted(start: bytes) -> None:
    check_request_start(start, 0)


@pytest.mark.parametrize("start", [b"", b"HT", b"HTTP/1.", b"HTTP/1.1 200 OK\r\nA: 1\r\n"])
def test_a_start_that_may_become_a_response_is_accepted(start: bytes) -> None:
    check_response_start(start, 0)


def test_bytes_that_were_checked_are_not_checked_again() -> None:
    """Faults in bytes that an earlier call has checked are ignored."""
    check_request_start(b"\x16 not checked", 5)
    check_request_start(b"GET /\r\nA: 1\r\n", 8)
    check_response_start(b"HTTP/1.1 2\r\nA: 1\r\n", 12)


def test_a_bare_line_feed_is_seen_where_an_earlier_check_stopped() -> None:
    check_request_start(b"GET / HTTP/1.1\r\n", 15)
    start = b"GET / HTTP/1.1\r\nA: 1\n"
    with pytest.raises(BadMessage, match="LF without CR"):
        check_request_start(start, len(start) - 1)

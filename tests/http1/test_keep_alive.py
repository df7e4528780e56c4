"""Whether a connection is kept after a message, on either side."""

import pytest

from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.keep_alive import client_keeps_alive, upstream_keeps_alive
from tests.helpers.judging import request_head, response_head

CASES = [
    ("1.1", b"", True),
    ("1.1", b"keep-alive", True),
    ("1.1", b"upgrade", True),
    ("1.1", b"x", True),
    ("1.1", b"close", False),
    ("1.1", b"close, keep-alive", False),
    ("1.0", b"", False),
    ("1.0", b"keep-alive", True),
    ("1.0", b"x, Keep-ALIVE", True),
    ("1.0", b"upgrade", False),
    ("1.0", b"close", False),
    ("1.0", b"keep-alive, close", False),
]


@pytest.mark.parametrize(("version", "options", "persists"), CASES)
def test_version_and_options_decide(version: str, options: bytes, persists: bool) -> None:
    start = f"HTTP/{version}".encode()
    fields = b"Connection: " + options + b"\r\n\r\n"
    assert client_keeps_alive(request_head(b"GET / " + start + b"\r\n" + fields)) is persists
    response = response_head(start + b" 200 OK\r\n" + fields)
    assert upstream_keeps_alive(response, 0) is persists
    assert upstream_keeps_alive(response, 5) is persists
    assert upstream_keeps_alive(response, CHUNKED) is persists


@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_a_body_that_may_come_late_ends_keep_alive(field: bytes) -> None:
    response = response_head(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n")
    assert upstream_keeps_alive(response, 0) is False
    nothing = response_head(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert upstream_keeps_alive(nothing, 0) is True


@pytest.mark.parametrize(("version", "options", "persists"), CASES)
def test_a_body_until_close_ends_keep_alive(version: str, options: bytes, persists: bool) -> None:
    head = f"HTTP/{version} 200 OK\r\nConnection: ".encode() + options + b"\r\n\r\n"
    assert upstream_keeps_alive(response_head(head), UNTIL_CLOSE) is False


def test_options_of_several_lines_count_together() -> None:
    fields = b"Connection: keep-alive\r\nA: 1\r\nConnection: close\r\n\r\n"
    assert not client_keeps_alive(request_head(b"GET / HTTP/1.1\r\n" + fields))


def test_proxy_connection_is_ignored() -> None:
    assert client_keeps_alive(request_head(b"GET / HTTP/1.1\r\nProxy-Connection: close\r\n\r\n"))
    old = request_head(b"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n")
    assert not client_keeps_alive(old)

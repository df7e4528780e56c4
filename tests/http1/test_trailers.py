"""Which trailers are forwarded (RFC 9110 section 6.5.1), and which are refused."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.trailers import may_forward_trailer

FORBIDDEN = """
    Age Authentication-Info Authorization Cache-Control Connection Content-Disposition
    Content-Encoding Content-Length Content-Range Content-Type Cookie Date Expect Expires Forwarded
    Host If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since Keep-Alive Location
    Max-Forwards Pragma Proxy-Authenticate Proxy-Authentication-Info Proxy-Authorization
    Proxy-Connection Range Retry-After Set-Cookie TE Trailer Transfer-Encoding Upgrade Vary Warning
    WWW-Authenticate X-Forwarded-For X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto
    X-Forwarded-Server X-Real-IP
"""


@pytest.mark.parametrize("name", FORBIDDEN.split())
def test_fields_needed_before_the_content_are_dropped(name: str) -> None:
    for spelled in (name, name.lower(), name.upper()):
        assert not may_forward_trailer(f"{spelled}: x\r\n".encode(), b"")


@pytest.mark.parametrize("name", ["X_Forwarded_For", "x-forwarded_host", "X_REAL-IP"])
def test_a_forwarded_field_with_an_underscore_is_dropped(name: str) -> None:
    assert not may_forward_trailer(f"{name}: x\r\n".encode(), b"")
    assert may_forward_trailer(f"{name}_: x\r\n".encode(), b"")


@pytest.mark.parametrize("name", ["Checksum", "ETag", "Server-Timing", "X-Host", "Hosts", "Dat"])
def test_other_fields_may_be_trailers(name: str) -> None:
    assert may_forward_trailer(f"{name}: x\r\n".encode(), b"x-test-")


@pytest.mark.parametrize("name", ["x-test-", "X-Test-A", "X-TEST-Other"])
def test_a_reserved_field_is_dropped(name: str) -> None:
    assert not may_forward_trailer(f"{name}: x\r\n".encode(), b"x-test-")
    assert may_forward_trailer(f"{name}: x\r\n".encode(), b"")


@pytest.mark.parametrize("line", [b"A:\r\n", b"A: \t\x80\xff \r\n", b"!: :\r\n"])
def test_a_trailer_may_be_any_field_line(line: bytes) -> None:
    assert may_forward_trailer(line, b"")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"A: 1\n",
        b"A\r\n",
        b": 1\r\n",
        b" A: 1\r\n",
        b"A : 1\r\n",
        b"A: \x00\r\n",
        b"A: \x7f\r\n",
        b"A: 1\r2\r\n",
        b"A: 1\r\r\n",
        b"A: 1\r\nB: 2\r\n",
        b"Host: \x01\r\n",
        b"Host\r\n",
    ],
)
def test_a_malformed_trailer_is_refused_with_any_name(line: bytes) -> None:
    with pytest.raises(BadMessage, match=r"^a trailer field is malformed$"):
        may_forward_trailer(line, b"")

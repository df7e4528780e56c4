"""The fast scan of the compiled build returns the same facts as the full scan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from tests.helpers.feeding import facts
from tests.helpers.grammars import (
    CONTESTED_REQUESTS,
    CONTESTED_RESPONSES,
    mutated,
    requests,
    responses,
)

pytest.importorskip("cmux_proxy.http1._fast_scan", reason="this is the pure build")

SOME_NAMES = [b"Host", b"Connection", b"Content-Length", b"TE", b"Expect", b"HTTP2-Settings"]
LIMITS = st.sampled_from([HeadLimits(16384, 65536, 256), HeadLimits(24, 120, 4)])
AFFIXES = st.sampled_from(
    [(b"", b""), (b"x-cmux-", b"-internal"), (b"x-", b""), (b"x-cmux-port-", b"l")]
)


def assert_request_read_alike(
    data: bytes, limits: HeadLimits, affixes: tuple[bytes, bytes]
) -> None:
    scanner = RequestScanner(
        limits,
        ReservedFields(*affixes, (b"x-cmux-wait", b"x-listed"), (b"x-cmux-token", b"x-cut")),
    )
    assert scanner.fast_scan is not None
    if scanner.fast_scan.request(data) is not None:
        fast, full = scanner.scan(data, 0), scanner.scan_fully(data, 0)
        assert fast is not None
        assert full is not None
        assert facts(fast) == facts(full)


def assert_response_read_alike(data: bytes, limits: HeadLimits) -> None:
    scanner = ResponseScanner(limits)
    assert scanner.fast_scan is not None
    if scanner.fast_scan.response(data) is not None:
        fast, full = scanner.scan(data, 0), scanner.scan_fully(data, 0)
        assert fast is not None
        assert full is not None
        assert facts(fast) == facts(full)
        assert fast.spliced == full.spliced


@given(st.one_of(mutated(requests(), max_changes=8), st.binary()), LIMITS, AFFIXES)
def test_they_agree_on_requests(
    data: bytes, limits: HeadLimits, affixes: tuple[bytes, bytes]
) -> None:
    assert_request_read_alike(data, limits, affixes)


@given(st.one_of(mutated(responses(), max_changes=8), st.binary()), LIMITS)
def test_they_agree_on_responses(data: bytes, limits: HeadLimits) -> None:
    assert_response_read_alike(data, limits)


@given(st.binary(max_size=4), st.sampled_from(SOME_NAMES))
def test_they_agree_on_values(value: bytes, name: bytes) -> None:
    section = name + b": " + value + b"\r\n\r\n"
    limits = HeadLimits(100, 100, 10)
    affixes = (b"x-cmux-", b"-internal")
    assert_request_read_alike(b"GET / HTTP/1.1\r\n" + section, limits, affixes)
    assert_response_read_alike(b"HTTP/1.1 200 OK\r\n" + section, limits)


@given(st.text(" \t", max_size=3), st.text(" \t", max_size=3))
def test_they_agree_on_white_space_around_a_coding(before: str, after: str) -> None:
    section = f"Transfer-Encoding:{before}chunked{after}\r\n\r\n".encode()
    limits = HeadLimits(100, 100, 10)
    assert_request_read_alike(b"GET / HTTP/1.1\r\n" + section, limits, (b"x-cmux-", b"-internal"))
    assert_response_read_alike(b"HTTP/1.1 200 OK\r\n" + section, limits)


@pytest.mark.parametrize("byte", range(256))
def test_they_agree_on_every_byte_at_every_position(byte: int) -> None:
    single = bytes([byte])
    limits = HeadLimits(100, 200, 10)
    request = b"GET /a HTTP/1.1\r\nHost: a:1\r\nX-Cmux-Port-Internal: 1\r\nA: b\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\nA: b\r\n\r\n"
    for position in range(len(request)):
        for end in (position, position + 1):
            data = request[:position] + single + request[end:]
            assert_request_read_alike(data, limits, (b"x-cmux-", b"-internal"))
    for position in range(len(response)):
        for end in (position, position + 1):
            assert_response_read_alike(response[:position] + single + response[end:], limits)


@pytest.mark.parametrize("byte", range(256))
def test_they_agree_on_every_byte_inside_a_long_value(byte: int) -> None:
    """The fast scan reads eight bytes at a time while all of them are allowed."""
    limits = HeadLimits(100, 200, 10)
    for position in range(16):
        value = b"v" * position + bytes([byte]) + b"v" * (31 - position)
        section = b"A: " + value + b"\r\n\r\n"
        assert_request_read_alike(b"GET / HTTP/1.1\r\n" + section, limits, (b"x-cmux-", b""))
        assert_response_read_alike(b"HTTP/1.1 200 OK\r\n" + section, limits)
        assert_response_read_alike(b"HTTP/1.1 200 " + value + b"\r\n\r\n", limits)


# The edges of what a value may have: with one borrow too many, a byte behind another one is wrong.
EDGES = [0x00, 0x08, 0x09, 0x0A, 0x0D, 0x1F, 0x20, 0x21, 0x7E, 0x7F, 0x80, 0x81, 0xFF]


@pytest.mark.parametrize("first", EDGES)
def test_they_agree_on_two_bytes_inside_a_long_value(first: int) -> None:
    limits = HeadLimits(100, 200, 10)
    for second in EDGES:
        for position in range(12):
            for between in (0, 1, 6, 7):
                value = b"v" * position + bytes([first]) + b"v" * between + bytes([second])
                data = b"HTTP/1.1 200 OK\r\nA:" + value + b"v" * 10 + b"\r\n\r\n"
                assert_response_read_alike(data, limits)


WORDS = [
    b"TE", b"Host", b"Expect", b"Upgrade", b"Connection", b"Keep-Alive", b"X-Listed", b"X-Cut",
    b"Content-Length", b"HTTP2-Settings", b"Proxy-Connection", b"Transfer-Encoding",
    b"Proxy-Authenticate", b"Proxy-Authorization", b"X-Cmux-Port-Internal", b"X-Cmux--Internal",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_they_agree_on_names_that_differ_in_one_byte(word: bytes) -> None:
    limits = HeadLimits(100, 200, 10)
    lines = b": 1\r\n\r\n"
    for position in range(len(word)):
        for byte in range(256):
            name = word[:position] + bytes([byte]) + word[position + 1 :]
            assert_request_read_alike(
                b"GET / HTTP/1.1\r\n" + name + lines, limits, (b"x-cmux-", b"-internal")
            )
            assert_response_read_alike(b"HTTP/1.1 200 OK\r\n" + name + lines, limits)


def test_they_agree_on_reserved_names_with_other_bytes_than_letters() -> None:
    word = b"X~1-A_B"
    for position in range(len(word)):
        for byte in range(256):
            name = word[:position] + bytes([byte]) + word[position + 1 :]
            data = b"GET / HTTP/1.1\r\n" + name + b": 1\r\n\r\n"
            assert_request_read_alike(data, HeadLimits(100, 200, 10), (b"x~1-", b"_b"))


@pytest.mark.parametrize("option", [b"close", b"keep-alive", b"upgrade"])
def test_they_agree_on_options_that_differ_in_one_byte(option: bytes) -> None:
    for position in range(len(option)):
        for byte in range(256):
            value = option[:position] + bytes([byte]) + option[position + 1 :]
            data = b"HTTP/1.1 200 OK\r\nConnection: " + value + b"\r\n\r\n"
            assert_response_read_alike(data, HeadLimits(100, 200, 10))


RESERVED_LINES = [
    b"X-Cmux-Port-Internal: 3000", b"x-cmux-port-internal: 3000", b"X-Cmux-Port-Internal:3000",
    b"X-Cmux-Port-Internal: 13000", b"X-Cmux-Last-Port-Internal: 3000", b"X-Cmux-Port-Internal: ",
    b"X-Cmux-Port-Internal:\t", b"X-Cmux-A-Internal: 12345678", b"X-Cmux-B-Internal: 12345678",
    b"X-Cmux-C-Internal: 012345678", b"X-Cmux-D-Internal: " + b"1" * 128,
    b"X-Cmux-E-Internal: " + b"1" * 128,
]  # fmt: skip


def test_they_agree_on_reserved_fields_that_have_come_before() -> None:
    scanner = RequestScanner(
        HeadLimits(100, 1000, 10), ReservedFields(b"x-cmux-", b"-internal", (), ())
    )
    for first in RESERVED_LINES:
        for second in RESERVED_LINES:
            for lines in (first, second, first + b"\r\n" + second):
                data = b"GET / HTTP/1.1\r\n" + lines + b"\r\n\r\n"
                fast, full = scanner.scan(data, 0), scanner.scan_fully(data, 0)
                assert fast is not None
                assert full is not None
                assert facts(fast) == facts(full)


@pytest.mark.parametrize(
    "host",
    [b"a:12345", b"a:123456", b"a:", b":1", b"a:1x", b"a:1:2", b"a..-_~!$&'()*+;=", b"[::1]:12345",
     b"[::1]:123456", b"[::1", b"[::1]a", b"[]", b"[g]", b"[v1.a]", b"::1", b"a]", b"%20", b"a,b"],
)  # fmt: skip
def test_they_agree_on_hosts(host: bytes) -> None:
    data = b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    assert_request_read_alike(data, HeadLimits(100, 200, 10), (b"x-cmux-", b"-internal"))


def test_they_agree_on_heads_that_other_readers_dispute() -> None:
    for data in CONTESTED_REQUESTS:
        assert_request_read_alike(data, HeadLimits(100, 200, 10), (b"x-cmux-", b"-internal"))
    for data in CONTESTED_RESPONSES:
        assert_response_read_alike(data, HeadLimits(100, 200, 10))


SIMPLE = [
    b"GET / HTTP/1.1\r\nHost: a.example:80\r\nX-Cmux-Port-Internal: 1\r\n\r\n",
    b"get /?a HTTP/1.0\r\n\r\nbehind",
    b"POST http://a/ HTTP/1.1\r\nhost:[::1]:80\r\nContent-Length: 007 \r\nExpect: x\r\n\r\n",
    b"PUT * HTTP/1.1\r\nHOST: \t1.2.3.4\t\r\nTransfer-Encoding: a, b\r\nKeep-Alive: x\r\n\r\n",
    b"X / HTTP/1.1\r\nHost: a:\r\nConnection: UPGRADE\r\nUpgrade: a, b\r\nKeep-Alive: 1\r\n\r\n",
]


@pytest.mark.parametrize("data", SIMPLE)
def test_simple_heads_are_scanned_fast(data: bytes) -> None:
    scanner = RequestScanner(HeadLimits(100, 200, 10), ReservedFields(b"x-cmux-", b"-internal"))
    assert scanner.fast_scan is not None
    assert scanner.fast_scan.request(data) is not None
    assert_request_read_alike(data, HeadLimits(100, 200, 10), (b"x-cmux-", b"-internal"))


NOT_SIMPLE = [
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"GET / HTTP/1.1\r\nHost: a%20\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: close, te\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: \r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 1234567890123456789\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"Keep-Alive:\r\n" * 17 + b"\r\n",
    b"GET / HTTP/1.1\r\nTE: trailers\r\n\r\n",
    b"GET / HTTP/1.1\r\nHTTP2-Settings: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nExpect: \r\n\r\n",
    b"GET / HTTP/1.1\r\nExpect: a, b\r\n\r\n",
    b"GET /" + b"a" * 86 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: " + b"a" * 244 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A:\r\n" * 21 + b"\r\n",
]


@pytest.mark.parametrize("data", NOT_SIMPLE)
def test_other_heads_are_left_to_the_full_scan(data: bytes) -> None:
    scanner = RequestScanner(HeadLimits(100, 250, 20), ReservedFields(b"x-cmux-", b"-internal"))
    assert scanner.fast_scan is not None
    assert scanner.fast_scan.request(data) is None

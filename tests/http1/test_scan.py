"""The scanners: heads that are split in any way, and refusals as early as possible."""

import pytest

from cmux_proxy import _build
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import MAX_JOINED
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.scan import (
    HAS_FAST_SCAN,
    RequestScanner,
    ResponseScanner,
    skip_empty_lines,
)
from tests.helpers.feeding import NEXT_REQUEST, scan, scan_refused, scan_unfinished

LIMITS = HeadLimits(start_line=40, section=60, fields=4)
REQUESTS = RequestScanner(LIMITS, ReservedFields(b"x-test-", b"-secret"))
RESPONSES = ResponseScanner(LIMITS)
REQUEST = b"GET /path HTTP/1.1\r\nHost: a\r\nX-Test-Secret: 1\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


def test_only_the_compiled_build_has_the_fast_scan() -> None:
    assert HAS_FAST_SCAN is _build.COMPILED
    assert (REQUESTS.fast_scan is None) is not HAS_FAST_SCAN
    assert (RESPONSES.fast_scan is None) is not HAS_FAST_SCAN


def test_a_request_head_is_found_split_in_any_way() -> None:
    head = scan(REQUESTS, REQUEST)
    assert (head.method, head.target, head.minor) == (b"GET", b"/path", 1)
    assert head.buffer[: head.line_end] == b"GET /path HTTP/1.1\r\n"
    assert head.end == len(REQUEST)
    assert head.reserved == ((b"x-test-secret", b"1"),)
    assert head.stripped == b"GET /path HTTP/1.1\r\nHost: a\r\n\r\n"


def test_a_response_head_is_found_split_in_any_way() -> None:
    head = scan(RESPONSES, RESPONSE)
    assert (head.status, head.minor) == (200, 1)
    assert head.buffer[: head.line_end] == b"HTTP/1.1 200 OK\r\n"
    assert head.end == len(RESPONSE)
    assert head.content_length == 5


def test_the_minor_version_is_read() -> None:
    assert scan(REQUESTS, b"GET / HTTP/1.0\r\n\r\n").minor == 0
    assert scan(RESPONSES, b"HTTP/1.0 200 OK\r\n\r\n").minor == 0


def test_a_head_may_have_no_fields() -> None:
    request, response = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 \r\n\r\n"
    assert scan(REQUESTS, request).stripped == request
    assert scan(RESPONSES, response).stripped == response


def test_equal_hosts_are_one_object() -> None:
    """The router looks hosts up, and finds an identical object without a comparison."""
    hosts = [b"a.example:80", b"a.example:80", b"b.example:80", b"a.example", b"A.example", b"a"]
    heads = [REQUESTS.scan(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, 0) for host in hosts]
    scanned = [head.host for head in heads if head is not None]
    assert scanned == hosts
    assert scanned[0] is scanned[1]
    no_host = REQUESTS.scan(b"GET / HTTP/1.1\r\n\r\n", 0)
    assert no_host is not None
    assert no_host.host is None


@pytest.mark.parametrize("cut", [b"", b"Connection: keep-alive\r\n"], ids=["as it is", "cut"])
@pytest.mark.parametrize("size", [0, 1, 5, MAX_JOINED, MAX_JOINED + 1])
@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_a_response_that_has_arrived_is_spliced_as_a_whole(
    cut: bytes, size: int, surplus: int
) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % size
    rest = b"x" * (size + surplus)
    for scan_head in (RESPONSES.scan, RESPONSES.scan_fully):
        head = scan_head(start + cut + b"\r\n" + rest, 0)
        assert head is not None
        is_joined = surplus == 0 and size <= MAX_JOINED
        assert head.spliced == start + b"\r\n" + (rest if is_joined else b"")
        assert head.stripped == start + b"\r\n"
        assert head.rest() == rest


@pytest.mark.parametrize("fields", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_without_a_length_is_not_joined_to_its_head(fields: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n"
    for rest in (b"", b"rest"):
        for scan_head in (RESPONSES.scan, RESPONSES.scan_fully):
            head = scan_head(data + rest, 0)
            assert head is not None
            assert head.spliced == head.stripped == data


def test_reserved_fields_are_ignored_in_a_response() -> None:
    response = b"HTTP/1.1 200 OK\r\nX-Test-Secret: 1\r\n\r\n"
    head = scan(RESPONSES, response)
    assert head.stripped == response


@pytest.mark.parametrize("size", range(len(REQUEST)))
def test_an_unfinished_request_is_not_refused(size: int) -> None:
    scan_unfinished(REQUESTS, REQUEST[:size])


@pytest.mark.parametrize("size", range(len(RESPONSE)))
def test_an_unfinished_response_is_not_refused(size: int) -> None:
    scan_unfinished(RESPONSES, RESPONSE[:size])


def test_offsets_are_positions_in_the_buffer() -> None:
    head = REQUESTS.scan(REQUEST + NEXT_REQUEST, 0)
    assert head is not None
    assert head.buffer[head.end :] == NEXT_REQUEST


def test_a_blank_line_is_found_where_an_earlier_search_stopped() -> None:
    for searched in range(1, len(REQUEST)):
        assert REQUESTS.scan(REQUEST[:searched], 0) is None
        assert REQUESTS.scan(REQUEST, searched) is not None


# Refusals


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"GET / HTTP/1.1 \r\n\r\n", "the request line is not method, target and version"),
        (b"GET / HTTP/1.1\r\nA : 1\r\n\r\n", "header field 1 has white space before its colon"),
        (
            b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "the Host field is not a host and an optional port",
        ),
    ],
    ids=["line", "field", "value"],
)
def test_a_malformed_request_is_refused(head: bytes, reason: str) -> None:
    error = scan_refused(REQUESTS, head)
    assert (error.status, error.reason) == (400, reason)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"HTTP/1.1 20 OK\r\n\r\n", "the status line is malformed"),
        (b"HTTP/1.1 200 OK\r\nA\r\n\r\n", "header field 1 has no colon"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length is not a plain number"),
    ],
    ids=["line", "field", "value"],
)
def test_a_malformed_response_is_refused(head: bytes, reason: str) -> None:
    assert scan_refused(RESPONSES, head).reason == reason


@pytest.mark.parametrize(
    "start", [b"\x16\x03\x01", b"G\n", b"GET / HTTP/2.0\r\n", b"GET /\r\nHost"]
)
def test_an_invalid_start_of_a_request_is_refused_before_its_end(start: bytes) -> None:
    scan_refused(REQUESTS, start)


@pytest.mark.parametrize("start", [b"SSH", b"HTTP/1.1 20\n", b"HTTP/1.1 2000\r\n"])
def test_an_invalid_start_of_a_response_is_refused_before_its_end(start: bytes) -> None:
    scan_refused(RESPONSES, start)


# Limits


def request_of(line: int = 0, section: int = 0) -> bytes:
    """Return a request whose start line or section has that size."""
    target = b"/" + b"a" * (line - len(b"GET / HTTP/1.1\r\n"))
    value = b"b" * (section - len(b"A:\r\n\r\n"))
    return b"GET %b HTTP/1.1\r\nA:%b\r\n\r\n" % (target, value)


def response_of(line: int = 0, section: int = 0) -> bytes:
    """Return a response whose start line or section has that size."""
    reason = b"a" * (line - len(b"HTTP/1.1 200 \r\n"))
    value = b"b" * (section - len(b"A:\r\n\r\n"))
    return b"HTTP/1.1 200 %b\r\nA:%b\r\n\r\n" % (reason, value)


def test_heads_up_to_the_limits_are_accepted() -> None:
    assert scan(REQUESTS, request_of(line=40)).line_end == 40
    assert scan(RESPONSES, response_of(line=40)).line_end == 40
    assert len(scan(REQUESTS, request_of(section=60)).section()) == 60
    assert len(scan(RESPONSES, response_of(section=60)).section()) == 60


def test_a_start_line_past_the_limit_is_refused() -> None:
    assert scan_refused(REQUESTS, request_of(line=41)).status == 414
    assert scan_refused(RESPONSES, response_of(line=41)).reason == "the start line is too long"


def test_a_section_past_the_limit_is_refused() -> None:
    assert scan_refused(REQUESTS, request_of(section=61)).status == 431
    assert scan_refused(RESPONSES, response_of(section=61)).status == 431


def test_a_start_line_that_never_ends_is_refused_at_the_limit() -> None:
    scan_unfinished(REQUESTS, b"GET /" + b"a" * 35)
    assert scan_refused(REQUESTS, b"GET /" + b"a" * 36).status == 414


def test_a_too_long_method_is_not_reported_as_a_long_target() -> None:
    scan_unfinished(REQUESTS, b"a" * 40)
    for line in (b"a" * 41, b"a" * 41 + b" / HTTP/1.1\r\n\r\n", b"a" * 41 + b"\r\n\r\n"):
        refused = scan_refused(REQUESTS, line)
        assert refused.status == 400
    assert scan_refused(REQUESTS, b"a" * 41).reason == "the method is too long"


def test_a_section_that_never_ends_is_refused_at_the_limit() -> None:
    start = b"GET / HTTP/1.1\r\nA:"
    scan_unfinished(REQUESTS, start + b"a" * 58)
    assert scan_refused(REQUESTS, start + b"a" * 59).status == 431
    start = b"HTTP/1.1 200 \r\nA:"
    scan_unfinished(RESPONSES, start + b"a" * 58)
    assert scan_refused(RESPONSES, start + b"a" * 59).status == 431


def test_more_fields_than_the_limit_are_refused() -> None:
    assert scan(REQUESTS, b"GET / HTTP/1.1\r\n" + b"A:\r\n" * 4 + b"\r\n").minor == 1
    error = scan_refused(REQUESTS, b"GET / HTTP/1.1\r\n" + b"A:\r\n" * 5 + b"\r\n")
    assert (error.status, error.reason) == (431, "there are too many header fields")


def test_bytes_after_a_head_count_for_no_limit() -> None:
    assert REQUESTS.scan(REQUEST + b"x" * 1000, 0) is not None
    assert RESPONSES.scan(RESPONSE + b"x" * 1000, 0) is not None


# Empty lines before a request


@pytest.mark.parametrize(
    ("buffer", "remaining"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"\r\n\r\n\r\nGET", b"GET"),
        (b"GET\r\n", b"GET\r\n"),
        (b"\r", b"\r"),
        (b"\r\n\r", b"\r"),
        (b"\n\r\n", b"\n\r\n"),
        (b" \r\n", b" \r\n"),
    ],
)
def test_only_whole_empty_lines_are_skipped(buffer: bytes, remaining: bytes) -> None:
    assert skip_empty_lines(buffer) == remaining


def test_a_refusal_is_an_exception_with_a_status() -> None:
    with pytest.raises(BadMessage, match="too long"):
        REQUESTS.scan(b"G" * 41, 0)

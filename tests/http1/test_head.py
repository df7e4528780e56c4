"""The facts of heads, and the limits of a head to the byte."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.field_kinds import response_field_kinds
from cmux_proxy.http1.fields import FieldReader
from cmux_proxy.http1.head import (
    CLOSE,
    KEEP_ALIVE,
    UPGRADE,
    Fields,
    RequestHead,
    ResponseHead,
    Spans,
)
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.reserved_fields import NO_RESERVED_FIELDS

LIMITS = HeadLimits(start_line=20, section=30, fields=3)


def test_the_options_of_connection_are_bits() -> None:
    assert CLOSE | KEEP_ALIVE | UPGRADE == CLOSE + KEEP_ALIVE + UPGRADE == 0b111


def test_facts_are_empty_before_a_section_is_read() -> None:
    fields = Fields()
    assert (fields.connection, fields.reserved) == (0, ())
    assert (fields.host, fields.expect, fields.upgrade) == (None, None, None)
    assert (fields.content_length, fields.transfer_encoding) == (None, None)
    spans = Spans()
    assert (spans.cuts, spans.nominated) == ((), ())
    assert (spans.connection_lines, spans.upgrade_lines) == ((), ())
    assert (spans.host_line, spans.transfer_encoding_line) == ((0, 0), (0, 0))
    assert (spans.http2_settings_lines, spans.accepts_trailers) == ((), False)


def test_a_head_has_the_facts_it_was_made_with() -> None:
    buffer = b"GET / HTTP/1.1\r\nTE:\r\n\r\nbehind"
    finder = FieldReader(HeadLimits(100, 100, 10), response_field_kinds(), NO_RESERVED_FIELDS)
    reserved = ((b"x", b"1"),)
    request = RequestHead(
        finder, buffer, 23, b"GET", 1, b"GET", CLOSE, 5, b"a", b"b", b"c", b"d", reserved
    )
    assert (request.end, request.section(), request.stripped) == (23, b"TE:\r\n\r\n", b"GET")
    assert (request.buffer, request.line_end, request.connection) == (buffer, 16, CLOSE)
    assert (request.content_length, request.transfer_encoding) == (5, b"a")
    assert (request.upgrade, request.host, request.expect) == (b"b", b"c", b"d")
    assert request.reserved == reserved
    assert (request.method, request.target, request.minor) == (b"GET", b"/", 1)
    assert request.spans().cuts == ((0, 5),)
    response = ResponseHead(finder, buffer, 23, 204, 0, b"GETbehind", UPGRADE, 6, b"e", b"f")
    assert (response.end, response.section(), response.stripped) == (
        23,
        b"TE:\r\n\r\n",
        b"GET",
    )
    assert (response.buffer, response.line_end, response.connection) == (buffer, 16, UPGRADE)
    assert (response.content_length, response.transfer_encoding) == (6, b"e")
    assert (response.upgrade, response.spliced) == (b"f", b"GETbehind")
    assert (response.status, response.minor) == (204, 0)


@pytest.mark.parametrize(
    "buffer",
    [b"", b"x" * 20, b"x" * 19 + b"\n", b"x\n" + b"y" * 30, b"x" * 19 + b"\n" + b"y" * 30],
)
def test_an_unfinished_head_within_the_limits_is_accepted(buffer: bytes) -> None:
    LIMITS.check_unfinished(buffer)


@pytest.mark.parametrize(
    ("buffer", "status", "reason"),
    [
        (b"x" * 21, 414, "the start line is too long"),
        (b"x" * 20 + b"\n", 414, "the start line is too long"),
        (b"x\n" + b"y" * 31, 431, "the header section is too large"),
        (b"x\n" + b"\n" * 31, 431, "the header section is too large"),
    ],
)
def test_an_unfinished_head_past_a_limit_is_refused(
    buffer: bytes, status: int, reason: str
) -> None:
    with pytest.raises(BadMessage) as caught:
        LIMITS.check_unfinished(buffer)
    assert (caught.value.status, caught.value.reason) == (status, reason)


def test_a_start_line_is_measured_to_the_byte() -> None:
    LIMITS.check_start_line(20)
    with pytest.raises(BadMessage) as caught:
        LIMITS.check_start_line(21)
    assert caught.value.status == 414


def test_a_section_is_measured_to_the_byte() -> None:
    LIMITS.check_section(b"x" * 26 + b"\r\n\r\n")
    with pytest.raises(BadMessage) as caught:
        LIMITS.check_section(b"x" * 27 + b"\r\n\r\n")
    assert (caught.value.status, caught.value.reason) == (431, "the header section is too large")


@pytest.mark.parametrize("line", [b"A:\r\n", b"A: 123\r\n"], ids=["shortest", "longer"])
def test_lines_are_counted_without_the_blank_one(line: bytes) -> None:
    LIMITS.check_section(line * 3 + b"\r\n")
    short = HeadLimits(start_line=20, section=1000, fields=3)
    with pytest.raises(BadMessage) as caught:
        short.check_section(line * 4 + b"\r\n")
    assert (caught.value.status, caught.value.reason) == (431, "there are too many header fields")

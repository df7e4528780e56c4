"""The vocabulary of facts, and the limits of a head to the byte."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.fields import FieldReader
from cmux_proxy.http1.head import (
    CLOSE,
    KEEP_ALIVE,
    UPGRADE,
    Fields,
    HeadLimits,
    RequestHead,
    ResponseHead,
    Spans,
)
from cmux_proxy.http1.reserved_fields import NO_FAMILY

LIMITS = HeadLimits(start_line=20, section=30, fields=3)


def test_the_options_of_connection_are_bits() -> None:
    assert CLOSE | KEEP_ALIVE | UPGRADE == CLOSE + KEEP_ALIVE + UPGRADE == 0b111


def test_fields_know_nothing_before_they_are_read() -> None:
    fields = Fields()
    assert (fields.connection, fields.reported) == (0, ())
    assert (fields.host, fields.expect, fields.upgrade) == (None, None, None)
    assert (fields.content_length, fields.transfer_encoding) == (None, None)
    spans = Spans()
    assert (spans.cuts, spans.handshake, spans.nominated) == ((), (), ())
    assert (spans.host, spans.coding) == ((0, 0), (0, 0))


def test_a_head_keeps_what_it_is_given() -> None:
    buffer = b"GET / HTTP/1.1\r\nTE:\r\n\r\nbehind"
    finder = FieldReader(HeadLimits(100, 100, 10), NO_FAMILY)
    fields = Fields(content_length=5)
    request = RequestHead(finder, buffer, 16, 23, b"GET", b"/", 1, b"plain", fields)
    assert (request.end, request.section(), request.plain) == (23, b"TE:\r\n\r\n", b"plain")
    assert (request.buffer, request.line_end, request.fields) == (buffer, 16, fields)
    assert (request.method, request.target, request.minor) == (b"GET", b"/", 1)
    assert request.spans().cuts == ((0, 5),)
    response = ResponseHead(finder, buffer, 16, 23, 204, 0, b"plain", fields)
    assert (response.end, response.section(), response.plain) == (23, b"TE:\r\n\r\n", b"plain")
    assert (response.buffer, response.line_end, response.fields) == (buffer, 16, fields)
    assert (response.status, response.minor) == (204, 0)


@pytest.mark.parametrize(
    "buffer",
    [b"", b"x" * 20, b"x" * 19 + b"\n", b"x\n" + b"y" * 30, b"x" * 19 + b"\n" + b"y" * 30],
)
def test_an_unfinished_head_within_the_limits_is_waited_for(buffer: bytes) -> None:
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
    LIMITS.check_line(20)
    with pytest.raises(BadMessage) as caught:
        LIMITS.check_line(21)
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

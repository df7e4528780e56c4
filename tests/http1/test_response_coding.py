"""The coding of a response: framing and keep-alive for a client of either version."""

import pytest

from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.response_coding import KEEP, UNWRAP, WRAP, choose_coding, coding_field_lines

# HTTP/1.1 and HTTP/1.0
NEW = 1
OLD = 0
CLOSE = b"Connection: close\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"


def test_the_bits_differ() -> None:
    assert sorted([KEEP, WRAP, UNWRAP, KEEP | WRAP, KEEP | UNWRAP, WRAP | UNWRAP]) == (
        [1, 2, 3, 4, 5, 6]
    )


@pytest.mark.parametrize(
    ("framing", "is_coded", "keeping", "closing"),
    [
        (0, False, KEEP, 0),
        (5, False, KEEP, 0),
        (0, True, KEEP, 0),
        (CHUNKED, True, KEEP, 0),
        (UNTIL_CLOSE, False, KEEP | WRAP, WRAP),
    ],
)
def test_http11_is_kept_alive_and_every_body_has_an_end(
    framing: int, is_coded: bool, keeping: int, closing: int
) -> None:
    assert choose_coding(NEW, framing, is_coded, may_persist=True) == keeping
    assert choose_coding(NEW, framing, is_coded, may_persist=False) == closing


@pytest.mark.parametrize(
    ("framing", "is_coded", "keeping", "closing"),
    [
        (0, False, KEEP, 0),
        (5, False, KEEP, 0),
        (0, True, KEEP | UNWRAP, UNWRAP),
        (CHUNKED, True, UNWRAP, UNWRAP),
        (UNTIL_CLOSE, False, 0, 0),
    ],
)
def test_http10_gets_no_chunks_and_a_body_until_close(
    framing: int, is_coded: bool, keeping: int, closing: int
) -> None:
    assert choose_coding(OLD, framing, is_coded, may_persist=True) == keeping
    assert choose_coding(OLD, framing, is_coded, may_persist=False) == closing


@pytest.mark.parametrize(
    ("coding", "to_new", "to_old"),
    [
        (KEEP, b"", b"Connection: keep-alive\r\n"),
        (0, CLOSE, CLOSE),
        (KEEP | WRAP, CODING, CODING + b"Connection: keep-alive\r\n"),
        (WRAP, CODING + CLOSE, CODING + CLOSE),
        (UNWRAP, CLOSE, CLOSE),
        (KEEP | UNWRAP, b"", b"Connection: keep-alive\r\n"),
    ],
)
def test_only_necessary_fields_are_added(coding: int, to_new: bytes, to_old: bytes) -> None:
    assert coding_field_lines(NEW, coding) == to_new
    assert coding_field_lines(OLD, coding) == to_old

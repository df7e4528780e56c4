"""Size lines that do not follow the RFC: which are normalized, and which are refused."""

import pytest

from cmux_proxy.http1.body import Body, LengthBody, UntilCloseBody
from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.response_body import ResponseChunkedBody, response_body
from tests.helpers.feeding import Fed, feed, feed_refused

RULES = ChunkRules(line=20, extensions=30, trailers=40, reserved_prefix=b"")
CLEAN = b"5\r\nhello\r\n0\r\n\r\n"


def forwarded(rules: ChunkRules = RULES) -> ResponseChunkedBody:
    return ResponseChunkedBody(rules, unwrap=False)


def unwrapped() -> ResponseChunkedBody:
    return ResponseChunkedBody(RULES, unwrap=True)


LOOSE = {
    "blanks behind a size": b"5   \r\nhello\r\n0 \t\r\n\r\n",
    "zeros before a size": b"005\r\nhello\r\n000\r\n\r\n",
    "twenty digits": b"00000000000000000005\r\nhello\r\n00000000000000000000\r\n\r\n",
    "blanks around an extension": b"5 ; a = b\r\nhello\r\n0\t;\ta\r\n\r\n",
    "a quoted extension": b'5 ;a="\r"'.replace(b"\r", b";") + b"\r\nhello\r\n0\r\n\r\n",
    "the last chunk alone": b"5\r\nhello\r\n00\r\n\r\n",
}


@pytest.mark.parametrize("data", LOOSE.values(), ids=LOOSE)
def test_a_loose_size_line_is_replaced_by_its_size(data: bytes) -> None:
    assert feed(forwarded, data) == Fed(CLEAN, True, b"")
    assert feed(forwarded, data + b"5 \r\n") == Fed(CLEAN, True, b"5 \r\n")
    assert feed(unwrapped, data) == Fed(b"hello", True, b"")


@pytest.mark.parametrize("data", LOOSE.values(), ids=LOOSE)
def test_such_a_body_is_marked_as_normalized(data: bytes) -> None:
    body = forwarded()
    body.feed(data, 0)
    assert body.is_normalized


def test_a_clean_body_is_neither_copied_nor_normalized() -> None:
    data = b"5;a=b\r\nhello\r\na\r\n0123456789\r\n0;a\r\nA: b\r\n\r\n"
    body = forwarded()
    assert body.feed(data[:-9], 0) is not None
    body = forwarded()
    clean = b"5;a=b\r\nhello\r\n0\r\n\r\n"
    assert body.feed(clean, 0) is clean
    assert body.is_done
    assert not body.is_normalized


def test_clean_lines_between_loose_ones_are_kept() -> None:
    data = b"1;a\r\nx\r\n1 \r\ny\r\n1;b=c\r\nz\r\n01\r\n!\r\n0;d\r\nTrailer-1: e\r\n\r\n"
    clean = b"1;a\r\nx\r\n1\r\ny\r\n1;b=c\r\nz\r\n1\r\n!\r\n0;d\r\nTrailer-1: e\r\n\r\n"
    assert feed(forwarded, data) == Fed(clean, True, b"")
    assert feed(unwrapped, data) == Fed(b"xyz!", True, b"")


MALFORMED = "a chunk size line is malformed"
TOO_LONG = "the chunk extensions are too long"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b" 5\r\nhello", MALFORMED),
        (b"5 5\r\nhello", MALFORMED),
        (b"5\nhello", MALFORMED),
        (b"5 \nhello", MALFORMED),
        (b"5 \r \nhello", MALFORMED),
        (b"+5\r\nhello", MALFORMED),
        (b"0x5\r\nhello", MALFORMED),
        (b"5_0\r\nhello", MALFORMED),
        (b"5 ;\r\nhello", MALFORMED),
        (b"5 ; a =\r\nhello", MALFORMED),
        (b"5 ; a\x00\r\nhello", MALFORMED),
        (b"5\x0b\r\nhello", MALFORMED),
        (b"\r\n", MALFORMED),
        (b"5 \r\nhello\n0\r\n", "a chunk does not end in CRLF"),
        (b"1000000000000000\r\n", "a chunk is too large"),
        (b"0001000000000000000\r\n", "a chunk is too large"),
    ],
)
def test_a_line_that_no_rfc_allows_is_refused(data: bytes, reason: str) -> None:
    assert feed_refused(forwarded, data).reason == reason
    assert feed_refused(unwrapped, data).reason == reason


def test_the_bytes_after_a_size_have_a_limit() -> None:
    for data in (b"5" + b" " * 100, b"0" * 100, b"5 ;" + b"a" * 100, b"5;a=" + b" " * 100 + b"b"):
        assert feed_refused(forwarded, data).reason == TOO_LONG
        assert feed_refused(forwarded, data + b"\r\n").reason == TOO_LONG
    assert feed_refused(forwarded, b"1 ;a\r\nx\r\n" * 16 + CLEAN).reason == TOO_LONG


def test_blanks_and_zeros_may_come_with_every_chunk_of_a_long_body() -> None:
    body = forwarded()
    forwarded_bytes = b"".join(body.feed(b"001   \r\nx\r\n", 0) for _ in range(1000))
    assert forwarded_bytes == b"1\r\nx\r\n" * 1000


def test_a_framing_selects_a_body() -> None:
    length = response_body(5, RULES, unwrap=True)
    assert isinstance(length, LengthBody)
    assert length.remaining == 5
    assert response_body(0, RULES, unwrap=False).is_done
    assert isinstance(response_body(UNTIL_CLOSE, RULES, unwrap=True), UntilCloseBody)


def test_only_chunks_are_unwrapped() -> None:
    def content(unwrap: bool) -> bytes:
        body: Body = response_body(CHUNKED, RULES, unwrap)
        return body.feed(b"1\r\nx\r\n0\r\n\r\n", 0)

    assert content(unwrap=False) == b"1\r\nx\r\n0\r\n\r\n"
    assert content(unwrap=True) == b"x"

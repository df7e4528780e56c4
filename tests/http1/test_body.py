"""Bodies of each class: which bytes are forwarded, and where the body ends."""

from collections.abc import Callable

import pytest

from cmux_proxy.http1.body import LengthBody, UntilCloseBody
from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED
from cmux_proxy.http1.request_body import request_body
from tests.helpers.feeding import Fed, feed, feed_refused

RULES = ChunkRules(line=20, extensions=30, trailers=40, reserved_prefix=b"x-test-")


def wrapped(rules: ChunkRules = RULES) -> Callable[[], ChunkedBody]:
    return lambda: ChunkedBody(rules, unwrap=False)


def unwrapped(rules: ChunkRules = RULES) -> Callable[[], ChunkedBody]:
    return lambda: ChunkedBody(rules, unwrap=True)


# Lengths


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_body_of_known_length_ends_with_its_last_byte(size: int) -> None:
    data = bytes(range(size))
    assert feed(lambda: LengthBody(size), data) == Fed(data, True, b"")
    assert feed(lambda: LengthBody(size), data[:-1]) == Fed(data[:-1], False, b"")


def test_an_empty_body_is_done_at_once() -> None:
    assert LengthBody(0).is_done
    assert feed(lambda: LengthBody(0), b"next") == Fed(b"", True, b"next")


def test_the_bytes_of_a_body_are_not_copied() -> None:
    data = bytes(1000)
    assert LengthBody(2000).feed(data, 0) is data
    assert LengthBody(1000).feed(data, 0) is data
    assert UntilCloseBody().feed(data, 0) is data
    chunks = b"5\r\nhello\r\n" * 10
    assert ChunkedBody(RULES, unwrap=False).feed(chunks, 0) is chunks
    whole = chunks + b"0\r\n\r\n"
    assert ChunkedBody(RULES, unwrap=False).feed(whole, 0) is whole


# Until close


def test_a_body_until_close_does_not_end_before() -> None:
    assert feed(UntilCloseBody, b"any\r\n\r\nbytes") == Fed(b"any\r\n\r\nbytes", False, b"")


def test_only_a_body_until_close_is_completed_by_close() -> None:
    assert UntilCloseBody().ends_with_connection()
    assert not LengthBody(1).ends_with_connection()
    assert not ChunkedBody(RULES, unwrap=False).ends_with_connection()


# Chunks


def test_chunks_are_forwarded_unchanged() -> None:
    data = b"5;a=b\r\nhello\r\n00a\r\n\r\n0\r\n\r\n\r\n!\r\n0;c\r\n\r\n"
    assert feed(wrapped(), data) == Fed(data, True, b"")


def test_chunks_can_be_unwrapped() -> None:
    data = b"5;a=b\r\nhello\r\n00a\r\n\r\n0\r\n\r\n\r\n!\r\n0;c\r\nA: 1\r\n\r\n"
    assert feed(unwrapped(), data) == Fed(b"hello\r\n0\r\n\r\n\r\n!", True, b"")


def test_a_size_is_hexadecimal() -> None:
    data = b"1F\r\n" + b"x" * 31 + b"\r\n010\r\n" + b"y" * 16 + b"\r\n0\r\n\r\n"
    assert feed(unwrapped(), data) == Fed(b"x" * 31 + b"y" * 16, True, b"")


def test_content_is_forwarded_as_soon_as_it_arrives() -> None:
    body = ChunkedBody(RULES, unwrap=False)
    assert body.feed(b"5\r\nhe", 0) == b"5\r\nhe"
    assert body.feed(b"llo", 0) == b"llo"
    assert body.feed(b"\r\n3\r\nabc", 0) == b"\r\n3\r\nabc"
    body = ChunkedBody(RULES, unwrap=True)
    assert [body.feed(data, 0) for data in (b"5\r\nhe", b"llo", b"\r\n")] == [b"he", b"llo", b""]


def test_a_size_line_is_held_until_it_is_whole() -> None:
    body = ChunkedBody(RULES, unwrap=False)
    assert [body.feed(data, 0) for data in (b"5", b";a", b"=b", b"\r")] == [b"", b"", b"", b""]
    assert body.feed(b"\nhe", 0) == b"5;a=b\r\nhe"


def test_the_line_end_of_a_chunk_is_held_until_it_is_whole() -> None:
    body = ChunkedBody(RULES, unwrap=False)
    assert body.feed(b"1\r\nx\r", 0) == b"1\r\nx"
    assert body.feed(b"\n", 0) == b"\r\n"


def test_trailers_are_held_until_all_have_arrived() -> None:
    body = ChunkedBody(RULES, unwrap=False)
    assert body.feed(b"0\r\nA: 1\r\nHost: b\r\n", 0) == b"0\r\n"
    assert body.feed(b"B: 2\r\nC: ", 0) == b""
    assert body.feed(b"3\r\n\r\nnext", 0) == b"A: 1\r\nB: 2\r\nC: 3\r\n\r\n"
    assert (body.is_done, body.trailing_data) == (True, b"next")


def test_reserved_trailers_are_dropped() -> None:
    data = b"0\r\nX-Test-A: 1\r\nX-Tes: 2\r\n\r\n"
    assert feed(wrapped(), data).output == b"0\r\nX-Tes: 2\r\n\r\n"


def test_empty_reads_lose_nothing() -> None:
    body = ChunkedBody(RULES, unwrap=False)
    out = b"".join(body.feed(data, 0) for data in (b"", b"5", b"", b"\r\nhello\r\n0\r\n", b""))
    assert out + body.feed(b"\r\n", 0) == b"5\r\nhello\r\n0\r\n\r\n"
    assert body.is_done


@pytest.mark.parametrize("new", [wrapped(), unwrapped()], ids=["wrapped", "unwrapped"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"5\nhello", "a chunk size line is malformed"),
        (b"0x5\r\nhello", "a chunk size line is malformed"),
        (b"5\r\nhello5\r\n", "a chunk does not end in CRLF"),
        (b"5\r\nhello\rx", "a chunk does not end in CRLF"),
        (b"0\r\nA\r\n\r\n", "a trailer field is malformed"),
        (b"0\r\n\n", "a trailer field is malformed"),
    ],
)
def test_malformed_chunks_are_refused(
    new: Callable[[], ChunkedBody], data: bytes, reason: str
) -> None:
    assert feed_refused(new, data).reason == reason


def test_no_byte_of_a_malformed_size_line_is_forwarded() -> None:
    body = ChunkedBody(RULES, unwrap=False)
    sent = body.feed(b"1\r\nx\r\n5;a", 0)
    with pytest.raises(BadMessage):
        body.feed(b"\nhello\r\n", 0)
    assert sent == b"1\r\nx\r\n"


# Limits: 20 bytes of extensions in a chunk, 30 in all chunks, 40 bytes of trailers

TOO_LONG = "the chunk extensions are too long"
TOO_LARGE = "the trailer section is too large"


@pytest.mark.parametrize("size", [b"5", b"000000000000005"])
def test_a_chunk_may_have_extensions_up_to_the_limit(size: bytes) -> None:
    data = size + b";" + b"a" * 19 + b"\r\nhello\r\n0\r\n\r\n"
    assert feed(wrapped(), data) == Fed(data, True, b"")


@pytest.mark.parametrize("size", [b"5", b"000000000000005"])
def test_longer_extensions_are_refused(size: bytes) -> None:
    assert feed_refused(wrapped(), size + b";" + b"a" * 20 + b"\r\nhello\r\n").reason == TOO_LONG


def test_an_extension_that_never_ends_is_refused_at_the_limit() -> None:
    assert feed(wrapped(), b"5;" + b"a" * 19) == Fed(b"", False, b"")
    assert feed_refused(wrapped(), b"5;" + b"a" * 20).reason == TOO_LONG


def test_a_long_extension_is_judged_when_it_ends() -> None:
    rules = ChunkRules(line=100, extensions=100, trailers=40, reserved_prefix=b"")
    assert feed(wrapped(rules), b"5;" + b"a" * 60 + b"(") == Fed(b"", False, b"")
    error = feed_refused(wrapped(rules), b"5;" + b"a" * 60 + b"(\r\n")
    assert error.reason == "a chunk size line is malformed"


def test_all_extensions_together_have_a_limit() -> None:
    chunk = b"1;" + b"a" * 9 + b"\r\nx\r\n"
    assert feed(wrapped(), chunk * 3) == Fed(chunk * 3, False, b"")
    assert feed_refused(wrapped(), chunk * 3 + b"1;a\r\nx\r\n").reason == TOO_LONG


def test_sizes_have_no_common_limit() -> None:
    data = b"000001\r\nx\r\n" * 100
    assert ChunkedBody(RULES, unwrap=True).feed(data, 0) == b"x" * 100


def test_trailers_up_to_the_limit_are_accepted() -> None:
    data = b"0\r\nA: " + b"a" * 35 + b"\r\n\r\n"
    assert feed(wrapped(), data) == Fed(data, True, b"")
    data = b"0\r\n" + b"A: 12\r\n" * 5 + b"\r\n"
    assert feed(wrapped(), data) == Fed(data, True, b"")


def test_trailers_to_drop_count_for_the_limit_too() -> None:
    assert feed_refused(wrapped(), b"0\r\nTE: " + b"a" * 35 + b"\r\n\r\n").reason == TOO_LARGE
    assert feed_refused(wrapped(), b"0\r\n" + b"TE:12\r\n" * 6 + b"\r\n").reason == TOO_LARGE


def test_a_trailer_that_never_ends_is_refused_at_the_limit() -> None:
    assert feed(wrapped(), b"0\r\nA: 1\r\n" + b"a" * 34) == Fed(b"0\r\n", False, b"")
    assert feed_refused(wrapped(), b"0\r\nA: 1\r\n" + b"a" * 35).reason == TOO_LARGE


def test_a_body_without_extensions_and_trailers_exceeds_no_limit() -> None:
    smallest = ChunkRules(line=1, extensions=1, trailers=1, reserved_prefix=b"")
    data = b"000000000000005\r\nhello\r\n0\r\n\r\n"
    assert feed(wrapped(smallest), data) == Fed(data, True, b"")


# The body of a framing


def test_the_framing_of_a_request_selects_its_body() -> None:
    length = request_body(5, RULES)
    assert isinstance(length, LengthBody)
    assert length.remaining == 5
    assert request_body(0, RULES).is_done
    assert request_body(CHUNKED, RULES).feed(b"1\r\nx\r\n", 0) == b"1\r\nx\r\n"

"""The compiled build's HEADERS frames are those that the encoder defines."""

from unittest import mock

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http2 import frame_writer, hpack_encoder
from cmux_proxy.http2.frame_types import DATA, END_STREAM
from cmux_proxy.http2.hpack_encoder import HpackEncoder
from cmux_proxy.http2.line_memory import LineMemory

pytest.importorskip("cmux_proxy.http2._fast_frames", reason="this is the pure build")

NAMES = st.one_of(
    st.sampled_from([b"Server", b"Connection", b"Content-Type", b"date", b"set-cookie", b"Via"]),
    st.binary(min_size=1, max_size=3).map(lambda name: b"x-" + name.hex().encode()),
)
VALUES = st.one_of(
    st.sampled_from([b"", b"text/html", b"a\rb", b"\r", b"v" * 130, b"v" * 600]),
    st.binary(max_size=20).map(lambda value: value.translate(None, b"\r\n")),
)
LINES = st.lists(st.tuples(NAMES, VALUES).map(b": ".join), max_size=12)
STATUSES = st.sampled_from([b"200 OK", b"404 Not Found", b"418 ", b"599 x"])
HEADS = st.tuples(STATUSES, LINES).map(
    lambda head: b"\r\n".join([b"HTTP/1.1 " + head[0], *head[1], b"", b""])
)
IDS = st.sampled_from([1, 3, 255, 65_537, 2**31 - 1])


def slow_frames(encoder: HpackEncoder, stream_id: int, head: bytes, is_last: bool) -> bytes:
    with mock.patch.object(hpack_encoder, "HAS_FAST_FRAMES", False):
        return encoder.head_frames(stream_id, head, is_last)


@given(st.lists(st.tuples(HEADS, IDS, st.booleans(), st.sampled_from([None, 0, 64])), max_size=8))
def test_both_make_the_same_frames(
    heads: list[tuple[bytes, int, bool, int | None]],
) -> None:
    fast, slow = HpackEncoder(LineMemory()), HpackEncoder(LineMemory())
    for head, stream_id, is_last, size in heads * 6:
        if size is not None:
            fast.limit_table(size)
            slow.limit_table(size)
        expected = slow_frames(slow, stream_id, head, is_last)
        assert fast.head_frames(stream_id, head, is_last) == expected


@given(HEADS, IDS, st.binary(min_size=1, max_size=40), st.integers(1, 12))
def test_both_make_the_same_responses(head: bytes, stream_id: int, body: bytes, uses: int) -> None:
    fast, slow = HpackEncoder(LineMemory()), HpackEncoder(LineMemory())
    for _ in range(uses):
        with (
            mock.patch.object(hpack_encoder, "HAS_FAST_FRAMES", False),
            mock.patch.object(frame_writer, "HAS_FAST_FRAMES", False),
        ):
            expected = slow.head_frames(stream_id, head, False)
        expected += frame_writer.frame_header(len(body), DATA, END_STREAM, stream_id) + body
        assert fast.response_frames(stream_id, head, body) == expected


@pytest.mark.parametrize("size", [3999, 4000, 4001, 16_000, 40_000])
def test_large_heads_are_whole(size: int) -> None:
    start = b"HTTP/1.1 200 OK\r\n"
    for line in (b"a:\r\n", b"x-longer: value\r\n"):
        head = start + line * ((size - len(start) - 2) // len(line)) + b"\r\n"
        fast, slow = HpackEncoder(LineMemory()), HpackEncoder(LineMemory())
        for _ in range(6):
            assert fast.head_frames(1, head, True) == slow_frames(slow, 1, head, True)


def test_many_entries_have_long_indexes() -> None:
    lines = [b"%d:" % count for count in range(120)]
    head = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])
    encoder, decoder = HpackEncoder(LineMemory()), hpack.Decoder()
    for _ in range(7):
        fields = list(decoder.decode(encoder.head_frames(1, head, False)[9:], raw=True))
        assert [bytes(name) for name, _value in fields[1:]] == [line[:-1] for line in lines]

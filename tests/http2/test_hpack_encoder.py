"""Response heads become header blocks (RFC 7541), which hpack decodes."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http2.frame_types import END_STREAM, HEADER_SIZE
from cmux_proxy.http2.hpack_decoder import TABLE_SIZE
from cmux_proxy.http2.hpack_encoder import HpackEncoder
from cmux_proxy.http2.http2_limits import MAX_KEPT_HEAD
from cmux_proxy.http2.line_memory import (
    COMMON_AFTER,
    MAX_LINE_SIZE,
    MAX_LINES,
    LineMemory,
    encode_string,
)
from tests.helpers.http2_frames import read_frames

STATUS_LINE = b"HTTP/1.1 200 OK"


class Pair:
    """An encoder and hpack's decoder."""

    def __init__(self, memory: LineMemory | None = None) -> None:
        self.encoder = HpackEncoder(memory or LineMemory())
        self.decoder = hpack.Decoder()

    def head(self, *lines: bytes) -> list[tuple[bytes, bytes]]:
        """Return what the client reads of a head."""
        return self.decoded(self.block(*lines))

    def block(self, *lines: bytes) -> bytes:
        """Return the block of a head."""
        return self.encoder.head_frames(1, b"\r\n".join([*lines, b"", b""]), False)[9:]

    def decoded(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Return what the client reads of a block."""
        return [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]

    def entries(self) -> list[tuple[bytes, bytes]]:
        """Return the client's table, newest first."""
        entries = self.decoder.header_table.dynamic_entries
        return [(bytes(name), bytes(value)) for name, value in entries]


@pytest.mark.parametrize("status", [100, 103, 200, 204, 206, 304, 400, 404, 418, 500, 599, 999])
@pytest.mark.parametrize("end", [b" Reason", b" ", b" two words"])
def test_every_status_is_sent_without_its_reason(status: int, end: bytes) -> None:
    assert Pair().head(b"HTTP/1.1 %d" % status + end) == [(b":status", b"%d" % status)]


def test_names_become_lower_case_and_values_lose_white_space_around_them() -> None:
    lines = [b"Content-Type:text/html", b"X-A: \t b c \t", b"X-Empty:", b"X-B: :"]
    assert Pair().head(STATUS_LINE, *lines)[1:] == [
        (b"content-type", b"text/html"),
        (b"x-a", b"b c"),
        (b"x-empty", b""),
        (b"x-b", b":"),
    ]


@pytest.mark.parametrize(
    "name", ["Connection", "keep-alive", "Proxy-Connection", "TRANSFER-ENCODING", "Upgrade"]
)
def test_fields_of_a_connection_are_left_out(name: str) -> None:
    pair = Pair()
    for _ in range(COMMON_AFTER + 2):
        fields = pair.head(STATUS_LINE, b"a: 1", name.encode() + b": x", b"b: 2")
        assert fields[1:] == [(b"a", b"1"), (b"b", b"2")]


def test_fields_that_occur_more_than_once_stay_in_order() -> None:
    lines = [b"set-cookie: a=1", b"x: y", b"set-cookie: a=1", b"set-cookie: b=2"]
    assert Pair().head(STATUS_LINE, *lines)[1:] == [
        (b"set-cookie", b"a=1"),
        (b"x", b"y"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]


def test_trailers_have_no_status() -> None:
    pair = Pair()
    block = pair.encoder.encode_trailers(b"Grpc-Status: 0\r\nx: y\r\n")
    assert pair.decoded(block) == [(b"grpc-status", b"0"), (b"x", b"y")]
    assert pair.encoder.encode_trailers(b"") == b""


def test_a_common_line_enters_the_table_and_becomes_one_byte() -> None:
    pair = Pair()
    line = b"Server: some-service"
    sizes = []
    for _ in range(COMMON_AFTER + 2):
        block = pair.block(STATUS_LINE, line)
        assert pair.decoded(block)[1:] == [(b"server", b"some-service")]
        sizes.append(len(block))
    assert len(set(sizes[:COMMON_AFTER])) == 1
    assert 2 < sizes[COMMON_AFTER] < sizes[0]
    assert sizes[COMMON_AFTER + 1] == 2
    assert pair.entries() == [(b"server", b"some-service")]


@pytest.mark.parametrize(
    "line", [b"Date: Mon, 21 Oct 2013 20:13:21 GMT", b"ETag: 1", b"Content-Length: 5", b"Age: 1"]
)
def test_lines_that_change_do_not_enter_the_table(line: bytes) -> None:
    pair = Pair()
    for _ in range(COMMON_AFTER + 2):
        pair.head(STATUS_LINE, line)
    assert pair.entries() == []


def test_secrets_are_never_indexed_nor_remembered() -> None:
    memory = LineMemory()
    pair = Pair(memory)
    for _ in range(COMMON_AFTER + 2):
        block = pair.block(STATUS_LINE, b"Set-Cookie: a")
    # RFC 7541 section 6.2.3
    assert block[1:3] == b"\x1f\x28"
    assert pair.entries() == []
    assert not memory.literals
    assert not memory.candidates


def test_the_table_is_filled_and_never_evicts() -> None:
    pair = Pair()
    lines = [b"x-%d: " % count + b"v" * 60 for count in range(80)]
    for _ in range(COMMON_AFTER + 3):
        assert len(pair.head(STATUS_LINE, *lines)) == 81
    size = sum(len(name) + len(value) + 32 for name, value in pair.entries())
    assert TABLE_SIZE - 110 < size <= TABLE_SIZE
    assert (b"x-0", b"v" * 60) in pair.entries()


def test_many_small_entries_have_long_indexes() -> None:
    pair = Pair()
    lines = [b"%d:" % count for count in range(90)]
    for _ in range(COMMON_AFTER + 2):
        fields = pair.head(STATUS_LINE, *lines)
        assert [name for name, _value in fields[1:]] == [b"%d" % count for count in range(90)]
    assert len(pair.entries()) == 90


@pytest.mark.parametrize("sizes", [(0,), (40,), (0, 4096), (100, 0), (4095,)])
def test_the_client_makes_the_table_smaller(sizes: tuple[int, ...]) -> None:
    pair = Pair()
    lines = [b"server: a", b"x-long: " + b"v" * 50]
    for size in (4096, *sizes):
        pair.decoder.max_allowed_table_size = size
        pair.encoder.limit_table(size)
        for _ in range(COMMON_AFTER + 2):
            assert len(pair.head(STATUS_LINE, *lines)) == 3
        assert pair.decoder.header_table.maxsize == size
    assert len(pair.entries()) == (2 if sizes[-1] > 200 else 1 if sizes[-1] else 0)


def test_two_connections_share_what_is_remembered_but_not_the_table() -> None:
    memory = LineMemory()
    first, second = Pair(memory), Pair(memory)
    for _ in range(COMMON_AFTER + 1):
        first.head(STATUS_LINE, b"server: a")
    assert second.head(STATUS_LINE, b"server: a")[1:] == [(b"server", b"a")]
    assert first.entries() == second.entries() == [(b"server", b"a")]


def test_the_memory_is_bounded() -> None:
    memory = LineMemory()
    pair = Pair(memory)
    for count in range(MAX_LINES + 1):
        pair.head(STATUS_LINE, b"x: %d" % count, b"date: %d" % count)
        assert len(memory.literals) <= MAX_LINES
        assert len(memory.candidates) <= MAX_LINES
    for lines in (memory.literals, memory.candidates):
        assert lines
        lines.clear()
    pair.head(STATUS_LINE, b"x: " + b"v" * MAX_LINE_SIZE, b"date: " + b"v" * MAX_LINE_SIZE)
    assert not memory.literals
    assert not memory.candidates


def test_a_line_that_was_forgotten_is_still_in_the_table() -> None:
    memory = LineMemory()
    pair = Pair(memory)
    for _ in range(COMMON_AFTER + 2):
        pair.head(STATUS_LINE, b"server: a")
    memory.candidates.clear()
    for _ in range(COMMON_AFTER + 2):
        assert pair.head(STATUS_LINE, b"server: a")[1:] == [(b"server", b"a")]
    assert pair.entries() == [(b"server", b"a")]


def test_a_string_has_its_shorter_form() -> None:
    assert encode_string(b"www.example.com", True)[0] == 0x80 | 12
    assert encode_string(b"www.example.com", False) == b"\x0fwww.example.com"
    assert encode_string(b"\xff\xfe", True) == b"\x02\xff\xfe"


NAMES = st.sampled_from([b"Server", b"x-a", b"Content-Type", b"date", b"set-cookie", b"Via"])
BYTES = st.sampled_from([b"a", b"Z", b"\xff", b" b", b"~" * 40])
VALUES = st.lists(BYTES, max_size=4).map(b"".join)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=6)


@given(st.lists(st.tuples(LINES, st.sampled_from([None, None, 0, 64, 4096])), max_size=20))
def test_whatever_is_sent_is_read(
    heads: list[tuple[list[tuple[bytes, bytes]], int | None]],
) -> None:
    pair = Pair()
    for fields, size in heads * 3:
        if size is not None:
            pair.decoder.max_allowed_table_size = size
            pair.encoder.limit_table(size)
        lines = [name + b": " + value for name, value in fields]
        expected = [(name.lower(), value.strip()) for name, value in fields]
        assert pair.head(STATUS_LINE, *lines)[1:] == expected


LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-Large: " + b"x" * MAX_KEPT_HEAD + b"\r\n\r\n"
HEADS = [
    b"HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nServer: a\r\nDate: today\r\nX-Powered-By: b\r\n\r\n",
    b"HTTP/1.1 404 No\r\nServer: a\r\nSet-Cookie: secret\r\n\r\n",
    LARGE,
]


def fields_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return a head as the field list that means the same."""
    status, *lines = head.split(b"\r\n")[:-2]
    pairs = (line.split(b": ") for line in lines)
    return [(b":status", status[9:12]), *((name.lower(), value) for name, value in pairs)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(HEADS), st.integers(1, 12)),
            st.sampled_from([0, 64, 128, TABLE_SIZE]),
            st.sampled_from([b"X-End: 1\r\n", b"Server: a\r\n"]),
        ),
        max_size=20,
    )
)
def test_a_head_that_comes_again_is_the_same_whatever_the_table_has(
    steps: list[tuple[bytes, int] | int | bytes],
) -> None:
    pair = Pair()
    for step in steps:
        if isinstance(step, int):
            pair.encoder.limit_table(step)
            pair.decoder.max_allowed_table_size = step
        elif isinstance(step, bytes):
            name, value = step.rstrip().split(b": ")
            found = pair.decoded(pair.encoder.encode_trailers(step))
            assert found == [(name.lower(), value)]
        else:
            head, times = step
            for number in range(times):
                frames = pair.encoder.head_frames(number * 2 + 1, head, number % 2 == 0)
                (one,) = read_frames(frames)
                assert (one.stream_id, one.flags & END_STREAM) == (number * 2 + 1, number % 2 == 0)
                assert pair.decoded(one.payload) == fields_of(head)


def test_a_head_that_comes_often_is_encoded_once() -> None:
    pair = Pair()
    for _ in range(2 * COMMON_AFTER):
        pair.encoder.head_frames(1, HEADS[0], False)
    block = pair.encoder.head_frames(1, HEADS[0], False)
    pair.encoder._memory.literals.clear()
    pair.encoder._memory.candidates.clear()
    assert pair.encoder.head_frames(1, HEADS[0], False) == block
    assert pair.encoder._memory.literals == {}


def test_a_large_head_is_not_kept() -> None:
    pair = Pair()
    check_often(pair, LARGE)
    pair.encoder._memory.literals.clear()
    check_often(pair, LARGE, 1)
    assert len(pair.encoder._memory.literals) > 0


def check_often(pair: Pair, head: bytes, times: int = 3 * COMMON_AFTER) -> None:
    """Encode a head so often; the client reads the same each time."""
    for _ in range(times):
        assert pair.decoded(pair.encoder.head_frames(1, head, False)[HEADER_SIZE:]) == fields_of(
            head
        )


def test_entries_that_are_added_behind_its_back_do_not_change_a_head() -> None:
    pair = Pair()
    check_often(pair, HEADS[0])
    for _ in range(2 * COMMON_AFTER):
        pair.decoded(pair.encoder.encode_trailers(b"X-End: 1\r\n"))
    assert len(pair.entries()) == 2
    check_often(pair, HEADS[0])


def test_a_line_that_is_common_later_than_others_enters_the_table_once() -> None:
    memory = LineMemory()
    pair = Pair(memory)
    check_often(pair, HEADS[0], 2)
    # Another connection has had too many lines.
    memory.candidates.clear()
    check_often(pair, HEADS[0])
    assert pair.entries() == [(b"server", b"a")]
    check_often(pair, HEADS[1])


def test_the_lines_of_the_next_head_enter_the_table_too() -> None:
    pair = Pair()
    check_often(pair, HEADS[0])
    check_often(pair, HEADS[1])
    assert pair.entries() == [(b"x-powered-by", b"b"), (b"server", b"a")]

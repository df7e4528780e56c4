"""Frames are read however they are split, malformed ones are refused (RFC 9113 section 6)."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http2.error_codes import ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, PROTOCOL_ERROR
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.frame_handler import FrameHandler
from cmux_proxy.http2.frame_reader import FrameReader
from cmux_proxy.http2.frame_types import FRAME_SIZE, PREFACE
from cmux_proxy.http2.header_block import MAX_BLOCK, MAX_CONTINUATIONS
from tests.helpers.feeding import split_at, ways_to_split
from tests.helpers.http2_frames import Event, frame, number

SETTINGS = frame(4, 0, 0)
GREETING = PREFACE + SETTINGS


class Recorder(FrameHandler):
    """Records frames as tuples."""

    def __init__(self) -> None:
        self.frames: list[Event] = []

    def on_data_frame(self, stream_id: int, data: bytes, size: int, is_last: bool) -> None:
        self.frames.append(("data", stream_id, data, size, is_last))

    def on_header_block(self, stream_id: int, block: bytes, is_last: bool) -> None:
        self.frames.append(("block", stream_id, block, is_last))

    def on_reset_frame(self, stream_id: int, code: int) -> None:
        self.frames.append(("reset", stream_id, code))

    def on_settings_frame(self, payload: bytes) -> None:
        self.frames.append(("settings", payload))

    def on_ping_frame(self, payload: bytes, is_ack: bool) -> None:
        self.frames.append(("ping", payload, is_ack))

    def on_goaway_frame(self, last_stream_id: int, code: int) -> None:
        self.frames.append(("goaway", last_stream_id, code))

    def on_window_update(self, stream_id: int, increment: int) -> None:
        self.frames.append(("window", stream_id, increment))

    def on_frame_fault(self, stream_id: int, code: int, rule: str) -> None:
        self.frames.append(("fault", stream_id, code, rule))


def read(*pieces: bytes) -> list[Event]:
    """Return the frames in some pieces; the first SETTINGS frame is left out."""
    recorder = Recorder()
    reader = FrameReader(recorder)
    for piece in pieces:
        reader.feed(piece)
    assert recorder.frames[:1] in ([], [("settings", b"")])
    return recorder.frames[1:]


PRIORITY = number(0x80000003) + b"\x10"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(frame(0, 0, 1, b"abc"), ("data", 1, b"abc", 3, False), id="data"),
        pytest.param(frame(0, 1, 1), ("data", 1, b"", 0, True), id="empty-data"),
        pytest.param(
            frame(0, 9, 1, b"\x02abc\0\0"), ("data", 1, b"abc", 6, True), id="padded-data"
        ),
        pytest.param(frame(0, 8, 1, b"\x00"), ("data", 1, b"", 1, False), id="no-padding"),
        pytest.param(frame(0, 8, 1, b"\x02\0\0"), ("data", 1, b"", 3, False), id="only-padding"),
        pytest.param(
            frame(0, 0, 1, b"d" * FRAME_SIZE),
            ("data", 1, b"d" * FRAME_SIZE, FRAME_SIZE, False),
            id="largest-data",
        ),
        pytest.param(frame(1, 5, 1, b"abc"), ("block", 1, b"abc", True), id="headers"),
        pytest.param(frame(1, 4, 1), ("block", 1, b"", False), id="empty-headers"),
        pytest.param(frame(1, 12, 1, b"\x01ab\0"), ("block", 1, b"ab", False), id="padded-headers"),
        pytest.param(
            frame(1, 0x24, 1, PRIORITY + b"ab"), ("block", 1, b"ab", False), id="with-priority"
        ),
        pytest.param(
            frame(1, 0x2D, 1, b"\x01" + PRIORITY + b"ab\0"),
            ("block", 1, b"ab", True),
            id="padded-with-priority",
        ),
        pytest.param(
            frame(1, 1, 1, b"a") + frame(9, 0, 1, b"b") + frame(9, 4, 1, b"c"),
            ("block", 1, b"abc", True),
            id="continuations",
        ),
        pytest.param(
            frame(1, 0, 1) + frame(9, 4, 1), ("block", 1, b"", False), id="empty-continuation"
        ),
        pytest.param(frame(3, 0, 1, number(8)), ("reset", 1, 8), id="reset"),
        pytest.param(frame(4, 0, 0, b"\0\4\0\0\0\5"), ("settings", b"\0\4\0\0\0\5"), id="settings"),
        pytest.param(frame(6, 0, 0, b"12345678"), ("ping", b"12345678", False), id="ping"),
        pytest.param(frame(6, 1, 0, b"12345678"), ("ping", b"12345678", True), id="ping-ack"),
        pytest.param(frame(7, 0, 0, number(5) + number(2)), ("goaway", 5, 2), id="goaway"),
        pytest.param(
            frame(7, 0, 0, number(0x80000005) + number(2) + b"why"), ("goaway", 5, 2), id="debug"
        ),
        pytest.param(frame(8, 0, 0, number(7)), ("window", 0, 7), id="window"),
        pytest.param(frame(8, 0, 1, number(0x80000007)), ("window", 1, 7), id="reserved-bit"),
        pytest.param(frame(0, 0xF6, 1, b"a"), ("data", 1, b"a", 1, False), id="unknown-flags"),
        pytest.param(
            frame(0, 0, 0x80000001, b"a"), ("data", 1, b"a", 1, False), id="reserved-bit-of-stream"
        ),
    ],
)
def test_a_frame_is_read_however_it_is_split(data: bytes, expected: Event) -> None:
    following = frame(6, 0, 0, b"next one")
    cuts = (
        ways_to_split(GREETING + data + following)
        if len(data) < 100
        else [[GREETING, data, following]]
    )
    for pieces in cuts:
        assert read(*pieces) == [expected, ("ping", b"next one", False)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(4, 1, 0), id="settings-ack"),
        pytest.param(frame(2, 0, 1, PRIORITY), id="priority"),
        pytest.param(frame(0x0A, 0xFF, 1, b"abc"), id="unknown-type"),
        pytest.param(frame(0xFF, 0, 0), id="unknown-type-of-the-connection"),
    ],
)
def test_a_frame_is_ignored(data: bytes) -> None:
    for pieces in ways_to_split(GREETING + data + data):
        assert read(*pieces) == []


SELF = "a stream depends on itself"
PADDING = "the padding is larger than the frame"
ON_STREAM = "a frame of the connection is on a stream"
INTERRUPTED = "a header block is interrupted by another frame"
BLOCK = frame(1, 0, 1, b"a")

TOO_LARGE = "a frame is larger than it may be"
SHORT_HEADERS = "HEADERS is too short"
SETTINGS_SIZE = "SETTINGS has a wrong size"
UPDATE_SIZE = "WINDOW_UPDATE has a wrong size"
NO_INCREMENT = "a window is updated by 0"
NOT_BEHIND = "CONTINUATION is not behind HEADERS"
PUSHED = "PUSH_PROMISE is not allowed here"
PROTOCOL = PROTOCOL_ERROR
SIZE = FRAME_SIZE_ERROR

MALFORMED = [
    ("larger-than-allowed", frame(0, 0, 1, b"d" * (FRAME_SIZE + 1)), SIZE, TOO_LARGE),
    ("unknown-and-large", frame(0x77, 0, 1, b"d" * (FRAME_SIZE + 1)), SIZE, TOO_LARGE),
    ("data-on-stream-0", frame(0, 0, 0, b"a"), PROTOCOL, "DATA is on stream 0"),
    ("data-without-padding-length", frame(0, 8, 1), SIZE, "DATA is too short"),
    ("data-all-padding", frame(0, 8, 1, b"\x03ab\0"[:3]), PROTOCOL, PADDING),
    ("data-padding-is-its-size", frame(0, 8, 1, b"\x01"), PROTOCOL, PADDING),
    ("headers-on-stream-0", frame(1, 4, 0, b"a"), PROTOCOL, "HEADERS is on stream 0"),
    ("headers-without-padding-length", frame(1, 12, 1), SIZE, SHORT_HEADERS),
    ("headers-all-padding", frame(1, 12, 1, b"\x01"), PROTOCOL, PADDING),
    ("headers-padding-in-priority", frame(1, 0x2C, 1, b"\x01" + PRIORITY), PROTOCOL, PADDING),
    ("headers-with-short-priority", frame(1, 0x24, 1, PRIORITY[:4]), SIZE, SHORT_HEADERS),
    ("headers-on-itself", frame(1, 0x24, 3, PRIORITY), PROTOCOL, SELF),
    ("priority-on-stream-0", frame(2, 0, 0, PRIORITY), PROTOCOL, "PRIORITY is on stream 0"),
    ("priority-on-itself", frame(2, 0, 3, PRIORITY), PROTOCOL, SELF),
    ("reset-on-stream-0", frame(3, 0, 0, number(8)), PROTOCOL, "RST_STREAM is on stream 0"),
    ("short-reset", frame(3, 0, 1, b"abc"), SIZE, "RST_STREAM has a wrong size"),
    ("long-reset", frame(3, 0, 1, b"abcde"), SIZE, "RST_STREAM has a wrong size"),
    ("settings-on-a-stream", frame(4, 0, 1), PROTOCOL, ON_STREAM),
    ("settings-ack-on-a-stream", frame(4, 1, 1), PROTOCOL, ON_STREAM),
    ("settings-of-seven-bytes", frame(4, 0, 0, b"1234567"), SIZE, SETTINGS_SIZE),
    ("settings-ack-with-payload", frame(4, 1, 0, b"123456"), SIZE, SETTINGS_SIZE),
    ("push-promise", frame(5, 4, 1, number(2) + b"\x82"), PROTOCOL, PUSHED),
    ("ping-on-a-stream", frame(6, 0, 1, b"12345678"), PROTOCOL, ON_STREAM),
    ("short-ping", frame(6, 0, 0, b"1234567"), SIZE, "PING has a wrong size"),
    ("long-ping", frame(6, 1, 0, b"123456789"), SIZE, "PING has a wrong size"),
    ("goaway-on-a-stream", frame(7, 0, 1, bytes(8)), PROTOCOL, ON_STREAM),
    ("short-goaway", frame(7, 0, 0, bytes(7)), SIZE, "GOAWAY is too short"),
    ("short-window-update", frame(8, 0, 1, b"123"), SIZE, UPDATE_SIZE),
    ("long-window-update", frame(8, 0, 0, b"12345"), SIZE, UPDATE_SIZE),
    ("no-increment", frame(8, 0, 0, number(0)), PROTOCOL, NO_INCREMENT),
    ("only-a-reserved-bit", frame(8, 0, 0, number(0x80000000)), PROTOCOL, NO_INCREMENT),
    ("continuation-alone", frame(9, 4, 1), PROTOCOL, NOT_BEHIND),
    ("continuation-too-late", frame(1, 4, 1) + frame(9, 4, 1), PROTOCOL, NOT_BEHIND),
    ("continuation-of-another", BLOCK + frame(9, 4, 3), PROTOCOL, INTERRUPTED),
    ("data-in-a-block", BLOCK + frame(0, 0, 1, b"a"), PROTOCOL, INTERRUPTED),
    ("headers-in-a-block", BLOCK + frame(1, 4, 1, b"a"), PROTOCOL, INTERRUPTED),
    ("ping-in-a-block", BLOCK + frame(6, 0, 0, bytes(8)), PROTOCOL, INTERRUPTED),
    ("settings-in-a-block", BLOCK + frame(4, 0, 0), PROTOCOL, INTERRUPTED),
    ("unknown-in-a-block", BLOCK + frame(0x77, 0, 1), PROTOCOL, INTERRUPTED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "code", "rule"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED]
)
def test_a_malformed_frame_ends_the_connection(data: bytes, code: int, rule: str) -> None:
    whole = GREETING + data
    cuts = ways_to_split(whole) if len(whole) < 100 else [[whole], split_at(whole, [50, 60, 5000])]
    for pieces in cuts:
        with pytest.raises(ConnectionFault) as caught:
            read(*pieces)
        assert (caught.value.code, caught.value.rule) == (code, rule)


@pytest.mark.parametrize(
    ("data", "code", "rule"),
    [
        (frame(8, 0, 1, number(0)), PROTOCOL_ERROR, "a window is updated by 0"),
        (frame(2, 0, 1, b"1234"), FRAME_SIZE_ERROR, "PRIORITY has a wrong size"),
        (frame(2, 0, 1, b"123456"), FRAME_SIZE_ERROR, "PRIORITY has a wrong size"),
    ],
)
def test_some_malformed_frames_end_their_stream_only(data: bytes, code: int, rule: str) -> None:
    following = frame(6, 0, 0, b"next one")
    for pieces in ways_to_split(GREETING + data + following):
        assert read(*pieces) == [("fault", 1, code, rule), ("ping", b"next one", False)]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE[:-1] + b"x",
        PREFACE.lower(),
        b"PRI * HTTP/2.1",
        b"\x00",
        b"\x16\x03\x01",
    ],
)
def test_a_wrong_preface_is_noticed_at_its_first_wrong_byte(data: bytes) -> None:
    right = next(size for size in range(len(data)) if not PREFACE.startswith(data[: size + 1]))
    for pieces in ways_to_split(data):
        with pytest.raises(ConnectionFault, match="the connection preface is wrong"):
            read(*pieces)
    assert read(*ways_to_split_first(data[:right])) == []
    with pytest.raises(ConnectionFault, match="the connection preface is wrong"):
        read(data[: right + 1])


def ways_to_split_first(data: bytes) -> list[bytes]:
    """Return the bytes one by one."""
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(
    "data",
    [frame(4, 1, 0), frame(6, 0, 0, bytes(8)), frame(1, 5, 1, b"\x82"), frame(0x77, 0, 0)],
    ids=["settings-ack", "ping", "headers", "unknown"],
)
def test_the_first_frame_has_to_be_settings(data: bytes) -> None:
    for pieces in ways_to_split(PREFACE + data):
        with pytest.raises(ConnectionFault, match="the first frame is not SETTINGS"):
            read(*pieces)


def test_a_block_of_eight_continuations_is_accepted() -> None:
    more = [frame(9, 0, 1, b"b")] * (MAX_CONTINUATIONS - 1)
    assert read(GREETING, BLOCK, *more, frame(9, 4, 1, b"c")) == [("block", 1, b"abbbbbbbc", False)]
    assert MAX_CONTINUATIONS == 8


def test_a_continuation_flood_ends_the_connection() -> None:
    more = [frame(9, 0, 1)] * (MAX_CONTINUATIONS + 1)
    with pytest.raises(ConnectionFault, match="a header block has too many frames") as caught:
        read(GREETING, BLOCK, *more)
    assert caught.value.code == ENHANCE_YOUR_CALM


def test_a_block_has_at_most_64_kib() -> None:
    parts = [b"a" * FRAME_SIZE] * 4
    pieces = [frame(1, 0, 1, parts[0]), *(frame(9, 0, 1, part) for part in parts[1:])]
    assert len(b"".join(parts)) == MAX_BLOCK == 65_536
    assert read(GREETING, *pieces, frame(9, 4, 1)) == [("block", 1, b"".join(parts), False)]
    with pytest.raises(ConnectionFault, match="a header block is too large") as caught:
        read(GREETING, *pieces, frame(9, 4, 1, b"a"))
    assert caught.value.code == ENHANCE_YOUR_CALM


def test_the_count_of_continuations_begins_anew_with_each_block() -> None:
    more = [frame(9, 0, 1)] * (MAX_CONTINUATIONS - 1) + [frame(9, 4, 1)]
    assert len(read(GREETING, *[BLOCK, *more] * 3)) == 3


def test_a_stopped_reader_reads_no_more() -> None:
    recorder = Recorder()
    reader = FrameReader(recorder)
    reader.feed(GREETING)
    reader.stop()
    reader.feed(frame(6, 0, 0, bytes(8)) * 2)
    assert len(recorder.frames) == 1


@pytest.mark.parametrize(
    ("data", "is_clean"),
    [(b"", True), (BLOCK, False), (BLOCK + frame(9, 4, 1), True), (b"\0", False), (SETTINGS, True)],
)
def test_it_says_whether_a_frame_has_begun(data: bytes, is_clean: bool) -> None:
    reader = FrameReader(Recorder())
    reader.feed(GREETING)
    reader.feed(data)
    assert reader.is_clean() is is_clean


def test_a_large_frame_may_come_byte_by_byte() -> None:
    recorder = Recorder()
    reader = FrameReader(recorder)
    reader.feed(GREETING)
    data = frame(0, 0, 1, random.Random(0).randbytes(FRAME_SIZE))
    for at in range(len(data)):
        assert len(recorder.frames) == 1
        reader.feed(data[at : at + 1])
    assert recorder.frames[1] == ("data", 1, data[9:], FRAME_SIZE, False)


FRAMES = st.one_of(
    st.builds(frame, st.just(0), st.sampled_from([0, 1]), st.just(1), st.binary(max_size=30)),
    st.builds(frame, st.just(1), st.sampled_from([4, 5]), st.just(3), st.binary(max_size=30)),
    st.builds(frame, st.just(8), st.just(0), st.just(1), st.integers(1, 99).map(number)),
    st.builds(
        frame, st.integers(0, 11), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=12)
    ),
)


def outcome(pieces: list[bytes]) -> tuple[list[Event], str]:
    """Return the frames before the first fault, and the fault."""
    recorder = Recorder()
    reader = FrameReader(recorder)
    try:
        for piece in pieces:
            reader.feed(piece)
    except ConnectionFault as fault:
        return recorder.frames, fault.rule
    return recorder.frames, ""


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_cuts_do_not_matter(frames: list[bytes], cuts: list[int]) -> None:
    data = GREETING + b"".join(frames)
    pieces = split_at(data, [cut for cut in cuts if cut < len(data)])
    assert outcome(pieces) == outcome([data])
    assert outcome([data[at : at + 1] for at in range(len(data))]) == outcome([data])


@given(st.binary(max_size=80), st.lists(st.integers(0, 110), max_size=6))
def test_any_bytes_are_read_or_refused_with_a_rule(data: bytes, cuts: list[int]) -> None:
    whole = GREETING + data
    pieces = split_at(whole, [cut for cut in cuts if cut < len(whole)])
    assert outcome(pieces) == outcome([whole])

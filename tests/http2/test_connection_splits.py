"""Whatever a client sends: no exception, the same calls and frames for every split of the bytes."""

import hpack
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.frame_types import PREFACE
from cmux_proxy.http2.http2_limits import Http2Limits
from cmux_proxy.http2.http2_stream import Http2Stream
from tests.helpers.feeding import split_at
from tests.helpers.http2_client import OK_HEAD, Owner, Peer
from tests.helpers.http2_frames import GET, POST, Event, frame, number

LIMITS = Http2Limits(HeadLimits(200, 400, 12), streams=3, connection_window=65_535)
PLAIN = hpack.Encoder()
GREETING = PREFACE + frame(4, 0, 0)


class Responding(Owner):
    """Answers some requests at once, some when they end, and resets others."""

    peer: Peer

    def on_request(self, stream: Http2Stream, head: bytes) -> None:
        super().on_request(stream, head)
        if stream.id % 3 == 1:
            self.peer.connection.send_head(stream, OK_HEAD, False)
            self.peer.connection.send_data(stream, b"x" * 40_000, False)
            self.peer.connection.send_trailers(stream, b"a: b\r\n")
        elif stream.id % 3 == 2:
            self.peer.connection.reset(stream, 2)

    def on_data(self, stream: Http2Stream, data: bytes, is_last: bool) -> None:
        super().on_data(stream, data, is_last)
        self.peer.connection.consume(stream, len(data) // 2)
        if is_last and stream.id % 3 == 0:
            self.peer.connection.send_head(stream, OK_HEAD, True)


def outcome(pieces: list[bytes]) -> tuple[list[Event], bytes, int, bool]:
    """Return the calls, what is sent after all bytes, and the state."""
    owner = Responding()
    peer = Peer(LIMITS, owner, greets=False)
    owner.peer = peer
    peer.feed(*pieces)
    sent = peer.sent_bytes()
    return peer.events, sent, peer.connection.count_streams(), peer.connection.is_over


def block(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Return a block that uses no table."""
    return b"".join(
        b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields
    )


STREAMS = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 9, 2])
FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b":path", b"a", b"cookie", b"content-length", b"Bad", b"host"]),
        st.sampled_from([b"/", b"", b"3", b"v" * 100, b" x"]),
    ),
    max_size=4,
)
BLOCKS = st.one_of(
    st.builds(lambda start, more: block([*start, *more]), st.sampled_from([GET, POST]), FIELDS),
    FIELDS.map(block),
    st.binary(max_size=12),
)
FRAMES = st.one_of(
    st.builds(frame, st.just(1), st.sampled_from([4, 5, 5, 1, 0]), STREAMS, BLOCKS),
    st.builds(frame, st.just(9), st.sampled_from([4, 0]), STREAMS, BLOCKS),
    st.builds(frame, st.just(0), st.sampled_from([0, 1, 1]), STREAMS, st.binary(max_size=6)),
    st.builds(frame, st.just(0), st.just(0), STREAMS, st.just(bytes(16_000))),
    st.builds(frame, st.just(3), st.just(0), STREAMS, st.just(number(8))),
    st.builds(frame, st.just(8), st.just(0), STREAMS, st.integers(0, 2**31 - 1).map(number)),
    st.builds(
        frame, st.just(4), st.just(0), st.just(0),
        st.builds(
            lambda name, value: b"\0" + bytes([name]) + number(value),
            st.integers(0, 9), st.sampled_from([0, 1, 100, 16_384, 65_535, 2**31]),
        ),
    ),
    st.builds(frame, st.integers(0, 11), st.integers(0, 255), STREAMS, st.binary(max_size=10)),
)  # fmt: skip


@given(st.lists(FRAMES, max_size=14), st.lists(st.integers(0, 1500), max_size=10))
def test_frames_in_any_pieces(frames: list[bytes], cuts: list[int]) -> None:
    data = GREETING + b"".join(frames)
    whole = outcome([data])
    assert outcome(split_at(data, [cut for cut in cuts if cut < len(data)])) == whole
    assert outcome([GREETING, *frames]) == whole


@given(st.lists(FRAMES, max_size=6))
def test_frames_byte_by_byte(frames: list[bytes]) -> None:
    data = GREETING + b"".join(part for part in frames if len(part) < 1000)
    assert outcome([data[at : at + 1] for at in range(len(data))]) == outcome([data])


@given(st.binary(max_size=100))
def test_any_bytes_behind_the_greeting(data: bytes) -> None:
    calls, sent, _streams, is_over = outcome([GREETING + data])
    assert is_over == any(call[0] == "fault" for call in calls)
    assert sent


@given(st.lists(FRAMES, max_size=14))
def test_no_call_for_a_stream_comes_after_its_end(frames: list[bytes]) -> None:
    calls, _sent, _streams, is_over = outcome([GREETING, *frames])
    ended: set[object] = set()
    for name, stream_id, *_values in calls:
        assert stream_id not in ended or stream_id == 0
        if name in ("reset", "closed", "refused"):
            ended.add(stream_id)
    if is_over:
        assert calls[-1][0] == "fault"

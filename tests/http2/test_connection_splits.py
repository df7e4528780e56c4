"""Whatever a client sends: no exception, the same calls and frames for every split of the bytes."""

from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.frame_types import PREFACE
from cmux_proxy.http2.http2_limits import Http2Limits
from tests.helpers.feeding import split_at
from tests.helpers.http2_client import play
from tests.helpers.http2_frames import GET, POST, frame, number, plain_block

LIMITS = Http2Limits(HeadLimits(200, 400, 12), streams=3, connection_window=65_535)
GREETING = PREFACE + frame(4, 0, 0)


STREAMS = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 9, 2])
FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b":path", b"a", b"cookie", b"content-length", b"Bad", b"host"]),
        st.sampled_from([b"/", b"", b"3", b"v" * 100, b" x"]),
    ),
    max_size=4,
)
STARTS = st.sampled_from([GET, POST])
BLOCKS = st.one_of(
    st.builds(
        lambda start, more: plain_block([*start, *more]), st.sampled_from([GET, POST]), FIELDS
    ),
    FIELDS.map(plain_block),
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
    whole = play(LIMITS, [data])
    assert play(LIMITS, split_at(data, [cut for cut in cuts if cut < len(data)])) == whole
    assert play(LIMITS, [GREETING, *frames]) == whole


@given(st.lists(FRAMES, max_size=6))
def test_frames_byte_by_byte(frames: list[bytes]) -> None:
    data = GREETING + b"".join(part for part in frames if len(part) < 1000)
    assert play(LIMITS, [data[at : at + 1] for at in range(len(data))]) == play(LIMITS, [data])


@given(st.binary(max_size=100))
def test_any_bytes_behind_the_greeting(data: bytes) -> None:
    calls, sent, _streams, is_over = play(LIMITS, [GREETING + data])
    assert is_over == any(call[0] == "fault" for call in calls)
    assert sent


@given(st.lists(FRAMES, max_size=14))
def test_no_call_for_a_stream_comes_after_its_end(frames: list[bytes]) -> None:
    calls, _sent, _streams, is_over = play(LIMITS, [GREETING, *frames])
    ended: set[object] = set()
    for name, stream_id, *_values in calls:
        assert stream_id not in ended or stream_id == 0
        if name in ("reset", "closed", "refused"):
            ended.add(stream_id)
    if is_over:
        assert calls[-1][0] == "fault"

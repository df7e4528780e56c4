"""Whatever a client sends: no exception, the same calls and frames for every split of the bytes."""

from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.frame_types import PREFACE
from cmux_proxy.http2.http2_limits import Http2Limits
from tests.helpers.feeding import split_at
from tests.helpers.http2_client import play
from tests.helpers.http2_frames import GET, POST, frame
from tests.helpers.http2_strategies import NONE, STREAMS, frames, header_blocks

LIMITS = Http2Limits(HeadLimits(200, 400, 12), streams=3, connection_window=65_535)
GREETING = PREFACE + frame(4, 0, 0)

BLOCKS = header_blocks(
    [GET, POST],
    [b":path", b"a", b"cookie", b"content-length", b"Bad", b"host"],
    [b"/", b"", b"3", b"v" * 100, b" x"],
)
FRAMES = frames(BLOCKS, st.builds(frame, NONE, NONE, STREAMS, st.just(bytes(16_000))))


@given(st.lists(FRAMES, max_size=14), st.lists(st.integers(0, 1500), max_size=10))
def test_frames_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    data = GREETING + b"".join(parts)
    whole = play(LIMITS, [data])
    assert play(LIMITS, split_at(data, [cut for cut in cuts if cut < len(data)])) == whole
    assert play(LIMITS, [GREETING, *parts]) == whole


@given(st.lists(FRAMES, max_size=6))
def test_frames_byte_by_byte(parts: list[bytes]) -> None:
    data = GREETING + b"".join(part for part in parts if len(part) < 1000)
    assert play(LIMITS, [data[at : at + 1] for at in range(len(data))]) == play(LIMITS, [data])


@given(st.binary(max_size=100))
def test_any_bytes_behind_the_greeting(data: bytes) -> None:
    calls, sent, _streams, is_over = play(LIMITS, [GREETING + data])
    assert is_over == any(call[0] == "fault" for call in calls)
    assert sent


@given(st.lists(FRAMES, max_size=14))
def test_no_call_for_a_stream_comes_after_its_end(parts: list[bytes]) -> None:
    calls, _sent, _streams, is_over = play(LIMITS, [GREETING, *parts])
    ended: set[object] = set()
    for name, stream_id, *_values in calls:
        assert stream_id not in ended or stream_id == 0
        if name in ("reset", "closed", "refused"):
            ended.add(stream_id)
    if is_over:
        assert calls[-1][0] == "fault"

"""Whatever an upstream sends: no exception, the same calls and frames for each split of it."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.feeding import split_at
from tests.helpers.http2_frames import frame, number, plain_block
from tests.http2.test_client_connection import Upstream

STREAMS = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2])
FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b":status", b"a", b"content-length", b"Bad", b"connection", b":path"]),
        st.sampled_from([b"200", b"100", b"", b"3", b"v" * 100, b" x"]),
    ),
    max_size=4,
)
BLOCKS = st.one_of(
    FIELDS.map(lambda fields: plain_block([(b":status", b"200"), *fields])),
    FIELDS.map(plain_block),
    st.binary(max_size=12),
)
FRAMES = st.one_of(
    st.builds(frame, st.just(1), st.sampled_from([4, 5, 5, 1, 0]), STREAMS, BLOCKS),
    st.builds(frame, st.just(9), st.sampled_from([4, 0]), STREAMS, BLOCKS),
    st.builds(frame, st.just(0), st.sampled_from([0, 1, 1]), STREAMS, st.binary(max_size=6)),
    st.builds(frame, st.just(3), st.just(0), STREAMS, st.sampled_from([0, 7, 8]).map(number)),
    st.builds(frame, st.just(7), st.just(0), st.just(0), st.binary(min_size=8, max_size=12)),
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


def play(pieces: Sequence[bytes]) -> tuple[list[tuple[object, ...]], bytes]:
    """Return the calls that three requests get, and what is sent after all bytes."""
    upstream = Upstream()
    for is_last in (True, True, False):
        upstream.open(is_last)
    upstream.sent()
    calls = [call for piece in pieces for call in upstream.receive(piece)]
    return calls, upstream.sent()


@given(st.lists(FRAMES, max_size=14), st.lists(st.integers(0, 1500), max_size=10))
def test_frames_in_any_pieces(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    whole = play([data])
    assert play(split_at(data, [cut for cut in cuts if cut < len(data)])) == whole
    assert play(frames) == whole


@given(st.lists(FRAMES, max_size=6))
def test_frames_byte_by_byte(frames: list[bytes]) -> None:
    data = b"".join(frames)
    assert play([data[at : at + 1] for at in range(len(data))]) == play([data])

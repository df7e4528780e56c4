"""Whatever an upstream sends: no exception, the same calls and frames for each split of it."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.feeding import split_at
from tests.helpers.http2_frames import frame
from tests.helpers.http2_strategies import NONE, frames, header_blocks
from tests.http2.test_client_connection import Upstream

BLOCKS = header_blocks(
    [[(b":status", b"200")]],
    [b":status", b"a", b"content-length", b"Bad", b"connection", b":path"],
    [b"200", b"100", b"", b"3", b"v" * 100, b" x"],
)
GOAWAYS = st.builds(frame, st.just(7), NONE, NONE, st.binary(min_size=8, max_size=12))
FRAMES = frames(BLOCKS, GOAWAYS)


def play(pieces: Sequence[bytes]) -> tuple[list[tuple[object, ...]], bytes]:
    """Return the calls that three requests get, and what is sent after all bytes."""
    upstream = Upstream()
    for is_last in (True, True, False):
        upstream.open(is_last)
    upstream.sent()
    calls = [call for piece in pieces for call in upstream.receive(piece)]
    return calls, upstream.sent()


@given(st.lists(FRAMES, max_size=14), st.lists(st.integers(0, 1500), max_size=10))
def test_frames_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    whole = play([data])
    assert play(split_at(data, [cut for cut in cuts if cut < len(data)])) == whole
    assert play(parts) == whole


@given(st.lists(FRAMES, max_size=6))
def test_frames_byte_by_byte(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert play([data[at : at + 1] for at in range(len(data))]) == play([data])

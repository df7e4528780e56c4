"""Frames of any peer for Hypothesis: most keep most rules, so that they come far.

Does not know which side sends them: the header blocks come from the caller.
"""

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.helpers.http2_frames import Fields, frame, number, plain_block

# Those that a test may have opened, often, and those that it has not.
STREAMS = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 9, 2])
NONE = st.just(0)
_SETTING = st.builds(
    lambda name, value: b"\0" + bytes([name]) + number(value),
    st.integers(0, 9),
    st.sampled_from([0, 1, 100, 16_384, 65_535, 2**31]),
)
_PLAIN_FRAMES = (
    st.builds(frame, NONE, st.sampled_from([0, 1, 1]), STREAMS, st.binary(max_size=6)),
    st.builds(frame, st.just(3), NONE, STREAMS, st.sampled_from([0, 7, 8]).map(number)),
    st.builds(frame, st.just(4), NONE, NONE, _SETTING),
    st.builds(frame, st.just(8), NONE, STREAMS, st.integers(0, 2**31 - 1).map(number)),
    st.builds(frame, st.integers(0, 11), st.integers(0, 255), STREAMS, st.binary(max_size=10)),
)


def header_blocks(
    starts: Sequence[Fields], names: Sequence[bytes], values: Sequence[bytes]
) -> st.SearchStrategy[bytes]:
    """Return blocks that begin as one of `starts`, blocks without it, and bytes that are none."""
    fields = st.lists(st.tuples(st.sampled_from(names), st.sampled_from(values)), max_size=4)
    return st.one_of(
        st.builds(
            lambda start, more: plain_block([*start, *more]), st.sampled_from(starts), fields
        ),
        fields.map(plain_block),
        st.binary(max_size=12),
    )


def frames(
    blocks: st.SearchStrategy[bytes], *others: st.SearchStrategy[bytes]
) -> st.SearchStrategy[bytes]:
    """Return HEADERS and CONTINUATION with these blocks, all other frames, and `others` too."""
    return st.one_of(
        st.builds(frame, st.just(1), st.sampled_from([4, 5, 5, 1, 0]), STREAMS, blocks),
        st.builds(frame, st.just(9), st.sampled_from([4, 0]), STREAMS, blocks),
        *_PLAIN_FRAMES,
        *others,
    )

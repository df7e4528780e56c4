"""Masks of both builds are those of RFC 6455 section 5.3, byte by byte."""

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.websocket import masking

KEYS = st.binary(min_size=4, max_size=4)


def one_by_one(data: bytes, key: bytes, phase: int) -> bytes:
    return bytes([byte ^ key[(phase + at) % 4] for at, byte in enumerate(data)])


@given(st.binary(max_size=80), KEYS, st.integers(0, 9), st.integers(0, 80), st.integers(0, 80))
def test_each_byte_has_its_byte_of_the_key(
    data: bytes, key: bytes, phase: int, start: int, count: int
) -> None:
    start = min(start, len(data))
    end = min(start + count, len(data))
    expected = one_by_one(data[start:end], key, phase)
    assert masking.mask(data, start, end, key, phase) == expected
    with mock.patch.object(masking, "HAS_FAST_MASK", False):
        assert masking.mask(data, start, end, key, phase) == expected


@given(st.binary(max_size=100), KEYS, st.integers(0, 100))
def test_a_payload_that_is_split_is_masked_as_a_whole(data: bytes, key: bytes, cut: int) -> None:
    cut = min(cut, len(data))
    halves = masking.mask(data, 0, cut, key, 0) + masking.mask(data, cut, len(data), key, cut % 4)
    assert halves == masking.mask(data, 0, len(data), key, 0)


def test_the_fast_mask_refuses_what_is_not_within_the_data() -> None:
    fast = pytest.importorskip("cmux_proxy.websocket._fast_mask", reason="this is the pure build")
    for start, end in ((-1, 2), (2, 1), (0, 5)):
        with pytest.raises(ValueError, match="not within"):
            fast.mask(b"data", start, end, b"mask", 0)
    for key, phase in ((b"", 0), (b"12345", 0), (b"mask", -1)):
        with pytest.raises(ValueError, match="not a key"):
            fast.mask(b"data", 0, 4, key, phase)

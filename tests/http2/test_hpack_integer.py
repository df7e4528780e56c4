"""Integers of HPACK (RFC 7541 section 5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http2.error_codes import COMPRESSION_ERROR
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.hpack_integer import decode_rest, encode_integer

LARGEST = (1 << 28) - 1


def test_the_examples_of_the_rfc() -> None:
    assert encode_integer(10, 31, 0) == b"\x0a"
    assert encode_integer(1337, 31, 0) == bytes([0b11111, 0b10011010, 0b00001010])
    assert encode_integer(42, 255, 0) == b"\x2a"
    assert decode_rest(bytes([31, 0b10011010, 0b00001010]), 1, 31) == (1337, 3)


@given(st.integers(0, LARGEST), st.integers(1, 7), st.binary(max_size=3))
def test_what_is_encoded_is_decoded(value: int, bits: int, after: bytes) -> None:
    prefix_max = (1 << bits) - 1
    encoded = encode_integer(value, prefix_max, 0)
    if value < prefix_max:
        assert encoded == bytes([value])
    else:
        assert encoded[0] == prefix_max
        assert decode_rest(encoded + after, 1, prefix_max) == (value, len(encoded))


def test_the_bits_before_the_prefix_are_kept() -> None:
    assert encode_integer(3, 15, 0x40) == b"\x43"
    assert encode_integer(15, 15, 0x40) == b"\x4f\x00"


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff\xff\xff"])
def test_an_integer_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(ConnectionFault, match="is cut short") as caught:
        decode_rest(data, 0, 127)
    assert caught.value.code == COMPRESSION_ERROR


@pytest.mark.parametrize("data", [b"\x80\x80\x80\x80\x00", b"\xff\xff\xff\xff\x0f"])
def test_an_integer_of_too_many_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(ConnectionFault, match="is too large"):
        decode_rest(data, 0, 127)

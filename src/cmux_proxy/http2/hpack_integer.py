"""Integers of HPACK (RFC 7541 section 5.1): a prefix of some bits, then seven bits in each byte."""

from typing import Final

from cmux_proxy.http2.error_codes import COMPRESSION_ERROR
from cmux_proxy.http2.errors import ConnectionFault

# Stricter: at most 4 bytes follow the prefix, which is more than any index, length or size needs.
_MAX_SHIFT: Final = 21


def decode_rest(block: bytes, start: int, value: int) -> tuple[int, int]:
    """Return an integer whose prefix is full, and where it ends.

    `value` is the largest of the prefix, `start` the first byte behind it. Raises ConnectionFault.
    """
    shift = 0
    for at in range(start, len(block)):
        byte = block[at]
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
        if shift > _MAX_SHIFT:
            raise ConnectionFault(COMPRESSION_ERROR, "an integer of HPACK is too large")
    raise ConnectionFault(COMPRESSION_ERROR, "an integer of HPACK is cut short")


def encode_integer(value: int, prefix_max: int, pattern: int) -> bytes:
    """Return the bytes of an integer; `prefix_max` is 2^N - 1, `pattern` the bits before it."""
    if value < prefix_max:
        return bytes([pattern | value])
    encoded = [pattern | prefix_max]
    value -= prefix_max
    while value >= 0x80:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

"""The bytes of a connection in one direction; those of every other one are different."""

from random import Random
from typing import Final

# The bytes repeat after so many, a prime.
_PERIOD: Final = 65_521
_NOISE: Final = Random(0).randbytes(_PERIOD)
_REPEATED: Final = _NOISE * 8


def content(key: int, start: int, size: int) -> bytes:
    """Return `size` bytes from the offset `start` of the direction `key`."""
    offset = (key * 7919 + start) % _PERIOD
    end = offset + size
    noise = _REPEATED if end <= len(_REPEATED) else _NOISE * (end // _PERIOD + 1)
    return noise[offset:end]

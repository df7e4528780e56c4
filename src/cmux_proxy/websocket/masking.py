"""Masks and unmasks payloads, which is the same (RFC 6455 section 5.3).

A compiled build has `_fast_mask.pyx` for it, which takes eight bytes at a time. The code here takes
all bytes as one number. Does not know frames.
"""

try:
    from cmux_proxy.websocket._fast_mask import mask as fast_mask
except ImportError:
    HAS_FAST_MASK = False
else:
    HAS_FAST_MASK = True

KEY_SIZE = 4


def mask(data: bytes, start: int, end: int, key: bytes, phase: int) -> bytes:
    """Return the bytes from `start` to `end` combined with the key of four bytes.

    `phase` is how many bytes of the payload come before them, or that modulo four.
    """
    if HAS_FAST_MASK:
        return fast_mask(data, start, end, key, phase)
    size = end - start
    phase %= KEY_SIZE
    keys = (key[phase:] + key[:phase]) * (size // KEY_SIZE + 1)
    number = int.from_bytes(data[start:end], "little") ^ int.from_bytes(keys[:size], "little")
    return number.to_bytes(size, "little")

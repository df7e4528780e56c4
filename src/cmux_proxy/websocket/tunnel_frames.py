"""Makes the frames of a tunnel (RFC 6455 section 5.2), each a whole message.

A server sends them as they are; a client masks them. Does not know when they are sent.
"""

from typing import Final

from cmux_proxy.websocket.masking import mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

# Bits of the first byte, and the one of the second.
FIN: Final = 0x80
RESERVED: Final = 0x70
MASKED: Final = 0x80
# What the seven bits of a length say where it is in two or in eight bytes behind them.
LENGTH_16: Final = 126
LENGTH_64: Final = 127
# Section 5.5: of a control frame.
MAX_CONTROL: Final = 125
# The longest frame that a tunnel takes; none is ever held as a whole.
MAX_FRAME: Final = 16 * 1024 * 1024
# The message that ends one half of a tunnel, where `opening.HALF_CLOSE` was agreed on.
END_OF_HALF: Final = b"F"

_MAX_LENGTH_16: Final = 0xFFFF


def frame_head(opcode: int, size: int, mask_bit: int = 0) -> bytes:
    """Return what comes before a payload of this size, and before its key."""
    first = FIN | opcode
    if size < LENGTH_16:
        return (first << 8 | mask_bit | size).to_bytes(2, "big")
    if size <= _MAX_LENGTH_16:
        return (first << 24 | (mask_bit | LENGTH_16) << 16 | size).to_bytes(4, "big")
    return (first << 8 | mask_bit | LENGTH_64).to_bytes(2, "big") + size.to_bytes(8, "big")


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame of a server."""
    return frame_head(opcode, len(payload)) + payload


def masked_frame(opcode: int, payload: bytes, key: bytes) -> bytes:
    """Return a frame of a client; each has a new key of four bytes that nobody can foretell."""
    size = len(payload)
    return b"".join((frame_head(opcode, size, MASKED), key, mask(payload, 0, size, key, 0)))


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a Close frame; the reason is cut where there is no room for it."""
    text = reason.encode("utf-8")[: MAX_CONTROL - 2].decode("utf-8", "ignore")
    return code.to_bytes(2, "big") + text.encode("utf-8")

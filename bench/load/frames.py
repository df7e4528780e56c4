"""HTTP/2 frames of a client: made, and read from bytes (RFC 9113, 7541).

Knows no proxy and no scenario; `probe` and `attacks` send them. Field blocks are literals without
Huffman codes. Of the blocks of responses only the status is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
_HEADER = 9  # octets of a frame's header
_INITIAL_WINDOW = 4
_LARGE = 2**30
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_OK = 0x88  # `:status: 200` of the static table
_PLAIN, _ADDED = 0x00, 0x40  # a literal, and one that the table gets


@dataclass(frozen=True)
class Frame:
    """One frame (RFC 9113 section 4.1)."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    size = len(payload).to_bytes(3, "big")
    return size + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def preface() -> bytes:
    """Return what a client sends first, with windows that no response of a scenario fills."""
    settings = _INITIAL_WINDOW.to_bytes(2, "big") + _LARGE.to_bytes(4, "big")
    window = frame(WINDOW_UPDATE, payload=_LARGE.to_bytes(4, "big"))
    return _PREFACE + frame(SETTINGS, payload=settings) + window


def request(stream: int, fields: Mapping[str, str], more: bytes = b"") -> bytes:
    """Return the frame of a request without a body; `more` is the rest of its block."""
    block = b"".join(literal(name, value) for name, value in fields.items()) + more
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block)


def literal(name: str, value: str, is_added: bool = False) -> bytes:
    """Return a field of a block; the peer's table gets it too if `is_added`."""
    start = _ADDED if is_added else _PLAIN
    return bytes([start]) + _string(name.lower()) + _string(value)


def _string(text: str) -> bytes:
    return _integer(len(text), 0x7F) + text.encode("ascii")


def _integer(value: int, prefix: int) -> bytes:
    """Return an integer behind a prefix that is full at that value (RFC 7541 section 5.1)."""
    if value < prefix:
        return bytes([value])
    value -= prefix
    octets = bytearray([prefix])
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def read_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """Return the whole frames at the start of some bytes, and the bytes after them."""
    frames = []
    at = 0
    while len(data) >= (start := at + _HEADER):
        end = start + int.from_bytes(data[at : at + 3], "big")
        if len(data) < end:
            break
        stream = int.from_bytes(data[at + 5 : start], "big")
        frames.append(Frame(data[at + 3], data[at + 4], stream, data[start:end]))
        at = end
    return frames, data[at:]


def is_ok(block: bytes) -> bool:
    """Return whether a response's block begins with status 200, behind changes of the table."""
    at = 0
    while at < len(block) and block[at] & 0xE0 == 0x20:
        is_long = block[at] & 0x1F == 0x1F
        at += 1
        while is_long and at < len(block) and block[at] & 0x80:
            at += 1
        at += is_long
    return block[at : at + 1] == bytes([_OK])

"""The upgrade and the frames of RFC 6455 that short messages and their echoes need."""

import base64
import hashlib
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY: Final = 0x82
_MASKED: Final = 0x80
# A longer message has another length field (RFC 6455 section 5.2).
MAX_MESSAGE: Final = 125
END_OF_HEAD: Final = b"\r\n\r\n"


def request(port: int, key: str) -> bytes:
    """Return a request for a WebSocket with the service on a port."""
    lines = (
        "GET /socket HTTP/1.1",
        f"Host: localhost:{port}",
        f"X-Cmux-Port-Internal: {port}",
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        f"Sec-WebSocket-Key: {key}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def new_key(number: int) -> str:
    """Return the key of the WebSocket with this number."""
    return base64.b64encode(b"%016d" % number).decode()


def response(key: str) -> bytes:
    """Return the response that grants a WebSocket (RFC 6455 section 4.2.2)."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
    return "\r\n".join(("HTTP/1.1 101 Switching Protocols", *lines, "", "")).encode()


def key_in(head: bytes) -> str:
    """Return the key in a request."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            return value.strip(b" ").decode()
    raise ValueError("a request without a key")


def frame(message: bytes, mask: bytes = b"") -> bytes:
    """Return a message as a frame; the frame of a client has a mask of four bytes."""
    head = bytes([_BINARY, len(message) | (_MASKED if mask else 0)])
    return head + mask + (_masked(message, mask) if mask else message)


def take_message(buffer: bytearray) -> bytes | None:
    """Remove the first frame from a buffer and return its message; None if it is incomplete."""
    if len(buffer) < 2:
        return None
    if buffer[0] != _BINARY or buffer[1] & ~_MASKED > MAX_MESSAGE:
        raise ValueError(f"not an expected frame: {bytes(buffer[:80])!r}")
    start = 6 if buffer[1] & _MASKED else 2
    end = start + (buffer[1] & ~_MASKED)
    if len(buffer) < end:
        return None
    message = bytes(buffer[start:end])
    if start == 6:
        message = _masked(message, bytes(buffer[2:6]))
    del buffer[:end]
    return message


def _masked(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))

"""The handshake and the frames of RFC 6455, as far as short messages and their echoes need them."""

import base64
import hashlib
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY: Final = 0x82
_MASKED: Final = 0x80
# A longer message has its length elsewhere (RFC 6455 section 5.2).
MOST: Final = 125
END_OF_HEAD: Final = b"\r\n\r\n"


def request(port: int, key: str) -> bytes:
    """Return the head that asks the service on a port for a WebSocket."""
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
    """Return the head that grants a WebSocket (RFC 6455 section 4.2.2)."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
    return "\r\n".join(("HTTP/1.1 101 Switching Protocols", *lines, "", "")).encode()


def key_in(head: bytes) -> str:
    """Return the key that a request has."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            return value.strip(b" ").decode()
    raise ValueError("a handshake without a key")


def frame(message: bytes, mask: bytes = b"") -> bytes:
    """Return a message as a frame; a client's has a mask of four bytes."""
    head = bytes([_BINARY, len(message) | (_MASKED if mask else 0)])
    return head + mask + (_masked(message, mask) if mask else message)


def take_message(buffer: bytearray) -> bytes | None:
    """Take the message of the first frame out of a buffer; None while it is not all there."""
    if len(buffer) < 2:
        return None
    if buffer[0] != _BINARY or buffer[1] & ~_MASKED > MOST:
        raise ValueError(f"not a frame of ours: {bytes(buffer[:80])!r}")
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
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))

"""The opening handshake of a WebSocket (RFC 6455 sections 1.3 and 4): keys and subprotocols.

Does not know heads: it takes and returns the values of fields, and field lines.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final

PROTOCOL: Final = b"websocket"
VERSION: Final = b"13"

# The subprotocols that a tunnel has, the preferred one first. Bytes alone need none of them.
# With the first one, a text message ends a half (`tunnel_frames.END_OF_HALF`).
HALF_CLOSE: Final = b"cmux-tcp.v1"
BINARY: Final = b"binary"
SUBPROTOCOLS: Final = (HALF_CLOSE, BINARY)

# Of a key, and in base64.
_KEY_SIZE: Final = 16
_LENGTH: Final = 24
# RFC 6455 section 1.3
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# RFC 9110 section 5.6.2
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def encode_key(random: bytes) -> bytes:
    """Return the Sec-WebSocket-Key that is made of sixteen random bytes."""
    return base64.b64encode(random)


def is_key(value: bytes) -> bool:
    """Return whether a value encodes sixteen bytes (RFC 6455 section 4.2.1)."""
    try:
        return len(value) == _LENGTH and len(base64.b64decode(value, validate=True)) == _KEY_SIZE
    except binascii.Error:
        return False


def accept_of(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that belongs to a key."""
    # It loads OpenSSL, which many proxies never need.
    import hashlib

    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def read_subprotocols(values: Sequence[bytes]) -> list[bytes] | None:
    """Return what the values of Sec-WebSocket-Protocol offer; None unless they are lists."""
    members = [member.strip(b" \t") for value in values for member in value.split(b",")]
    offered = [member for member in members if member]
    return offered if all(_TOKEN.fullmatch(member) for member in offered) else None


def choose_subprotocol(offered: Sequence[bytes]) -> bytes:
    """Return the preferred one that a tunnel has, or b"" where none is offered that it has."""
    return next((known for known in SUBPROTOCOLS if known in offered), b"")


def request_lines(key: bytes, subprotocols: Sequence[bytes] = SUBPROTOCOLS) -> bytes:
    """Return the field lines with which a client of HTTP/1.1 asks for a tunnel (section 4.1)."""
    lines = [
        b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: " + key,
        b"Sec-WebSocket-Version: " + VERSION,
    ]  # fmt: skip
    if subprotocols:
        lines.append(b"Sec-WebSocket-Protocol: " + b", ".join(subprotocols))
    return b"".join(line + b"\r\n" for line in lines)


def switching_head(key: bytes, subprotocol: bytes) -> bytes:
    """Return the 101 with which a server opens a WebSocket (section 4.2.2)."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: websocket",
        b"Sec-WebSocket-Accept: " + accept_of(key),
    ]  # fmt: skip
    if subprotocol:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol)
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"

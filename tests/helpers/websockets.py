"""The handshake of a WebSocket, from the side of its service (RFC 6455 section 4.2)."""

import base64
import hashlib

from tests.helpers.script import head

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def switching(request: bytes) -> bytes:
    """Return the response that accepts a request for a WebSocket."""
    lines = dict(line.lower().split(b": ", 1) for line in request.split(b"\r\n")[1:-2])
    original = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:-2])
    key = next(value for name, value in original.items() if name.lower() == b"sec-websocket-key")
    assert lines[b"upgrade"] == b"websocket"
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
    return head(
        "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    )  # fmt: skip

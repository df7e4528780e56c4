"""A WebSocket over HTTP/2 as the upgrade of HTTP/1.1 that its upstream gets (RFC 8441 section 5).

The client of HTTP/2 sends no key, so that the proxy makes one, and checks what the upstream makes
of it (RFC 6455 section 4.1). Does not know streams.
"""

import os
from typing import Final

from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.field_lines import field_values
from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.websocket.opening import accept_of, encode_key

# Of the handshake of HTTP/1.1 alone.
_ACCEPT: Final = b"sec-websocket-accept"


def make_key() -> bytes:
    """Return a new Sec-WebSocket-Key."""
    return encode_key(os.urandom(16))


def add_key(head: bytes, key: bytes) -> bytes:
    """Return the head of an upgrade with its key."""
    return head[:-2] + b"sec-websocket-key: " + key + b"\r\n\r\n"


def opening_head(switch: bytes) -> bytes:
    """Return the head of the 200 that takes the place of a 101, without its handshake."""
    lines = [
        line for line in switch.split(b"\r\n")[1:] if line.partition(b":")[0].lower() != _ACCEPT
    ]
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines])


class WebSocketRequest(Http1Request):
    """A request with a key of the proxy."""

    __slots__ = ("_key",)

    def __init__(self, head: RequestHead, key: bytes) -> None:
        super().__init__(head)
        self._key = key

    def check_switch(self, response: ResponseHead) -> None:
        """Raise BadMessage unless this 101 grants the request, and knows the key."""
        super().check_switch(response)
        if field_values(response.section(), _ACCEPT) != [accept_of(self._key)]:
            raise BadMessage("a 101 response with a wrong Sec-WebSocket-Accept")

    def check_refusal(self, response: ResponseHead) -> None:
        """Raise BadMessage for a 2xx, which would open the WebSocket (RFC 8441 section 5)."""
        if response.status < 300:
            raise BadMessage(f"a {response.status} response to a WebSocket, not a 101")

"""The closing handshake of a tunnel inside a WebSocket (RFC 6455 section 7).

Each end sends one Close frame; the server closes the connection once it has both. So all bytes
arrive before it closes, also behind edges that lose what they hold for a half-close. Does not know
when a tunnel ends. Neighbour: `websocket_session.py`.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.net.socket_queues import count_unsent
from cmux_proxy.net.stream import Stream
from cmux_proxy.websocket.tunnel_frames import CLOSE, close_payload, frame

# How many seconds bytes may wait behind our Close while none of them is taken, and then the
# client's Close.
CLOSE_TIMEOUT: Final = 60.0


@mypyc_attr(acyclic=True)
class ClosingHandshake:
    """Which Close frames were sent and received."""

    __slots__ = ("_unsent", "has_received", "has_sent")

    def __init__(self) -> None:
        self.has_sent = False
        self.has_received = False
        # How much waited to be sent when it was counted last.
        self._unsent = 0

    def send(self, inner: Stream, code: int, reason: str = "") -> None:
        """Send our Close behind everything that waits; idempotent."""
        if not self.has_sent:
            self.has_sent = True
            inner.write(frame(CLOSE, close_payload(code, reason)))
            self._unsent = count_unsent(inner)

    def progresses(self, inner: Stream) -> bool:
        """Return whether the client has taken bytes since the last call."""
        before = self._unsent
        self._unsent = count_unsent(inner)
        return self._unsent < before

    def give_up(self, inner: Stream) -> None:
        """Wait no longer; bytes that the client does not take are lost."""
        if self._unsent or inner.is_closing():
            inner.abort()
        else:
            inner.close()

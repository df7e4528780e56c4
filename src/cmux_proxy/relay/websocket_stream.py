"""The tunnel inside a WebSocket as a Stream: what its owner writes leaves in frames.

Each write is one message, and one write beneath, so that no more waits than in any tunnel.
Neighbour: `websocket_session.py` has the client's frames, and reports to the owner.
"""

from collections.abc import Iterable
from typing import Any, Final

from cmux_proxy.net.stream import Data, Stream, StreamOwner
from cmux_proxy.relay.websocket_session import (
    CLIENT_ENDED,
    CLOSING,
    PAUSED,
    SENT_END,
    WebSocketSession,
)
from cmux_proxy.websocket.tunnel_frames import BINARY, frame_head

# Larger payloads are not copied behind their head.
_MAX_JOINED: Final = 8 * 1024


class WebSocketStream:
    """A stream with the frames of a server (RFC 6455) over the stream of a session."""

    __slots__ = ("_inner", "_session")

    def __init__(self, session: WebSocketSession) -> None:
        self._session = session
        self._inner: Stream = session.inner

    def write(self, data: Data, /) -> None:
        """Send bytes as one message, in one write."""
        session = self._session
        size = len(data)
        if not size or session.state & (CLOSING | SENT_END):
            return
        session.note_sent(size)
        head = frame_head(BINARY, size)
        if size <= _MAX_JOINED:
            self._inner.write(b"".join((head, data)))
        else:
            self._inner.writelines((head, data))

    def writelines(self, data: Iterable[Data], /) -> None:
        """Send several pieces of bytes in this order."""
        self.write(b"".join(data))

    def can_write_eof(self) -> bool:
        """Return True: a message or a Close ends our half."""
        return True

    def write_eof(self) -> None:
        """End our half behind everything that waits."""
        if not self._session.state & (CLOSING | SENT_END):
            self._session.end_half()

    def close(self) -> None:
        """Close once everything has been sent and the client has sent its Close."""
        self._session.close()

    def abort(self) -> None:
        """Close at once, without a Close frame, and discard what waits to be sent."""
        self._session.state |= CLOSING
        self._inner.abort()

    def is_closing(self) -> bool:
        """Return whether it is closed, or closes."""
        return self._session.state & CLOSING != 0 or self._inner.is_closing()

    def pause_reading(self) -> None:
        """Leave what arrives with the kernel; after the client's end it is never payload."""
        if not self._session.state & (PAUSED | CLIENT_ENDED | CLOSING):
            self._session.state |= PAUSED
            self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._session.resume_reading()

    def set_protocol(self, owner: StreamOwner, /) -> None:
        """Report to another owner from now on."""
        self._session.owner = owner

    def get_protocol(self) -> object:
        """Return the owner; None once the connection is lost."""
        return self._session.owner

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many bytes may wait; all of them wait beneath, in frames."""
        self._inner.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent, in frames."""
        return self._inner.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the stream beneath knows; "framed" says that its bytes are not these."""
        return True if name == "framed" else self._inner.get_extra_info(name, default)

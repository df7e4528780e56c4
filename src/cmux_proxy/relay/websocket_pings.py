"""Pings in a tunnel inside a WebSocket: when one is due, and when its client counts as gone.

Edges close what is silent for a minute or so, therefore both directions carry something more often.
A client whose reader has stopped answers no ping, but it may be there: while bytes wait for it, it
is not given up. Does not know frames. Neighbour: `websocket_session.py` sends the pings.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.net.socket_queues import count_unsent
from cmux_proxy.net.stream import Stream

# How many seconds of silence pass before a ping, and how many the client has for its pong.
PING_INTERVAL: Final = 20.0
PONG_TIMEOUT: Final = 20.0

# A client that was sent more than this since its last pong may still be busy with it.
_READ_AHEAD: Final = 64 * 1024
# A client whose kernel has not taken more than some pings does not read either.
_SOME_PINGS: Final = 256

# What is due.
NOTHING: Final = 0
SEND_PING: Final = 1
GIVE_UP: Final = 2


@mypyc_attr(acyclic=True)
class Pings:
    """Signs of life of one client; times are in seconds of the loop's clock."""

    __slots__ = ("_heard", "_is_awaiting", "_sent", "_unproven")

    def __init__(self, now: float) -> None:
        self._heard = now
        self._sent = now
        # How many bytes were sent since the last pong, which may not have been read yet.
        self._unproven = 0
        self._is_awaiting = False

    def note_heard(self, now: float) -> None:
        """Anything has arrived."""
        self._heard = now
        self._is_awaiting = False

    def note_pong(self) -> None:
        """The client has read everything up to the last ping."""
        self._unproven = 0

    def note_sent(self, now: float, size: int) -> None:
        """Bytes were written."""
        self._sent = now
        self._unproven += size

    def next_check(self, now: float) -> float:
        """Return when `due` is to be asked again."""
        at = min(self._heard, self._sent) + PING_INTERVAL
        return at if at > now and not self._is_awaiting else now + PONG_TIMEOUT

    def due(self, now: float, inner: Stream, is_read: bool) -> int:
        """Return what is due; a ping counts as sent. `is_read` says that pongs are read."""
        if self._is_awaiting and is_read and not self._may_be_busy(inner):
            return GIVE_UP
        if now < min(self._heard, self._sent) + PING_INTERVAL:
            return NOTHING
        self._sent = now
        if inner.get_write_buffer_size():
            # Behind bytes that wait, a ping would wait too.
            return NOTHING
        self._is_awaiting = True
        return SEND_PING

    def _may_be_busy(self, inner: Stream) -> bool:
        """Return whether the client may have stopped reading rather than be gone."""
        if inner.get_write_buffer_size() or self._unproven > _READ_AHEAD:
            return True
        return count_unsent(inner) > _SOME_PINGS

"""Closes a connection on which the client may still send, without losing the last response."""

from typing import Final

from cmux_proxy.net.closing import send_end
from cmux_proxy.net.socket_queues import count_unsent
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import Timed
from cmux_proxy.relay.services import Services

# A client that keeps sending is read for at most this many linger timeouts.
_MAX_TIMEOUTS: Final = 6


class LingeringClose(Timed):
    """Ends our half, then discards what the client still sends until it ends its own.

    Closing with unread bytes would reset the connection, and the reset can overtake the answer
    that was just written (RFC 9112 section 9.6).
    """

    __slots__ = ("_last", "_services", "_stream", "_unsent")

    def __init__(self, services: Services, stream: Stream) -> None:
        super().__init__()
        self._services = services
        self._stream = stream
        # How many bytes the client had not read when they were counted last.
        self._unsent = count_unsent(stream)
        now = services.ticker.now
        self.deadline = now + services.timeouts.linger
        self._last = now + services.timeouts.linger * _MAX_TIMEOUTS
        services.registry.lingering.add(self)
        services.read_size.install(stream, self)
        send_end(stream)
        stream.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Discard it, and allow some more time."""
        self.deadline = min(self._services.ticker.now + self._services.timeouts.linger, self._last)

    def eof_received(self) -> bool:
        """Let the stream close: both halves have ended."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Leave the registry."""
        self._services.registry.lingering.discard(self)
        self._services.client_gone(self._stream)

    def pause_writing(self) -> None:
        """Nothing more is written."""

    def resume_writing(self) -> None:
        """Nothing more is written."""

    def deadline_passed(self) -> None:
        """Abort, unless the client still reads the bytes that it was sent."""
        before = self._unsent
        self._unsent = count_unsent(self._stream)
        if self._unsent < before:
            self.deadline = self._services.ticker.now + self._services.timeouts.linger
        else:
            self.abort()

    def abort(self) -> None:
        """Abort the connection."""
        self._stream.abort()

"""Closes that plain `close` does not offer: by reset, by half, after the client has read."""

from typing import Final

from cmux_proxy.net.socket_options import reset_on_close
from cmux_proxy.net.socket_queues import count_unsent
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import Timed
from cmux_proxy.relay.services import Context

# A peer that keeps sending is listened to for so many times the linger timeout.
_LONGEST: Final = 6


def reset(stream: Stream) -> None:
    """Close at once with a TCP reset, so that the peer cannot take it for an orderly end."""
    sock = stream.get_extra_info("socket")
    if sock is not None and not stream.is_closing():
        reset_on_close(sock)
    stream.abort()


def send_end(stream: Stream) -> bool:
    """End our half of the connection, behind what is still to be sent.

    Return False where it turns out that the peer has reset it, and drop the connection then.
    """
    try:
        stream.write_eof()
    except OSError:
        # asyncio shuts the socket down at once, which fails where the peer has just reset it.
        stream.abort()
        return False
    return True


class LingeringClose(Timed):
    """Ends our half, then discards what the client still sends until it ends its own.

    Closing with unread bytes would reset the connection, and the reset can overtake the answer
    that was just written (RFC 9112 section 9.6).
    """

    __slots__ = ("_context", "_last", "_transport", "_unsent")

    def __init__(self, context: Context, transport: Stream) -> None:
        super().__init__()
        self._context = context
        self._transport = transport
        # How much the client had not read when it was looked at last.
        self._unsent = count_unsent(transport)
        now = context.ticker.now
        self.deadline = now + context.linger
        self._last = now + context.linger * _LONGEST
        context.clients.add(self)
        context.read_size.install(transport, self)
        send_end(transport)
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Discard it, and grant some more time."""
        self.deadline = min(self._context.ticker.now + self._context.linger, self._last)

    def eof_received(self) -> bool:
        """Let the transport close: both halves have ended."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Be gone."""
        context = self._context
        context.clients.discard(self)
        if context.admission is not None:
            context.admission.leave(self._transport)
        context.changed()

    def pause_writing(self) -> None:
        """Nothing more is written."""

    def resume_writing(self) -> None:
        """Nothing more is written."""

    def deadline_passed(self) -> None:
        """Give up on the client, unless it still reads what it was sent."""
        before = self._unsent
        self._unsent = count_unsent(self._transport)
        if self._unsent < before:
            self.deadline = self._context.ticker.now + self._context.linger
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

"""Tells the owner which streams are to send no more for now, and when they may go on.

A stream is blocked while its window or the transport holds bytes of it back. While too much waits
on the connection, streams whose windows have little room are blocked before bytes of them wait too;
the others go on, so that a client may leave some responses unread. Does not know sockets.
"""

from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.http2_limits import MAX_PENDING, MIN_ROOM
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.outgoing_frames import OutgoingFrames
from cmux_proxy.http2.stream_table import StreamTable


class BackPressure:
    """The back-pressure of one connection; `is_paused` says that the transport takes nothing."""

    __slots__ = ("_handler", "_is_full", "_outgoing", "_table", "is_paused")

    def __init__(
        self, handler: ConnectionHandler, outgoing: OutgoingFrames, table: StreamTable
    ) -> None:
        self._handler = handler
        self._outgoing = outgoing
        self._table = table
        self.is_paused = False
        # Whether more than MAX_PENDING waits, and not yet less than half of it.
        self._is_full = False

    def pause(self) -> None:
        """The transport takes nothing for now."""
        self.is_paused = True
        for stream in list(self._table.streams.values()):
            if stream.pending_size > 0:
                self._block(stream)

    def note_sent(self, stream: Http2Stream) -> None:
        """The owner has sent a head, or body bytes that wait."""
        if self.is_paused:
            if stream.pending_size > 0:
                self._block(stream)
        elif self._is_full:
            if self._must_wait(stream):
                self._block(stream)
        elif self._outgoing.pending_size > MAX_PENDING:
            self._is_full = True
            for other in list(self._table.streams.values()):
                if self._must_wait(other):
                    self._block(other)

    def note_turns(self, served: list[Http2Stream]) -> None:
        """These streams have sent what their windows allow."""
        for stream in served:
            if self._must_wait(stream):
                self._block(stream)
            else:
                self._unblock(stream)
        self.note_room()

    def _must_wait(self, stream: Http2Stream) -> bool:
        return stream.pending_size > 0 or (self._is_full and stream.send_window < MIN_ROOM)

    def note_room(self) -> None:
        """Let streams go on once half of the room is free again."""
        if self._is_full and self._outgoing.pending_size <= MAX_PENDING // 2:
            self._is_full = False
            for stream in list(self._table.streams.values()):
                if stream.pending_size == 0:
                    self._unblock(stream)

    def _block(self, stream: Http2Stream) -> None:
        if not stream.is_blocked and stream.is_writable():
            stream.is_blocked = True
            self._handler.on_blocked(stream)

    def _unblock(self, stream: Http2Stream) -> None:
        if stream.is_blocked and stream.is_writable():
            stream.is_blocked = False
            self._handler.on_unblocked(stream)

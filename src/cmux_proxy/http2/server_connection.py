"""One HTTP/2 connection of a client, without I/O (RFC 9113): bytes in, calls and frames out.

This is what the owner of the connection calls; `handler.py` is what it is called with. Neighbours:
`client_frames.py` acts on what the client sends, `outgoing_frames.py` has what is sent. Does not
know sockets, clocks or exchanges: times are arguments, and who takes the frames sends them.
"""

from typing import Final

from cmux_proxy.http2.back_pressure import BackPressure
from cmux_proxy.http2.connection_parts import ConnectionParts, server_parts
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.error_codes import NO_ERROR
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.frame_types import MAX_STREAM_ID
from cmux_proxy.http2.frame_writer import goaway_frame, ping_frame
from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.http2_limits import MAX_UNTAKEN
from cmux_proxy.http2.http2_stream import Http2Stream, Piece

_NEVER: Final = float("inf")


class ServerConnection:
    """A connection, from its preface on.

    Its owner passes what it reads to `receive`, and writes what `take_frames` returns: after each
    read, and after commands, at once or when the loop turns. Commands for a stream that is closed
    do nothing, because the client may have reset it at any time. `is_over` says that the connection
    has failed: the frames that wait are its last. `parts` are
    those of another role. `partial_since` is when a frame or a header block
    began to arrive that is not whole, and infinite if there is none.
    """

    __slots__ = (
        "_back_pressure", "_ends", "_frames", "_handler", "_outgoing", "_reader", "_table",
        "is_over", "partial_since",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, handler: ConnectionHandler, parts: ConnectionParts | None = None
    ) -> None:
        if parts is None:
            parts = server_parts(engine, handler)
        self._handler = handler
        self._table = parts.table
        self._outgoing = parts.outgoing
        self._ends = parts.ends
        self._frames = parts.frames
        self._reader = parts.reader
        self._back_pressure = BackPressure(handler, self._outgoing, self._table)
        self.is_over = False
        self.partial_since = _NEVER
        self._outgoing.add(parts.greeting)

    # What the client sends

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes of the client; `now` is a time in seconds that never decreases."""
        if self.is_over:
            return
        self._ends.now = now
        reader = self._reader
        turns = reader.turns
        try:
            reader.feed(data)
        except ConnectionFault as fault:
            self.fail(fault.code, fault.rule)
        if reader.is_clean():
            self.partial_since = _NEVER
        elif self.partial_since == _NEVER or reader.turns != turns:
            self.partial_since = now
        self._back_pressure.note_room()

    def may_read(self) -> bool:
        """Return whether the client is to be read: not while many frames wait to be taken."""
        return self._outgoing.untaken_size <= MAX_UNTAKEN

    def consume(self, stream: Http2Stream, size: int) -> None:
        """`size` bytes of `on_data` are held no longer, so that the client may send more."""
        if not self.is_over and stream.held > 0:
            self._frames.consume(stream, size)

    # What the client is sent

    def send_response(self, stream: Http2Stream, head: bytes, body: bytes) -> None:
        """Send a whole response: its final head, and a body of 1 to MAX_JOINED_BODY bytes."""
        if not self._may_send(stream):
            return
        is_paused = self._back_pressure.is_paused
        if is_paused or not self._outgoing.add_response(stream, head, body):
            self.send_head(stream, head, False)
            self.send_data(stream, body, True)

    def send_head(self, stream: Http2Stream, head: bytes, is_last: bool) -> None:
        """Send a response head of HTTP/1.1, interim or final; not 101 (RFC 9113 section 8.6).

        With `is_last`, no body follows.
        """
        if self._may_send(stream):
            self._outgoing.add_head(stream, head, is_last)
            self._back_pressure.note_sent(stream)

    def send_data(self, stream: Http2Stream, data: Piece, is_last: bool) -> None:
        """Send body bytes; they may be empty if they are the last.

        They are not copied: what a view shows must not change until it is sent.
        """
        if not self._may_send(stream):
            return
        outgoing = self._outgoing
        is_paused = self._back_pressure.is_paused
        if is_paused or not outgoing.add_frame_of_data(stream, data, is_last):
            outgoing.add_data(stream, data, is_last)
            self._back_pressure.note_sent(stream)

    def send_trailers(self, stream: Http2Stream, lines: bytes) -> None:
        """End a response with field lines of HTTP/1.1, each with its CRLF."""
        if self._may_send(stream):
            stream.trailers = lines
            self._outgoing.add_data(stream, b"", True)

    def reset(self, stream: Http2Stream, code: int) -> None:
        """End a stream at once; what it has not sent is dropped, and no call for it follows."""
        if self.is_over or self._table.streams.get(stream.id) is not stream:
            return
        try:
            self._ends.reset(stream, code)
        except ConnectionFault as fault:
            self.fail(fault.code, fault.rule)
        self._back_pressure.note_room()

    def _may_send(self, stream: Http2Stream) -> bool:
        return stream.is_writable() and not self.is_over

    # The connection

    def ping(self, payload: bytes) -> None:
        """Send a PING with eight bytes (RFC 9113 section 6.7)."""
        self._outgoing.add(ping_frame(payload, False))

    def announce_drain(self) -> None:
        """Ask the client to open no more streams; those on their way are served (section 6.8)."""
        self._outgoing.add(goaway_frame(MAX_STREAM_ID, NO_ERROR, b""))

    def refuse_streams(self) -> None:
        """Name the last stream that is served; those that follow are ignored."""
        self._table.refuse_new()
        self._outgoing.add(goaway_frame(self._table.accepted_id, NO_ERROR, b""))

    def fail(self, code: int, rule: str) -> None:
        """End the connection with an error; `rule` is for people who debug the client."""
        if self.is_over:
            return
        self.is_over = True
        self._reader.stop()
        self._outgoing.add(goaway_frame(self._table.accepted_id, code, rule.encode("ascii")))
        self._handler.on_connection_fault(code, rule)
        self._table.streams.clear()

    def count_streams(self) -> int:
        """Return how many streams are open."""
        return len(self._table.streams)

    def streams(self) -> list[Http2Stream]:
        """Return the open streams."""
        return list(self._table.streams.values())

    def has_work(self) -> bool:
        """Return whether a stream is open or frames wait to be taken."""
        return len(self._table.streams) > 0 or self._outgoing.has_frames()

    # The transport

    def pending_size(self) -> int:
        """Return how many body bytes wait for windows or for the transport."""
        return self._outgoing.pending_size

    def take_frames(self) -> list[Piece]:
        """Return all that may be sent now, in pieces whose order matters."""
        outgoing = self._outgoing
        if self.is_over:
            return outgoing.take()
        served = outgoing.fill()
        pieces = outgoing.take()
        ended = outgoing.ended
        if len(ended) > 0:
            outgoing.ended = []
            for stream in ended:
                self._ends.close_if_over(stream)
        self._back_pressure.note_turns(served)
        return pieces

    def pause_writing(self) -> None:
        """The transport takes nothing for now; do not take frames until it does."""
        self._back_pressure.pause()

    def resume_writing(self) -> None:
        """The transport takes frames again; take them."""
        self._back_pressure.is_paused = False

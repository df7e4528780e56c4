"""The streams of a connection: those that are open, and what is known of the others.

RFC 9113 section 5.1 treats frames on a stream that was never opened, on one that the client has
closed and on one that was reset differently; this file tells them apart without remembering them
all. Does not know frames.
"""

from cmux_proxy.http2.error_codes import PROTOCOL_ERROR, STREAM_CLOSED
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.http2_limits import MAX_RESET_STREAMS
from cmux_proxy.http2.http2_stream import CLOSED, Http2Stream


class StreamTable:
    """The open streams by their ids; `last_id` is the highest that a client has used.

    `accepted_id` is the highest that is served: streams above it came after a GOAWAY.
    """

    __slots__ = ("_opened", "_reset_ids", "accepted_id", "is_closing", "last_id", "streams")

    def __init__(self) -> None:
        self.streams: dict[int, Http2Stream] = {}
        self.last_id = 0
        self.accepted_id = 0
        # Whether new streams are ignored.
        self.is_closing = False
        self._opened = 0
        # Streams that the proxy has reset, oldest first; the values mean nothing.
        self._reset_ids: dict[int, None] = {}

    def note_new(self, stream_id: int) -> bool:
        """Note the first header block of a stream; return whether it may be served.

        Raises ConnectionFault for a stream that a client cannot open (RFC 9113 section 5.1.1).
        """
        if stream_id & 1 == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "a client opens a stream with an even number")
        if stream_id <= self.last_id:
            if stream_id in self._reset_ids or self.is_ignored(stream_id):
                return False
            # Whether it was opened is certain only while the client has left no number out.
            if self._opened * 2 == self.last_id + 1:
                raise ConnectionFault(STREAM_CLOSED, "HEADERS is on a stream that was closed")
            raise ConnectionFault(PROTOCOL_ERROR, "a stream has a lower number than one before it")
        self.last_id = stream_id
        self._opened += 1
        if self.is_closing:
            return False
        self.accepted_id = stream_id
        return True

    def add(self, stream: Http2Stream) -> None:
        """Add a stream that is served."""
        self.streams[stream.id] = stream

    def check_not_idle(self, stream_id: int, rule: str) -> None:
        """Raise ConnectionFault for a stream that was not opened (RFC 9113 section 5.1)."""
        if stream_id > self.last_id or stream_id & 1 == 0:
            raise ConnectionFault(PROTOCOL_ERROR, rule)

    def is_ignored(self, stream_id: int) -> bool:
        """Return whether frames on a stream without an entry may be in flight for good reasons."""
        return stream_id in self._reset_ids or self.accepted_id < stream_id <= self.last_id

    def close(self, stream: Http2Stream) -> None:
        """Remove a stream: both sides have ended it, or it was reset."""
        stream.state = CLOSED
        self.streams.pop(stream.id, None)

    def note_reset(self, stream_id: int) -> None:
        """Remember a stream that the proxy has reset."""
        if len(self._reset_ids) >= MAX_RESET_STREAMS:
            del self._reset_ids[next(iter(self._reset_ids))]
        self._reset_ids[stream_id] = None

    def forget_reset(self, stream_id: int) -> None:
        """The client has ended the stream too."""
        self._reset_ids.pop(stream_id, None)

    def refuse_new(self) -> None:
        """Ignore streams that the client opens from now on."""
        self.is_closing = True

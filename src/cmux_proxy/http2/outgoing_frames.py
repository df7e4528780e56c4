"""What waits to be sent: frames that are ready, and bodies that wait for windows.

RFC 9113 section 5.2. Streams take turns: each sends what its window allows, and where the window of
the connection ends, those behind come first the next time. Does not know what the client sends, nor
when frames are taken.
"""

from typing import Final

from cmux_proxy.http2.frame_types import DATA, DEFAULT_WINDOW, END_STREAM, FRAME_SIZE, HEADER_SIZE
from cmux_proxy.http2.frame_writer import frame_header, headers_frames
from cmux_proxy.http2.hpack_encoder import HpackEncoder
from cmux_proxy.http2.http2_stream import CLOSED, Http2Stream, Piece

# Up to this size a piece is copied, because it costs less than a view of its own.
_MAX_COPIED: Final = 2048


class OutgoingFrames:
    """The frames of one connection.

    `window` is what the connection may send, `pending_size` how many body bytes wait for a window
    or for a call of `fill`, and `untaken_size` counts the bytes of all frames but DATA that `take`
    returns.
    """

    __slots__ = (
        "_encoder", "_last_data", "_last_data_at", "_pieces", "_ready", "ended", "pending_size",
        "untaken_size", "window",
    )  # fmt: skip

    def __init__(self, encoder: HpackEncoder) -> None:
        self._encoder = encoder
        self._pieces: list[Piece] = []
        # The stream of the last DATA frame, and where the header of that frame is.
        self._last_data: Http2Stream | None = None
        self._last_data_at = 0
        # The streams that have something to send, in turn.
        self._ready: list[Http2Stream] = []
        # The streams whose response has ended since the last call of `take`.
        self.ended: list[Http2Stream] = []
        self.window = DEFAULT_WINDOW
        self.pending_size = 0
        self.untaken_size = 0

    def add(self, frame: bytes) -> None:
        """Add a frame other than DATA."""
        self._pieces.append(frame)
        self.untaken_size += len(frame)

    def add_head(self, stream: Http2Stream, head: bytes, is_last: bool) -> None:
        """Add a response head; with `is_last`, no body follows."""
        self.add(self._encoder.head_frames(stream.id, head, is_last))
        if is_last:
            self._end(stream)

    def add_response(self, stream: Http2Stream, head: bytes, body: bytes) -> bool:
        """Add a response with a body of at most MAX_JOINED_BODY bytes, if windows allow it.

        Nothing of the stream may wait.
        """
        size = len(body)
        if size > self.window or size > stream.send_window:
            return False
        # The stream ends, so that its own window means nothing any more.
        self.window -= size
        frames = self._encoder.response_frames(stream.id, head, body)
        self._pieces.append(frames)
        self.untaken_size += len(frames) - HEADER_SIZE - size
        self._end(stream)
        return True

    def add_request(self, stream: Http2Stream, head: bytes, scheme: bytes, is_last: bool) -> None:
        """Add a request head; with `is_last`, no body follows."""
        self.add(headers_frames(stream.id, self._encoder.encode_request(head, scheme), is_last))
        if is_last:
            self._end(stream)

    def add_data(self, stream: Http2Stream, data: Piece, is_last: bool) -> None:
        """Add body bytes that are sent as far as windows allow when frames are taken."""
        if len(data) > 0:
            stream.pending.append(data)
            stream.pending_size += len(data)
            self.pending_size += len(data)
        if is_last:
            stream.ends_after_pending = True
        self.mark_ready(stream)

    def add_frame_of_data(self, stream: Http2Stream, data: Piece, is_last: bool) -> bool:
        """Add body bytes as one frame, if nothing waits before them and windows allow it."""
        size = len(data)
        if size > FRAME_SIZE or size > self.window or size > stream.send_window:
            return False
        if stream.pending_size > 0 or (size == 0 and not is_last):
            return False
        if size == 0 and self._last_data is stream:
            self._end_with_last_data(stream)
            return True
        self.window -= size
        stream.send_window -= size
        self._add_data(stream, data, size, is_last)
        return True

    def _add_data(self, stream: Http2Stream, part: Piece, size: int, is_last: bool) -> None:
        self._last_data = stream
        self._last_data_at = len(self._pieces)
        self._pieces.append(frame_header(size, DATA, END_STREAM if is_last else 0, stream.id))
        self._pieces.append(part)
        if is_last:
            self._end(stream)

    def _end_with_last_data(self, stream: Http2Stream) -> None:
        """Let the last DATA frame, which was not taken, end the stream."""
        at = self._last_data_at
        size = len(self._pieces[at + 1])
        self._pieces[at] = frame_header(size, DATA, END_STREAM, stream.id)
        self._end(stream)

    def mark_ready(self, stream: Http2Stream) -> None:
        """List a stream that may have something to send now."""
        if not stream.is_ready:
            stream.is_ready = True
            self._ready.append(stream)

    def drop(self, stream: Http2Stream) -> None:
        """Drop what a stream that was reset has not sent."""
        if stream.pending_size > 0:
            self.pending_size -= stream.pending_size
            stream.pending_size = 0
            stream.pending.clear()
        stream.trailers = b""

    def has_frames(self) -> bool:
        """Return whether `take` may have something to return."""
        return len(self._pieces) > 0 or len(self._ready) > 0

    def fill(self) -> list[Http2Stream]:
        """Make frames of what waits, as far as windows allow; return the streams that had a turn.

        Streams that only the window of the connection stops keep their turn.
        """
        served = self._ready
        self._ready = []
        last: list[Http2Stream] = []
        for stream in served:
            stream.is_ready = False
            if stream.state == CLOSED:
                continue
            waiting = stream.pending_size
            if waiting > 0:
                self._send_pending(stream)
            if stream.pending_size == 0:
                if stream.ends_after_pending and not stream.has_response_ended():
                    self._send_end(stream)
            elif self.window <= 0 < stream.send_window:
                if stream.pending_size < waiting:
                    last.append(stream)
                else:
                    self.mark_ready(stream)
        for stream in last:
            self.mark_ready(stream)
        return served

    def take(self) -> list[Piece]:
        """Return all frames, in order, and keep none."""
        pieces = self._pieces
        self._pieces = []
        self._last_data = None
        self.untaken_size = 0
        return pieces

    def _send_pending(self, stream: Http2Stream) -> None:
        """Make DATA frames until nothing is pending or a window ends."""
        while stream.pending_size > 0:
            size = min(self.window, stream.send_window, FRAME_SIZE)
            if size <= 0:
                return
            data = stream.pending[0]
            start = stream.pending_start
            rest_size = len(data) - start
            if rest_size <= size:
                size = rest_size
                stream.pending.pop(0)
                stream.pending_start = 0
            else:
                stream.pending_start = start + size
            stream.pending_size -= size
            self.pending_size -= size
            stream.send_window -= size
            self.window -= size
            is_last = stream.pending_size == 0 and stream.ends_after_pending and not stream.trailers
            self._add_data(stream, _part(data, start, size), size, is_last)

    def _send_end(self, stream: Http2Stream) -> None:
        """Send the trailers, or an empty DATA frame, which need no window."""
        if len(stream.trailers) > 0:
            block = self._encoder.encode_trailers(stream.trailers)
            self.add(headers_frames(stream.id, block, True))
        else:
            self.add(frame_header(0, DATA, END_STREAM, stream.id))
        self._end(stream)

    def _end(self, stream: Http2Stream) -> None:
        stream.end_response()
        self.ended.append(stream)


def _part(data: Piece, start: int, size: int) -> Piece:
    """Return data[start:start + size], without a copy if it is large."""
    if size == len(data):
        return data
    if size <= _MAX_COPIED:
        return data[start : start + size]
    return memoryview(data)[start : start + size]

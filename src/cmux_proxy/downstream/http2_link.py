"""Joins the engine of an HTTP/2 connection to its transport: what is sent leaves from here.

Frames leave at once behind a response that is the only one under way, and otherwise once behind
each batch of events, so that many streams share a write. Does not know requests. Neighbours:
`http2_connection.py` owns the transport, `http2/server_connection.py` is the engine.
"""

from collections.abc import Callable
from typing import Final

from cmux_proxy.downstream.http2_client_stream import Http2ClientStream, StreamCarrier
from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.http2_stream import Http2Stream, Piece
from cmux_proxy.http2.server_connection import ServerConnection
from cmux_proxy.net.stream import CallSoon, Stream

# Frames of up to so many bytes are joined, because a copy costs less than many buffers.
_MAX_JOINED: Final = 65536


class StreamRequests(ConnectionHandler):
    """The requests of the connection, as the link calls them; `http2_requests.py` implements it."""

    __slots__ = ()

    def start_held(self) -> None:
        """All frames of a read were passed on."""
        raise NotImplementedError

    def forget(self, stream: Http2Stream) -> None:
        """A stream is gone, whatever has ended it; idempotent."""
        raise NotImplementedError


class Http2Link(StreamCarrier):
    """Sends for all streams of one connection."""

    __slots__ = (
        "_call_soon", "_closing", "_is_over", "_is_paused", "_is_receiving", "_is_scheduled",
        "engine", "on_over", "requests",
    )  # fmt: skip

    def __init__(self, call_soon: CallSoon, transport: Stream, on_over: Callable[[], None]) -> None:
        self.transport = transport
        self._call_soon = call_soon
        self.engine: ServerConnection
        self.requests: StreamRequests
        # Called once the last frame of a connection that has failed is sent.
        self.on_over = on_over
        self._is_over = False
        self._is_paused = False
        # Names the connection in lists.
        self.number = 0
        self._is_receiving = False
        self._is_scheduled = False
        self._closing: list[Http2ClientStream] = []

    def receive(self, data: bytes, now: float) -> None:
        """Pass bytes of the client to the engine, and send what that leads to."""
        self._is_receiving = True
        try:
            self.engine.receive(data, now)
            self.requests.start_held()
        finally:
            self._is_receiving = False
        self.flush()

    def pause(self) -> None:
        """Leave all frames with the engine: the client does not read."""
        self._is_paused = True
        self.engine.pause_writing()

    def resume(self) -> None:
        """Send again."""
        self._is_paused = False
        self.engine.resume_writing()
        self.flush()

    def send_response(self, stream: Http2Stream, head: bytes, body: bytes) -> None:
        """Send a whole response with a small body."""
        self.engine.send_response(stream, head, body)
        self._flush_later(True)

    def send_head(self, stream: Http2Stream, head: bytes, is_last: bool) -> None:
        """Send a response head of HTTP/1.1."""
        self.engine.send_head(stream, head, is_last)
        self._flush_later(is_last)

    def send_data(self, stream: Http2Stream, data: Piece, is_last: bool) -> None:
        """Send body bytes."""
        self.engine.send_data(stream, data, is_last)
        self._flush_later(is_last)

    def send_trailers(self, stream: Http2Stream, lines: bytes) -> None:
        """Send the trailers of a response, which end it."""
        self.engine.send_trailers(stream, lines)
        self._flush_later(True)

    def reset(self, stream: Http2Stream, code: int) -> None:
        """Reset a stream."""
        self.engine.reset(stream, code)
        self._flush_later(False)

    def consume(self, stream: Http2Stream, size: int) -> None:
        """Give the client room for more."""
        self.engine.consume(stream, size)
        self._flush_later(False)

    def reset_when_sent(self, stream: Http2ClientStream) -> None:
        """Reset a stream when its response has left."""
        self._closing.append(stream)
        self._flush_later(False)

    def lost(self, stream: Http2Stream) -> None:
        """Forget a stream."""
        self.requests.forget(stream)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call back soon, behind what has arrived."""
        self._call_soon(callback)

    def _flush_later(self, is_last: bool) -> None:
        """Send at once behind the last byte of the only response, else behind what has arrived."""
        if self._is_receiving or self._is_scheduled:
            return
        if is_last and self.engine.count_streams() <= 1:
            self.flush()
        else:
            self._is_scheduled = True
            self._call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._is_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Send what may be sent now; why a connection has failed may be sent at any time."""
        is_over = self.engine.is_over
        if self._is_over or self.transport.is_closing() or (self._is_paused and not is_over):
            return
        pieces = self.engine.take_frames()
        if pieces:
            self._write(pieces)
        if self._closing:
            closing = self._closing
            self._closing = [stream for stream in closing if not stream.reset_if_sent()]
        if is_over:
            self._is_over = True
            self.on_over()

    def _write(self, pieces: list[Piece]) -> None:
        size = 0
        for piece in pieces:
            size += len(piece)
        if size <= _MAX_JOINED:
            self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines(pieces)

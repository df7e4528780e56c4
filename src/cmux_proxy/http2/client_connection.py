"""One HTTP/2 connection to an upstream, without I/O: requests in, responses out (RFC 9113).

It is the connection of a client with the roles exchanged: what `core` calls the request of a stream
is what the peer sends, here the response. Neighbours: `server_connection.py` has the commands,
`response_streams.py` takes header blocks, `response_handler.py` is what the owner is called with.
"""

from cmux_proxy.http2.connection_parts import client_parts
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.error_codes import NO_ERROR
from cmux_proxy.http2.frame_types import MAX_STREAM_ID
from cmux_proxy.http2.frame_writer import goaway_frame
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.response_handler import ResponseHandler
from cmux_proxy.http2.server_connection import ServerConnection


class ClientConnection:
    """A connection; `core` has the commands for streams that are open, and for the transport."""

    __slots__ = ("_parts", "_stream_window", "core")

    def __init__(self, engine: Engine, handler: ResponseHandler) -> None:
        self._parts = client_parts(engine, handler)
        self._stream_window = engine.limits.stream_window
        self.core = ServerConnection(engine, handler, self._parts)

    def is_greeted(self) -> bool:
        """Return whether the upstream has sent its settings, which come first."""
        return self._parts.settings.is_known

    def max_streams(self) -> int:
        """Return how many streams the upstream allows."""
        return self._parts.settings.max_streams

    def has_ids(self) -> bool:
        """Return whether another stream can be opened (RFC 9113 section 5.1.1)."""
        return self._parts.table.last_id < MAX_STREAM_ID - 1

    def open_stream(self, head: bytes, scheme: bytes, is_last: bool) -> Http2Stream:
        """Send a request head of HTTP/1.1 on a new stream; with `is_last`, no body follows."""
        parts = self._parts
        table = parts.table
        table.last_id = (table.last_id + 1) | 1
        stream = Http2Stream(table.last_id, self._stream_window, parts.settings.initial_window)
        stream.is_for_head = head.startswith(b"HEAD ")
        table.add(stream)
        parts.outgoing.add_request(stream, head, scheme, is_last)
        return stream

    def leave(self) -> None:
        """Tell the upstream that the connection is over (RFC 9113 section 6.8)."""
        self._parts.outgoing.add(goaway_frame(0, NO_ERROR, b""))

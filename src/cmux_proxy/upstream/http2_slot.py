"""A place for one request at a time on a shared HTTP/2 connection, as a Stream of HTTP/1.1.

What is written is a request head of HTTP/1.1 and its body, of a length or in chunks; what its owner
gets is a response in the same form. So exchanges and the pool treat it like a connection of its
own. Trailers are those of the last chunk; a response with a length has none.
Neighbours: `http2_upstream.py` has the connection, as `slot_carrier.py` describes it,
`connection.py` owns the slot.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from cmux_proxy.http1.body import Body, LengthBody
from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.http1.serialize import encode_chunk
from cmux_proxy.http2.error_codes import CANCEL
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.net.stream import Data, StreamOwner
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.slot_carrier import SlotCarrier

_HEAD_END: Final = b"\r\n\r\n"
_FRAMING: Final = re.compile(
    rb"\r\n(?:(transfer-encoding)|content-length):[ \t]*([0-9]*)", re.IGNORECASE
)


class Http2Slot:
    """A slot with the methods of asyncio's transports; `connection` owns it."""

    __slots__ = (
        "_arrived", "_arrived_size", "_body", "_carrier", "_is_chunked", "_is_closed", "_is_paused",
        "connection", "max_size", "stream",
    )  # fmt: skip

    def __init__(self, carrier: SlotCarrier, connection: UpstreamConnection) -> None:
        self._carrier = carrier
        self.connection = connection
        # The stream of the request under way, until both sides have ended it.
        self.stream: Http2Stream | None = None
        # The body of the request, until it is complete.
        self._body: Body | None = None
        # What the owner has not been given, and how much of it windows count.
        self._arrived: list[bytes] = []
        self._arrived_size = 0
        self._is_chunked = False
        self._is_paused = False
        self._is_closed = False
        self.max_size = 0

    # What the owner calls

    def write(self, data: Data, /) -> None:
        """Send a request head and what follows of it, or more of its body."""
        if self._is_closed:
            return
        body = self._body
        if body is None:
            self._begin(bytes(data))
        else:
            self._send_body(body, bytes(data), 0)
        self._carrier.flush()

    def _begin(self, data: bytes) -> None:
        end = data.index(_HEAD_END) + len(_HEAD_END)
        head = data[:end]
        body = self._body = _request_body(head, self._carrier.chunk_rules)
        if self.stream is not None:
            # Of the request before, whose last frame has not left yet.
            self.stream.attachment = None
        self._arrived.clear()
        self._arrived_size = 0
        self.stream = self._carrier.open_stream(self, head, body is None)
        if body is not None and end < len(data):
            self._send_body(body, data, end)

    def _send_body(self, body: Body, data: bytes, start: int) -> None:
        content = body.feed(data, start)
        is_last = body.is_done
        if is_last:
            self._body = None
        stream = self.stream
        if stream is None:
            return
        has_trailers = len(body.trailers) > 0
        if content or (is_last and not has_trailers):
            self._carrier.core.send_data(stream, content, is_last and not has_trailers)
        if has_trailers:
            self._carrier.core.send_trailers(stream, body.trailers)

    def writelines(self, data: Iterable[Data], /) -> None:
        """Send several pieces of bytes in this order."""
        self.write(b"".join(data))

    def can_write_eof(self) -> bool:
        """Return True, although there is nothing to do: the framing ends a request."""
        return True

    def write_eof(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Give the slot up; a request that is under way is cancelled."""
        if self._is_closed:
            return
        stream = self.stream
        self._release()
        if stream is not None:
            self._carrier.reset(stream, CANCEL)
        self._carrier.slot_closed(self, stream is not None)

    def abort(self) -> None:
        """Do the same."""
        self.close()

    def is_closing(self) -> bool:
        """Return whether it is closed."""
        return self._is_closed

    def pause_reading(self) -> None:
        """Hold what arrives, and give the upstream no more room."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Hand over what was held, in the next turn of the loop."""
        self._is_paused = False
        if self._arrived:
            self._carrier.loop.call_soon(self.deliver)

    def set_protocol(self, _owner: StreamOwner, /) -> None:
        """Do nothing: what could read for the owner has nothing to read, because all is here."""

    def get_protocol(self) -> object:
        """Return the owner."""
        return self.connection

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: the connection decides how much of a stream may wait."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the upstream's windows."""
        return 0 if self.stream is None else self.stream.pending_size

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is true of the connection too, except its socket: others share it."""
        if name == "socket":
            return default
        return self._carrier.transport.get_extra_info(name, default)

    # What the connection calls

    def take_head(self, head: bytes, is_chunked: bool) -> None:
        """Take the head of a response."""
        self._is_chunked = is_chunked
        self._arrived.append(head)

    def take_data(self, data: bytes, is_last: bool) -> None:
        """Take body bytes, and their end."""
        self._arrived_size += len(data)
        if not self._is_chunked:
            self._arrived.append(data)
            return
        if data:
            self._arrived.append(encode_chunk(data))
        if is_last:
            self._arrived.append(b"0\r\n\r\n")

    def take_trailers(self, lines: bytes) -> None:
        """Take the end of a response with trailers."""
        if self._is_chunked:
            self._arrived.append(b"0\r\n" + lines + b"\r\n")

    def deliver(self) -> None:
        """Hand over what has arrived, unless the owner does not want to read."""
        if self._arrived and not self._is_paused and not self._is_closed:
            self._hand_over()

    def _hand_over(self) -> None:
        stream = self.stream
        size = self._arrived_size
        data = b"".join(self._arrived)
        self._arrived.clear()
        self._arrived_size = 0
        # The owner may begin the next request.
        self.connection.data_received(data)
        if stream is not None and size > 0:
            self._carrier.consume(stream, size)

    def lose(self, stream: Http2Stream | None, error: Exception) -> None:
        """Report that a stream is gone, behind all that has arrived of it."""
        if self._is_closed:
            return
        if self._arrived and stream is self.stream:
            self._hand_over()
        if self._is_closed or stream is not self.stream or self.connection.owner is None:
            # The response was complete.
            return
        self._release()
        self._carrier.slot_closed(self, True)
        self.connection.connection_lost(error)

    def lose_connection(self, error: Exception | None) -> None:
        """Report that the connection is gone."""
        if self._arrived and not self._is_closed:
            self._hand_over()
        if not self._is_closed:
            self._release()
            self.connection.connection_lost(error)

    def _release(self) -> None:
        self._is_closed = True
        self.stream = None
        self._body = None
        self._arrived.clear()


def _request_body(head: bytes, rules: ChunkRules) -> Body | None:
    """Return the body of a request whose framing was judged before; None if it has none."""
    match = _FRAMING.search(head)
    if match is None:
        return None
    if match[1] is not None:
        return ChunkedBody(rules, True)
    length = int(match[2] or b"0")
    return LengthBody(length) if length > 0 else None

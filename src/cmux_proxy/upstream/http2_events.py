"""What the engine of an HTTP/2 connection to an upstream calls: passes responses on to slots.

What comes in one read is handed over at its end, in one piece for each slot. Neighbours:
`http2_slot.py` is a slot, `http2_upstream.py` has the connection. Does not know frames or windows.
"""

from typing import cast

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http2.error_codes import REFUSED_STREAM
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.response_handler import ResponseHandler
from cmux_proxy.upstream.http2_slot import Http2Slot
from cmux_proxy.upstream.slot_carrier import SlotCarrier
from cmux_proxy.upstream.stream_lost import StreamLost


class Http2Events(ResponseHandler):
    """Passes what the engine of one connection sees on to its slots."""

    __slots__ = ("_carrier", "_touched")

    def __init__(self, carrier: SlotCarrier) -> None:
        self._carrier = carrier
        # The slots to which something has come and was not delivered.
        self._touched: list[Http2Slot] = []

    def deliver(self) -> None:
        """Have all slots hand over what has come."""
        while self._touched:
            touched = self._touched
            self._touched = []
            for slot in touched:
                slot.deliver()

    def lose(self, stream: Http2Stream, error: StreamLost) -> None:
        """Report to its slot that a stream is gone."""
        if stream.attachment is not None:
            slot = cast(Http2Slot, stream.attachment)
            stream.attachment = None
            slot.lose(stream, error)

    def _touch(self, stream: Http2Stream) -> Http2Slot | None:
        """Return the slot of a stream, to which something has come."""
        if stream.attachment is None:
            return None
        slot = cast(Http2Slot, stream.attachment)
        self._touched.append(slot)
        return slot

    def on_response(self, stream: Http2Stream, head: bytes, is_chunked: bool) -> None:
        """Pass a head on."""
        slot = self._touch(stream)
        if slot is not None:
            slot.take_head(head, is_chunked)

    def on_data(self, stream: Http2Stream, data: bytes, is_last: bool) -> None:
        """Pass body bytes on; those that nobody wants make room for others."""
        slot = self._touch(stream)
        if slot is None:
            self._carrier.consume(stream, len(data))
        else:
            slot.take_data(data, is_last)

    def on_trailers(self, stream: Http2Stream, lines: bytes) -> None:
        """Pass trailers on."""
        slot = self._touch(stream)
        if slot is not None:
            slot.take_trailers(lines)

    def on_request(self, stream: Http2Stream, head: bytes, is_repeated: bool) -> None:
        """An upstream opens no streams."""

    def on_bad_request(self, stream: Http2Stream, error: BadMessage) -> None:
        """An upstream opens no streams."""

    def on_refused(self, stream_id: int, code: int, rule: str) -> None:
        """An upstream opens no streams."""

    def on_reset(self, stream: Http2Stream, code: int, rule: str) -> None:
        """Report the loss."""
        self.lose(stream, StreamLost(code == REFUSED_STREAM, rule))

    def on_closed(self, stream: Http2Stream) -> None:
        """Both sides have ended; the owner of the slot releases it."""
        if stream.attachment is not None:
            slot = cast(Http2Slot, stream.attachment)
            stream.attachment = None
            if slot.stream is stream:
                slot.stream = None

    def on_blocked(self, stream: Http2Stream) -> None:
        """Stop the request."""
        if stream.attachment is not None:
            cast(Http2Slot, stream.attachment).connection.pause_writing()

    def on_unblocked(self, stream: Http2Stream) -> None:
        """Let the request go on."""
        if stream.attachment is not None:
            cast(Http2Slot, stream.attachment).connection.resume_writing()

    def on_ping_answered(self, payload: bytes) -> None:
        """No PING is sent."""

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """Open no more streams."""
        self._carrier.upstream_leaves(last_stream_id)

    def on_connection_fault(self, code: int, rule: str) -> None:
        """End all."""
        self._carrier.fail(rule)

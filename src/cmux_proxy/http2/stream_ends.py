"""The ends of streams: orderly, by a reset of the client, or by one that the client provokes.

Resets cost the proxy and its upstreams more than the client (CVE-2023-44487), those that a client
provokes too (CVE-2025-8671), so both have one budget. Does not know why a stream ends.
"""

from cmux_proxy.http2.error_codes import ENHANCE_YOUR_CALM
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.flood_budget import FloodBudget
from cmux_proxy.http2.frame_writer import reset_frame
from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.http2_stream import CLOSED, Http2Stream
from cmux_proxy.http2.outgoing_frames import OutgoingFrames
from cmux_proxy.http2.receive_windows import ReceiveWindows
from cmux_proxy.http2.stream_table import StreamTable


class StreamEnds:
    """Ends the streams of one connection; `now` is the time in seconds, as it was told last."""

    __slots__ = ("_budget", "_handler", "_outgoing", "_table", "_windows", "now")

    def __init__(
        self,
        handler: ConnectionHandler,
        table: StreamTable,
        outgoing: OutgoingFrames,
        windows: ReceiveWindows,
        budget: FloodBudget,
    ) -> None:
        self._handler = handler
        self._table = table
        self._outgoing = outgoing
        self._windows = windows
        self._budget = budget
        self.now = 0.0

    def reset(self, stream: Http2Stream, code: int) -> None:
        """Send RST_STREAM, and forget the stream; raise ConnectionFault if it is one too many."""
        has_ended = stream.has_request_ended()
        self.forget(stream)
        self.reset_unknown(stream.id, code)
        if has_ended:
            self._table.forget_reset(stream.id)

    def fault(self, stream: Http2Stream, code: int, rule: str) -> None:
        """Reset a stream on which the client breaks a rule."""
        self.reset(stream, code)
        self._handler.on_reset(stream, code, rule)

    def refuse(self, stream_id: int, code: int, rule: str) -> None:
        """Reset a stream that is not served."""
        self.reset_unknown(stream_id, code)
        self._handler.on_refused(stream_id, code, rule)

    def take_reset(self, stream: Http2Stream, code: int) -> None:
        """Forget a stream that the client has reset."""
        self.count()
        self.forget(stream)
        self._handler.on_reset(stream, code, "")

    def close_if_over(self, stream: Http2Stream) -> None:
        """Forget a stream that both sides have ended."""
        if stream.state == CLOSED and self._table.streams.get(stream.id) is stream:
            self.forget(stream)
            self._handler.on_closed(stream)

    def reset_unknown(self, stream_id: int, code: int) -> None:
        """Send RST_STREAM for a stream that is not in the table; raise ConnectionFault."""
        self.count()
        self._outgoing.add(reset_frame(stream_id, code))
        self._table.note_reset(stream_id)

    def forget(self, stream: Http2Stream) -> None:
        """Forget a stream with all that it holds, of either direction."""
        self._outgoing.drop(stream)
        if stream.held > 0:
            frame = self._windows.release(stream.held)
            stream.held = 0
            if len(frame) > 0:
                self._outgoing.add(frame)
        self._table.close(stream)

    def count(self) -> None:
        """Count a reset; raise ConnectionFault if it is one too many."""
        if not self._budget.spend(self.now):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many streams are reset")

"""Acts on the frames of a client: what each means in the state of its stream (RFC 9113 section 5).

Neighbours: `frame_reader.py` has checked the frames, `request_streams.py` takes header blocks,
`stream_table.py` has the streams, `handler.py` is what the owner is called with. Does not
know what the owner sends: `server_connection.py` does.
"""

from cmux_proxy.http2.block_reader import BlockReader
from cmux_proxy.http2.error_codes import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
)
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.flood_budget import FloodBudget
from cmux_proxy.http2.frame_handler import FrameHandler
from cmux_proxy.http2.frame_types import MAX_WINDOW
from cmux_proxy.http2.frame_writer import ping_frame, settings_ack_frame
from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.hpack_encoder import HpackEncoder
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.outgoing_frames import OutgoingFrames
from cmux_proxy.http2.peer_settings import PeerSettings
from cmux_proxy.http2.receive_windows import ReceiveWindows
from cmux_proxy.http2.stream_ends import StreamEnds
from cmux_proxy.http2.stream_table import StreamTable


class ClientFrames(FrameHandler):
    """Acts on the frames of one connection."""

    __slots__ = (
        "_blocks", "_controls", "_encoder", "_ends", "_handler", "_outgoing", "_settings",
        "_table", "_windows",
    )  # fmt: skip

    def __init__(
        self,
        blocks: BlockReader,
        settings: PeerSettings,
        controls: FloodBudget,
        handler: ConnectionHandler,
        table: StreamTable,
        windows: ReceiveWindows,
        encoder: HpackEncoder,
        outgoing: OutgoingFrames,
        ends: StreamEnds,
    ) -> None:
        self._handler = handler
        self._table = table
        self._windows = windows
        self._encoder = encoder
        self._outgoing = outgoing
        self._ends = ends
        self._settings = settings
        self._blocks = blocks
        self._controls = controls

    def on_header_block(self, stream_id: int, block: bytes, is_last: bool) -> None:
        """Take a whole header block."""
        self._blocks.take_block(stream_id, block, is_last)

    # DATA

    def on_data_frame(self, stream_id: int, data: bytes, size: int, is_last: bool) -> None:
        """Take body bytes (RFC 9113 section 8.1), or bytes of a tunnel (section 8.5)."""
        self._windows.take(size)
        if len(data) == 0 and not is_last:
            self._count_control()
        stream = self._table.streams.get(stream_id)
        if stream is None or stream.has_request_ended():
            self._take_stray_data(stream, stream_id, size, is_last)
            return
        stream.held += size
        stream.receive_window -= size
        if stream.receive_window < 0:
            self._ends.fault(stream, FLOW_CONTROL_ERROR, "DATA is larger than the stream's window")
            return
        content_size = len(data)
        if stream.content_left >= 0:
            stream.content_left -= content_size
            if stream.content_left < 0 or (is_last and stream.content_left > 0):
                self._ends.fault(
                    stream, PROTOCOL_ERROR, "the body is not as long as Content-Length"
                )
                return
        if size > content_size:
            self.consume(stream, size - content_size)
        if is_last:
            stream.end_request()
        elif content_size == 0:
            return
        self._handler.on_data(stream, data, is_last)
        if is_last:
            self._ends.close_if_over(stream)

    def _take_stray_data(
        self, stream: Http2Stream | None, stream_id: int, size: int, is_last: bool
    ) -> None:
        """Take DATA that no request wants: it still counts (RFC 9113 section 5.1)."""
        self._add(self._windows.release(size))
        if stream is not None:
            self._ends.fault(stream, STREAM_CLOSED, "DATA comes after the end of the request")
            return
        self._table.check_not_idle(stream_id, "DATA is on a stream that was not opened")
        if not self._table.is_ignored(stream_id):
            self._ends.reset_unknown(stream_id, STREAM_CLOSED)
        if is_last:
            self._table.forget_reset(stream_id)

    def consume(self, stream: Http2Stream, size: int) -> None:
        """Give back windows for bytes that no longer are held (RFC 9113 section 5.2)."""
        size = min(size, stream.held)
        stream.held -= size
        self._add(self._windows.release(size))
        self._add(self._windows.release_of_stream(stream, size))

    def _add(self, frame: bytes) -> None:
        if len(frame) > 0:
            self._outgoing.add(frame)

    # The other frames

    def on_reset_frame(self, stream_id: int, code: int) -> None:
        """Forget a stream that the client resets (RFC 9113 section 6.4)."""
        stream = self._table.streams.get(stream_id)
        if stream is None:
            self._table.check_not_idle(stream_id, "RST_STREAM is on a stream that was not opened")
            self._table.forget_reset(stream_id)
            return
        self._ends.take_reset(stream, code)

    def on_settings_frame(self, payload: bytes) -> None:
        """Obey the client's settings, and acknowledge them (RFC 9113 section 6.5.3)."""
        self._count_control()
        settings = self._settings
        window = settings.initial_window
        settings.read(payload)
        self._encoder.limit_table(settings.smallest_table)
        self._encoder.limit_table(settings.table_size)
        if settings.initial_window != window:
            for stream in self._table.streams.values():
                self._open_window(stream, settings.initial_window - window)
                if stream.send_window > MAX_WINDOW:
                    raise ConnectionFault(FLOW_CONTROL_ERROR, "a window grows too large")
        self._outgoing.add(settings_ack_frame())

    def on_ping_frame(self, payload: bytes, is_ack: bool) -> None:
        """Answer a PING (RFC 9113 section 6.7), or pass the answer to ours on."""
        if is_ack:
            self._handler.on_ping_answered(payload)
            return
        self._count_control()
        self._outgoing.add(ping_frame(payload, True))

    def on_goaway_frame(self, last_stream_id: int, code: int) -> None:
        """Pass on that the client opens no more streams (RFC 9113 section 6.8)."""
        self._handler.on_goaway(last_stream_id, code)

    def on_window_update(self, stream_id: int, increment: int) -> None:
        """Send more (RFC 9113 section 6.9.1)."""
        if stream_id == 0:
            self._outgoing.window += increment
            if self._outgoing.window > MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "a window grows too large")
            return
        stream = self._table.streams.get(stream_id)
        if stream is None:
            rule = "WINDOW_UPDATE is on a stream that was not opened"
            self._table.check_not_idle(stream_id, rule)
            return
        self._open_window(stream, increment)
        if stream.send_window > MAX_WINDOW:
            self._ends.fault(stream, FLOW_CONTROL_ERROR, "a window grows too large")

    def _open_window(self, stream: Http2Stream, increment: int) -> None:
        stream.send_window += increment
        if stream.pending_size > 0 or stream.is_blocked:
            self._outgoing.mark_ready(stream)

    def on_frame_fault(self, stream_id: int, code: int, rule: str) -> None:
        """Reset the stream of a frame that breaks a rule."""
        stream = self._table.streams.get(stream_id)
        if stream is not None:
            self._ends.fault(stream, code, rule)
        elif not self._table.is_ignored(stream_id):
            raise ConnectionFault(code, rule)

    def _count_control(self) -> None:
        if not self._controls.spend(self._ends.now):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames without a purpose")

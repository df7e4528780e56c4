"""Opens streams with requests, and ends them with trailers: what a header block means.

Neighbours: `hpack_decoder.py` decodes blocks, `request_composer.py` judges header lists,
`client_frames.py` acts on all other frames. Does not know how a block came.
"""

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http2.block_reader import BlockReader
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.error_codes import (
    ENHANCE_YOUR_CALM,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from cmux_proxy.http2.errors import StreamFault
from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.header_field import HeaderField
from cmux_proxy.http2.hpack_decoder import HpackDecoder
from cmux_proxy.http2.http2_limits import MAX_KEPT_HEAD
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.last_request import LastRequest
from cmux_proxy.http2.peer_settings import PeerSettings
from cmux_proxy.http2.request_composer import compose_trailers
from cmux_proxy.http2.stream_ends import StreamEnds
from cmux_proxy.http2.stream_table import StreamTable


class RequestStreams(BlockReader):
    """Takes the header blocks of one connection."""

    __slots__ = ("_decoder", "_ends", "_engine", "_handler", "_last", "_settings", "_table")

    def __init__(
        self,
        engine: Engine,
        handler: ConnectionHandler,
        table: StreamTable,
        ends: StreamEnds,
        settings: PeerSettings,
    ) -> None:
        self._engine = engine
        self._handler = handler
        self._table = table
        self._ends = ends
        self._settings = settings
        self._decoder = HpackDecoder(engine.limits.head, engine.fields)
        self._last: LastRequest | None = None

    def take_block(self, stream_id: int, block: bytes, is_last: bool) -> None:
        """Open a stream, or end a request with trailers.

        Every block is decoded, because each may change the table (RFC 9113 section 4.3), except one
        that has changed nothing when it came last.
        """
        changes = self._decoder.changes
        last = self._last
        stream = self._table.streams.get(stream_id)
        if stream is None and last is not None and last.is_same(block, changes, is_last):
            if self._may_open(stream_id, is_last):
                self._begin(stream_id, is_last, last)
            return
        fields = self._decoder.decode(block)
        if stream is not None:
            self._end_with_trailers(stream, fields, is_last)
        elif self._may_open(stream_id, is_last):
            is_repeatable = self._decoder.changes == changes
            self._open(stream_id, fields, is_last, block if is_repeatable else b"")

    def _may_open(self, stream_id: int, is_last: bool) -> bool:
        """Return whether a block without a stream opens one."""
        if not self._table.note_new(stream_id):
            if is_last:
                self._table.forget_reset(stream_id)
            return False
        if len(self._table.streams) >= self._engine.limits.streams:
            self._ends.refuse(stream_id, REFUSED_STREAM, "too many streams are open")
            return False
        return True

    def _open(self, stream_id: int, fields: list[HeaderField], is_last: bool, block: bytes) -> None:
        """Open a stream with a request (RFC 9113 section 8.3).

        `block` is empty if it would mean something else when it came again.
        """
        if self._decoder.is_too_large:
            error = BadMessage("the header section is too large", 431)
            self._handler.on_bad_request(self._add(stream_id, is_last), error)
            return
        composer = self._engine.composer
        try:
            head = composer.compose(fields, is_last)
        except StreamFault as fault:
            self._ends.refuse(stream_id, fault.code, fault.rule)
        except BadMessage as error:
            self._handler.on_bad_request(self._add(stream_id, is_last), error)
        else:
            stream = self._add(stream_id, is_last)
            stream.content_left = composer.content_length
            stream.is_grpc = composer.is_grpc
            stream.is_tunnel = composer.is_tunnel
            stream.protocol = composer.protocol
            if len(block) > 0 and len(head) <= MAX_KEPT_HEAD:
                self._remember(block, head, is_last)
            self._handler.on_request(stream, head, False)

    def _remember(self, block: bytes, head: bytes, is_last: bool) -> None:
        """Keep a request that was just composed, because it may come again."""
        last = self._last
        if last is None:
            last = self._last = LastRequest()
        composer = self._engine.composer
        last.begin(block, self._decoder.changes, is_last)
        last.head = head
        last.content_length = composer.content_length
        last.is_grpc = composer.is_grpc
        last.is_tunnel = composer.is_tunnel
        last.protocol = composer.protocol

    def _begin(self, stream_id: int, is_last: bool, last: LastRequest) -> None:
        """Open a stream with the last request again."""
        stream = self._add(stream_id, is_last)
        stream.content_left = last.content_length
        stream.is_grpc = last.is_grpc
        stream.is_tunnel = last.is_tunnel
        stream.protocol = last.protocol
        self._handler.on_request(stream, last.head, True)

    def _add(self, stream_id: int, is_last: bool) -> Http2Stream:
        receive_window = self._engine.limits.stream_window
        stream = Http2Stream(stream_id, receive_window, self._settings.initial_window)
        if is_last:
            stream.end_request()
        self._table.add(stream)
        return stream

    def _end_with_trailers(
        self, stream: Http2Stream, fields: list[HeaderField], is_last: bool
    ) -> None:
        """Take the trailers of a request (RFC 9113 section 8.1)."""
        if stream.has_request_ended():
            self._ends.fault(stream, STREAM_CLOSED, "HEADERS comes after the end of the request")
        elif not is_last or stream.is_tunnel:
            self._ends.fault(stream, PROTOCOL_ERROR, "HEADERS comes in the middle of a request")
        elif stream.content_left > 0:
            self._ends.fault(stream, PROTOCOL_ERROR, "the body is shorter than Content-Length")
        elif self._decoder.is_too_large:
            self._ends.fault(stream, ENHANCE_YOUR_CALM, "the trailer section is too large")
        else:
            self._pass_trailers(stream, fields)

    def _pass_trailers(self, stream: Http2Stream, fields: list[HeaderField]) -> None:
        try:
            lines = compose_trailers(fields)
        except StreamFault as fault:
            self._ends.fault(stream, fault.code, fault.rule)
            return
        stream.end_request()
        self._handler.on_trailers(stream, lines)
        self._ends.close_if_over(stream)

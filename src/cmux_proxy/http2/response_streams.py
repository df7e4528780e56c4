"""Takes the header blocks of an upstream: heads of responses, and trailers.

Neighbours: `hpack_decoder.py` decodes blocks, `response_composer.py` judges header lists,
`request_streams.py` does the same for a client's blocks. Does not know how a block came.
"""

from cmux_proxy.http2.block_reader import BlockReader
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.error_codes import ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED
from cmux_proxy.http2.errors import StreamFault
from cmux_proxy.http2.header_field import HeaderField
from cmux_proxy.http2.hpack_decoder import HpackDecoder
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.request_composer import compose_trailers
from cmux_proxy.http2.response_handler import ResponseHandler
from cmux_proxy.http2.stream_ends import StreamEnds
from cmux_proxy.http2.stream_table import StreamTable


class ResponseStreams(BlockReader):
    """Takes the header blocks of one connection."""

    __slots__ = ("_composer", "_decoder", "_ends", "_handler", "_table")

    def __init__(
        self, engine: Engine, handler: ResponseHandler, table: StreamTable, ends: StreamEnds
    ) -> None:
        self._handler = handler
        self._table = table
        self._ends = ends
        self._composer = engine.responses
        self._decoder = HpackDecoder(engine.limits.head, engine.fields)

    def take_block(self, stream_id: int, block: bytes, is_last: bool) -> None:
        """Pass a head or trailers on; blocks of streams that are over are only decoded."""
        fields = self._decoder.decode(block)
        stream = self._table.streams.get(stream_id)
        if stream is None:
            self._table.check_not_idle(stream_id, "HEADERS is on a stream that was not opened")
        elif stream.has_request_ended():
            self._ends.fault(stream, STREAM_CLOSED, "HEADERS comes after the end of the response")
        elif self._decoder.is_too_large:
            self._ends.fault(stream, ENHANCE_YOUR_CALM, "the header section is too large")
        else:
            try:
                self._take_fields(stream, fields, is_last)
            except StreamFault as fault:
                self._ends.fault(stream, fault.code, fault.rule)

    def _take_fields(self, stream: Http2Stream, fields: list[HeaderField], is_last: bool) -> None:
        if stream.is_answered:
            self._take_trailers(stream, fields, is_last)
            return
        composer = self._composer
        head = composer.compose(fields, is_last, stream.is_for_head)
        if composer.is_final:
            stream.is_answered = True
            stream.content_left = composer.content_left
        if is_last:
            stream.end_request()
        self._handler.on_response(stream, head, composer.is_chunked and composer.is_final)
        self._ends.close_if_over(stream)

    def _take_trailers(self, stream: Http2Stream, fields: list[HeaderField], is_last: bool) -> None:
        """Take the trailers of a response (RFC 9113 section 8.1)."""
        if not is_last:
            raise StreamFault(PROTOCOL_ERROR, "HEADERS comes in the middle of a response")
        if stream.content_left > 0:
            raise StreamFault(PROTOCOL_ERROR, "the body is shorter than Content-Length")
        lines = compose_trailers(fields)
        stream.end_request()
        self._handler.on_trailers(stream, lines)
        self._ends.close_if_over(stream)

"""Sends responses on one stream of an HTTP/2 client (RFC 9113 section 8.1).

The connection encodes heads that are those of HTTP/1.1 here, and drops the fields that HTTP/2 does
not have. Does not know where the bytes come from. Neighbour: `http1_response_writer.py`.
"""

from cmux_proxy.downstream.http2_link import Http2Link
from cmux_proxy.http1.head import ResponseHead
from cmux_proxy.http1.local_reply import Content, error_response
from cmux_proxy.http2.http2_limits import MAX_JOINED_BODY
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.response_writer import ResponseWriter


class Http2ResponseWriter(ResponseWriter):
    """Writes the response of one stream; `has_ended` says that its last byte was written."""

    __slots__ = ("_link", "_stream", "has_ended")

    def __init__(self, link: Http2Link, stream: Http2Stream) -> None:
        self._link = link
        self._stream = stream
        self.has_ended = False

    def inform(self, head: ResponseHead) -> None:
        """Send an interim response (RFC 9113 section 8.1)."""
        self._link.send_head(self._stream, head.stripped, False)

    def choose_coding(self, framing: int, is_coded: bool, may_persist: bool) -> None:
        """There is one coding: frames."""

    def wants_decoded_body(self) -> bool:
        """Return True: HTTP/2 has no chunked coding."""
        return True

    def start(self, head: ResponseHead, tail: bytes) -> None:
        """Send the head and the first bytes of the body."""
        self._link.send_head(self._stream, head.stripped, False)
        if tail:
            self._link.send_data(self._stream, tail, False)

    def start_with_rest(self, head: ResponseHead, is_whole: bool) -> None:
        """Send the head and the body bytes behind it; a large rest is not copied."""
        rest_size = head.rest_size()
        self.has_ended = is_whole
        link, stream = self._link, self._stream
        if is_whole and 0 < rest_size <= MAX_JOINED_BODY:
            link.send_response(stream, head.stripped, head.buffer[head.end :])
            return
        link.send_head(stream, head.stripped, is_whole and not rest_size)
        if rest_size > MAX_JOINED_BODY:
            link.send_data(stream, memoryview(head.buffer)[head.end :], is_whole)
        elif rest_size:
            link.send_data(stream, head.buffer[head.end :], is_whole)

    def write_body(self, data: bytes) -> None:
        """Send body bytes."""
        self._link.send_data(self._stream, data, False)

    def write_trailers(self, lines: bytes) -> None:
        """End the response with trailers (RFC 9113 section 8.1)."""
        self.has_ended = True
        self._link.send_trailers(self._stream, lines)

    def may_splice(self) -> bool:
        """Return False: body bytes get frames around them."""
        return False

    def finish_body(self) -> None:
        """Do nothing: `end` marks the end."""

    def open_tunnel(self, head: bytes) -> None:
        """Send the head of a response behind which the bytes of a tunnel follow."""
        self.has_ended = True
        self._link.send_head(self._stream, head, False)

    def end(self) -> None:
        """Mark the end of the response; idempotent."""
        if not self.has_ended:
            self.has_ended = True
            self._link.send_data(self._stream, b"", True)

    def send_reply(
        self, failure: Failure, content: Content, date: bytes, with_body: bool, keep: bool
    ) -> None:
        """Send the proxy's own response."""
        response = error_response(
            failure.status, content, failure.error, date, with_body, failure.fields
        )
        end = response.index(b"\r\n\r\n") + 4
        body = response[end:]
        self.has_ended = True
        self._link.send_head(self._stream, response[:end], not body)
        if body:
            self._link.send_data(self._stream, body, True)

"""Sends responses to an HTTP/1 client: their framing, and whether the connection is kept.

Sends those of upstreams and the proxy's own, and counts what the client has not read. Does not know
where the bytes come from, nor when the connection closes.
"""

from mypy_extensions import mypyc_attr

from cmux_proxy.http1.head import MAX_JOINED, ResponseHead
from cmux_proxy.http1.local_reply import Content, error_response
from cmux_proxy.http1.response_coding import KEEP, UNWRAP, WRAP, choose_coding, coding_field_lines
from cmux_proxy.http1.serialize import (
    ADD_CLOSE,
    LAST_CHUNK,
    encode_chunk,
    serialize_response,
    serialize_whole_response,
)
from cmux_proxy.net.socket_queues import count_unsent
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.response_writer import ResponseWriter


@mypyc_attr(free_list_len=1)
class Http1ResponseWriter(ResponseWriter):
    """Writes the responses of one connection; `minor` is the HTTP/1 version of the client.

    `keeps_connection` says that another exchange may follow the response.
    """

    __slots__ = ("_coding", "_unsent", "keeps_connection", "minor")

    def __init__(self) -> None:
        self.minor = 1
        # The bits of `http1/response_coding.py`.
        self._coding = 0
        self.keeps_connection = False
        # How many bytes the client had not read when they were counted last.
        self._unsent = 0

    def inform(self, head: ResponseHead) -> None:
        """Send an interim response; HTTP/1.0 does not know them (RFC 9110 section 15.2)."""
        if self.minor:
            self.stream.write(serialize_response(head, b"", False, b""))

    def choose_coding(self, framing: int, is_coded: bool, may_persist: bool) -> None:
        """Choose the framing towards the client, and whether the connection is kept."""
        self._coding = choose_coding(self.minor, framing, is_coded, may_persist)
        self.keeps_connection = self._coding & KEEP != 0

    def wants_decoded_body(self) -> bool:
        """Return whether the client's version has no chunked coding."""
        return self._coding & UNWRAP != 0

    def start(self, head: ResponseHead, tail: bytes) -> None:
        """Send the head and the first bytes of the body, in one write."""
        if tail and self._coding & WRAP:
            tail = encode_chunk(tail)
        unwrap = self._coding & UNWRAP != 0
        self.stream.write(serialize_response(head, self._added_lines(), unwrap, tail))

    def start_with_rest(self, head: ResponseHead, is_whole: bool) -> None:
        """Send the head and the body bytes behind it; a large rest is not copied."""
        added_lines = self._added_lines()
        unwrap = self._coding & UNWRAP != 0
        if head.rest_size() > MAX_JOINED:
            start = serialize_response(head, added_lines, unwrap, b"")
            self.stream.writelines([start, memoryview(head.buffer)[head.end :]])
        elif is_whole:
            self.stream.write(serialize_whole_response(head, added_lines, unwrap))
        else:
            self.stream.write(serialize_response(head, added_lines, unwrap, head.rest()))

    def _added_lines(self) -> bytes:
        if self._coding == KEEP and self.minor:
            return b""
        return coding_field_lines(self.minor, self._coding)

    def write_body(self, data: bytes) -> None:
        """Send body bytes, as a chunk where only the client gets chunks."""
        self.stream.write(encode_chunk(data) if self._coding & WRAP else data)

    def write_trailers(self, lines: bytes) -> None:
        """Do nothing: they were among the chunks, or HTTP/1.0 has none."""

    def may_splice(self) -> bool:
        """Return whether body bytes reach the client as they come."""
        return not self._coding & WRAP

    def finish_body(self) -> None:
        """Send the last chunk where only the client gets chunks."""
        if self._coding & WRAP:
            self.stream.write(LAST_CHUNK)

    def send_reply(
        self, failure: Failure, content: Content, date: bytes, with_body: bool, keep: bool
    ) -> None:
        """Send the proxy's own response; without `keep`, it announces the close."""
        fields = failure.fields if keep else failure.fields + ADD_CLOSE
        self.stream.write(
            error_response(failure.status, content, failure.error, date, with_body, fields)
        )
        self.keeps_connection = keep

    def needs_reset(self, ends_with_connection: bool) -> bool:
        """Return whether a close would look like the end of the body that is being sent.

        `ends_with_connection` says that the upstream delimits it by its close.
        """
        return self._coding & UNWRAP != 0 or (ends_with_connection and not self._coding & WRAP)

    def note_unsent(self) -> bool:
        """Count the bytes that wait for the client to read; return whether they are fewer now."""
        before = self._unsent
        self._unsent = count_unsent(self.stream)
        return self._unsent < before

"""Sends responses to an HTTP/1 client: their framing, and whether the connection is kept.

Does not know where the bytes come from, nor when the connection closes.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.http1.response_coding import KEEP, UNWRAP, WRAP, choose_coding, coding_field_lines
from cmux_proxy.http1.serialize import LAST_CHUNK, encode_chunk, serialize_response
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay.response_writer import ResponseWriter

# Up to this many bytes, one copy costs less than a write of two pieces.
_MAX_COPIED: Final = 8192


@mypyc_attr(free_list_len=1)
class Http1ResponseWriter(ResponseWriter):
    """Writes the responses of one connection; `request` is the one that is being answered."""

    __slots__ = ("_coding", "request", "stream")

    def __init__(self) -> None:
        self.stream: Stream
        self.request: RequestHead
        # The bits of `http1/response_coding.py`.
        self._coding = 0

    def inform(self, head: ResponseHead) -> None:
        """Send an interim response; HTTP/1.0 does not know them (RFC 9110 section 15.2)."""
        if self.request.minor:
            self.stream.write(serialize_response(head, b"", False, b""))

    def choose_coding(self, framing: int, is_coded: bool, may_persist: bool) -> None:
        """Choose the framing towards the client, and whether the connection is kept."""
        self._coding = choose_coding(self.request, framing, is_coded, may_persist)

    def wants_decoded_body(self) -> bool:
        """Return whether the client's version has no chunked coding."""
        return self._coding & UNWRAP != 0

    def start(self, head: ResponseHead, tail: bytes) -> None:
        """Send the head and the first bytes of the body, in one write."""
        if tail and self._coding & WRAP:
            tail = encode_chunk(tail)
        self.stream.write(self._serialize(head, tail))

    def start_with_rest(self, head: ResponseHead) -> None:
        """Send the head and the body bytes behind it; a large rest is not copied."""
        start = self._serialize(head, b"")
        arrived = len(head.buffer) - head.end
        if arrived > _MAX_COPIED:
            self.stream.writelines([start, memoryview(head.buffer)[head.end :]])
        elif arrived:
            self.stream.write(start + head.buffer[head.end :])
        else:
            self.stream.write(start)

    def _serialize(self, head: ResponseHead, tail: bytes) -> bytes:
        coding = self._coding
        added = (
            b""
            if coding == KEEP and self.request.minor
            else coding_field_lines(self.request, coding)
        )
        return serialize_response(head, added, coding & UNWRAP != 0, tail)

    def write_body(self, data: bytes) -> None:
        """Send body bytes, as a chunk where only the client gets chunks."""
        self.stream.write(encode_chunk(data) if self._coding & WRAP else data)

    def may_splice(self) -> bool:
        """Return whether body bytes reach the client as they come."""
        return not self._coding & WRAP

    def finish_body(self) -> None:
        """Send the last chunk where only the client gets chunks."""
        if self._coding & WRAP:
            self.stream.write(LAST_CHUNK)

    def keeps_connection(self) -> bool:
        """Return whether the connection may carry another exchange after this response."""
        return self._coding & KEEP != 0

    def keep_connection(self) -> None:
        """Keep the connection after a response that was not written here."""
        self._coding = KEEP

    def needs_reset(self, ends_with_connection: bool) -> bool:
        """Return whether a close would look like the end of the body that is being sent.

        `ends_with_connection` says that the upstream delimits it by its close.
        """
        return self._coding & UNWRAP != 0 or (ends_with_connection and not self._coding & WRAP)

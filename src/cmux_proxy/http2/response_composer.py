"""Composes an HTTP/1.1 head of the header list of a response (RFC 9113 section 8.3.2).

The head says `transfer-encoding: chunked` if the length of the body is not known, so that trailers
can follow. Does not know streams; `header_field.py` has judged each field alone, except `:status`,
which requests do not have.
"""

from typing import Final

from cmux_proxy.http2.error_codes import PROTOCOL_ERROR
from cmux_proxy.http2.errors import StreamFault
from cmux_proxy.http2.header_field import LENGTH, MALFORMED, PLAIN, PROTOCOL, HeaderField

_STATUS_FIELD: Final = b":status"
# RFC 9112 section 6.3: these have no body, whatever the fields say.
_WITHOUT_BODY: Final = (b"204", b"304")


class ResponseComposer:
    """Composes one head after another; one object serves all connections.

    After `compose`, `is_final` says that it is no interim response, `is_chunked` that its body is
    to get the chunked coding, and `content_left` how much of a body follows, -1 if that is not
    known.
    """

    __slots__ = ("_length", "_lines", "_status", "content_left", "is_chunked", "is_final")

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._status = b""
        self._length = -1
        self.content_left = -1
        self.is_chunked = False
        self.is_final = False

    def compose(self, fields: list[HeaderField], is_last: bool, is_for_head: bool) -> bytes:
        """Return the head; `is_last` says that no body follows, `is_for_head` that none may.

        Raises StreamFault for a malformed response (RFC 9113 section 8.1.1).
        """
        self._lines = []
        self._status = b""
        self._length = -1
        for field in fields:
            if field.kind == PLAIN:
                self._lines.append(field.line)
            else:
                self._take_special(field)
        status = self._status
        if len(status) != 3 or not status.isdigit() or status[0] < 0x31 or status == b"101":
            raise _fault("the status is missing or not a final or interim one")
        self.is_final = status[0] > 0x31
        if self.is_final:
            self._choose_framing(is_last, is_for_head)
        elif is_last:
            raise _fault("an interim response ends the stream")
        return b"HTTP/1.1 " + status + b" \r\n" + b"".join(self._lines) + b"\r\n"

    def _take_special(self, field: HeaderField) -> None:
        if field.name == _STATUS_FIELD:
            if self._status or self._lines:
                raise _fault("the status comes twice, or after other fields")
            self._status = field.value
        elif field.kind == MALFORMED:
            raise _fault(field.rule)
        elif field.kind <= PROTOCOL:
            raise _fault("a pseudo-field is not defined for responses")
        else:
            if field.kind == LENGTH:
                if self._length >= 0:
                    raise _fault("there is more than one Content-Length field")
                self._length = int(field.value)
            self._lines.append(field.line)

    def _choose_framing(self, is_last: bool, is_for_head: bool) -> None:
        has_no_body = is_for_head or self._status in _WITHOUT_BODY
        self.is_chunked = False
        self.content_left = 0 if has_no_body else self._length
        if has_no_body:
            return
        if is_last:
            if self._length > 0:
                raise _fault("the body is shorter than Content-Length")
            if self._length < 0:
                self._lines.append(b"content-length: 0\r\n")
        elif self._length < 0:
            self.is_chunked = True
            self._lines.append(b"transfer-encoding: chunked\r\n")


def _fault(rule: str) -> StreamFault:
    return StreamFault(PROTOCOL_ERROR, rule)

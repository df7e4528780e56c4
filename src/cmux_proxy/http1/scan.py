"""One pass over a whole head, from bytes to facts (RFC 9112 sections 2 to 4).

Neighbours: `fields.py` reads the header section, `grammar.py` makes the patterns, `head.py` has
the facts, `explain.py` finds the words for what is refused.
"""

from cmux_proxy.http1.explain import (
    check_request_start,
    check_response_start,
    explain_request,
    explain_response,
)
from cmux_proxy.http1.fields import FieldReader
from cmux_proxy.http1.grammar import EMPTY_LINES
from cmux_proxy.http1.head import HeadLimits, RequestHead, ResponseHead

try:
    from cmux_proxy.http1._lines import head_end, request_head, response_head
except ImportError:
    from cmux_proxy.http1.lines import head_end, request_head, response_head


class RequestScanner:
    """Scans request heads; built once, with the family of fields to report and cut.

    A field whose name begins with `prefix` and ends with `suffix`, in any case, is reported in
    `Fields.reported` and cut. Both are given in lower case.
    """

    __slots__ = ("_limits", "_reader")

    def __init__(self, limits: HeadLimits, prefix: bytes, suffix: bytes) -> None:
        self._limits = limits
        self._reader = FieldReader(limits, prefix, suffix)

    def scan(self, buffer: bytes, searched: int) -> RequestHead | None:
        """Return the head at the start of `buffer`, or None when it is not complete.

        `searched` is how much of the buffer an earlier call has seen, so that a head that comes
        in many pieces costs one pass. Raises BadMessage.
        """
        end = head_end(buffer, searched)
        if not end:
            self._limits.check_unfinished(buffer)
            check_request_start(buffer, searched)
            return None
        parts = request_head(buffer, end)
        if parts is None:
            raise explain_request(buffer)
        method, target, minor, line_end, block = parts
        self._limits.check_line(line_end)
        fields = self._reader.read(block)
        if fields is None:
            raise explain_request(buffer)
        return RequestHead(buffer, line_end, method, target, minor, fields)


class ResponseScanner:
    """Scans response heads."""

    __slots__ = ("_limits", "_reader")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._reader = FieldReader(limits, b"", b"")

    def scan(self, buffer: bytes, searched: int) -> ResponseHead | None:
        """As RequestScanner.scan, for a response."""
        end = head_end(buffer, searched)
        if not end:
            self._limits.check_unfinished(buffer)
            check_response_start(buffer, searched)
            return None
        parts = response_head(buffer, end)
        if parts is None:
            raise explain_response(buffer)
        status, minor, line_end, block = parts
        self._limits.check_line(line_end)
        fields = self._reader.read(block)
        if fields is None:
            raise explain_response(buffer)
        return ResponseHead(buffer, line_end, minor, status, fields)


def without_empty_lines(buffer: bytes) -> bytes:
    """Return what follows the empty lines that `buffer` begins with (RFC 9112 section 2.2)."""
    lines = EMPTY_LINES.match(buffer)
    return buffer if lines is None else buffer[lines.end() :]

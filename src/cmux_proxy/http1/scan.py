"""One pass over a whole head, from bytes to facts (RFC 9112 sections 2 to 4).

In a compiled build `_fast_scan.pyx` finds the facts of most heads; the way through here is the rule
for all of them, and the only one that refuses. Neighbours: `fields.py` reads the header section,
`field_lines.py` has the bytes, `head.py` the facts, `explain.py` the words for what is refused.
"""

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.explain import (
    check_method,
    check_request_start,
    check_response_start,
    explain_request,
    explain_response,
)
from cmux_proxy.http1.field_kinds import names_of_interest
from cmux_proxy.http1.field_lines import head_end, request_head, response_head
from cmux_proxy.http1.fields import OPTIONS, FieldReader
from cmux_proxy.http1.grammar import EMPTY_LINES
from cmux_proxy.http1.head import Fields, HeadLimits, RequestHead, ResponseHead
from cmux_proxy.http1.normalize import normalize, response_end
from cmux_proxy.http1.reserved_fields import NO_FAMILY, ReservedFields

try:
    from cmux_proxy.http1._fast_scan import FastScan
except ImportError:
    HAS_FAST_SCAN = False
else:
    HAS_FAST_SCAN = True


class Scanner:
    """What both kinds of heads are scanned with."""

    __slots__ = ("_limits", "_reader", "_fast_scan")

    def __init__(self, limits: HeadLimits, family: ReservedFields) -> None:
        self._limits = limits
        self._reader = FieldReader(limits, family)
        self._fast_scan: FastScan | None = None
        if HAS_FAST_SCAN:
            numbers = (limits.start_line, limits.section, limits.fields)
            names = names_of_interest(family)
            self._fast_scan = FastScan(names, OPTIONS, numbers, family.prefix, family.suffix)


class RequestScanner(Scanner):
    """Scans request heads; built once, with the family of fields to report and cut."""

    __slots__ = ()

    def scan(self, buffer: bytes, searched: int) -> RequestHead | None:
        """Return the head at the start of `buffer`, or None when it is not complete.

        `searched` is how much of the buffer an earlier call has seen, so that a head that comes
        in many pieces costs one pass. Raises BadMessage.
        """
        if self._fast_scan is not None and not searched:
            facts = self._fast_scan.request(buffer)
            if facts is not None:
                (method, target, minor, line_end, end, plain,
                 connection, length, coding, upgrade, host, expect, reported) = facts  # fmt: skip
                fields = Fields(connection, length, coding, upgrade, host, expect, reported)
                return RequestHead(
                    self._reader, buffer, line_end, end, method, target, minor, plain, fields
                )
        return self.scan_any(buffer, searched)

    def scan_any(self, buffer: bytes, searched: int) -> RequestHead | None:
        """As scan, without the shortcut."""
        end = head_end(buffer, searched)
        if not end:
            check_method(buffer, self._limits.start_line)
            self._limits.check_unfinished(buffer)
            check_request_start(buffer, searched)
            return None
        parts = request_head(buffer, end)
        if parts is None:
            raise explain_request(buffer)
        method, target, minor, line_end, block = parts
        check_method(buffer, self._limits.start_line)
        self._limits.check_line(line_end)
        section = self._reader.read(block)
        if section is None:
            raise explain_request(buffer)
        plain = buffer[:line_end] + section.kept
        return RequestHead(
            self._reader, buffer, line_end, end, method, target, minor, plain, section.fields
        )


class ResponseScanner(Scanner):
    """Scans response heads."""

    __slots__ = ()

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits, NO_FAMILY)

    def scan(self, buffer: bytes, searched: int) -> ResponseHead | None:
        """As RequestScanner.scan, for a response.

        The buffer of the head that is returned differs from `buffer` where the head had to be
        normalized; what follows the head is the same in both.
        """
        if self._fast_scan is not None and not searched:
            facts = self._fast_scan.response(buffer)
            if facts is not None:
                status, minor, line_end, end, plain, connection, length, coding, upgrade = facts
                if _is_consistent(status, minor, length, coding):
                    fields = Fields(connection, length, coding, upgrade)
                    return ResponseHead(
                        self._reader, buffer, line_end, end, status, minor, plain, fields
                    )
                return self._normalized(buffer, end)
        return self.scan_any(buffer, searched)

    def scan_any(self, buffer: bytes, searched: int) -> ResponseHead | None:
        """As scan, without the shortcut."""
        end = response_end(buffer, searched)
        if not end:
            self._limits.check_unfinished(buffer)
            check_response_start(buffer, searched)
            return None
        try:
            head = self._strict(buffer, end)
        except BadMessage:
            return self._normalized(buffer, end)
        if head is None:
            return self._normalized(buffer, end)
        fields = head.fields
        if _is_consistent(head.status, head.minor, fields.content_length, fields.transfer_encoding):
            return head
        return self._normalized(buffer, end)

    def _strict(self, buffer: bytes, end: int) -> ResponseHead | None:
        """Return the head that ends at `end`, or None where a line of it is malformed."""
        parts = response_head(buffer, end)
        if parts is None:
            return None
        status, minor, line_end, block = parts
        self._limits.check_line(line_end)
        section = self._reader.read(block)
        if section is None:
            return None
        plain = buffer[:line_end] + section.kept
        return ResponseHead(
            self._reader, buffer, line_end, end, status, minor, plain, section.fields
        )

    def _normalized(self, buffer: bytes, end: int) -> ResponseHead:
        came = buffer[:end]
        # What is left out of it counts too, as it does in a head that arrives in pieces.
        self._limits.check_unfinished(came)
        clean = normalize(came)
        head = self._strict(clean + buffer[end:], len(clean))
        if head is None:
            raise explain_response(clean)
        return head


def _is_consistent(status: int, minor: int, length: int | None, coding: bytes | None) -> bool:
    """Return whether the framing fields of a response may stand in it, and together.

    RFC 9110 section 8.6, RFC 9112 sections 6.1 and 6.3. A 101 leaves `normalize` as it came, and is
    judged where it is granted.
    """
    if coding is not None and (length is not None or minor == 0):
        return False
    may_have_content = status >= 200 and status != 204
    return may_have_content or (coding is None and length is None)


def without_empty_lines(buffer: bytes) -> bytes:
    """Return what follows the empty lines that `buffer` begins with (RFC 9112 section 2.2)."""
    lines = EMPTY_LINES.match(buffer)
    return buffer if lines is None else buffer[lines.end() :]

"""Reads a whole head in one pass, from bytes to facts (RFC 9112 sections 2 to 4).

In a compiled build `_fast_scan.pyx` finds the facts of most heads. The code here defines the result
for every head, and only it refuses heads. Neighbours: `fields.py` reads the header section,
`field_lines.py` splits the bytes, `head.py` has the facts, `explain.py` the reasons for refusals.
"""

from collections.abc import Callable

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.explain import (
    check_method,
    check_request_start,
    check_response_start,
    explain_request,
    explain_response,
)
from cmux_proxy.http1.field_kinds import request_field_kinds, response_field_kinds
from cmux_proxy.http1.field_lines import find_head_end, split_request_head, split_response_head
from cmux_proxy.http1.fields import FieldReader
from cmux_proxy.http1.grammar import EMPTY_LINES
from cmux_proxy.http1.head import RequestHead, ResponseHead, joins_rest
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.hop_by_hop import CONNECTION_OPTIONS
from cmux_proxy.http1.new_head import new_request_head, new_response_head
from cmux_proxy.http1.normalize import find_response_end, normalize
from cmux_proxy.http1.reserved_fields import NO_RESERVED_FIELDS, ReservedFields

try:
    from cmux_proxy.http1._fast_scan import FastScan
except ImportError:
    HAS_FAST_SCAN = False
else:
    HAS_FAST_SCAN = True


class Scanner:
    """What the scanners of requests and of responses share.

    `kinds` are the fields that matter, by name, `new_head` makes a head from the facts of the fast
    scan. `fast_scan` is None in a pure build.
    """

    __slots__ = ("_limits", "_reader", "fast_scan")

    def __init__(
        self,
        limits: HeadLimits,
        kinds: dict[bytes, int],
        reserved: ReservedFields,
        new_head: Callable[..., RequestHead | ResponseHead],
    ) -> None:
        self._limits = limits
        self._reader = FieldReader(limits, kinds, reserved)
        self.fast_scan: FastScan | None = None
        if HAS_FAST_SCAN:
            numbers = (limits.start_line, limits.section, limits.fields)
            self.fast_scan = FastScan(
                kinds, CONNECTION_OPTIONS, numbers, reserved.prefix, reserved.suffix,
                self._reader, new_head,
            )  # fmt: skip


class RequestScanner(Scanner):
    """Scans request heads; `reserved` are the fields to cut and to list."""

    __slots__ = ("_scan_fast",)

    def __init__(self, limits: HeadLimits, reserved: ReservedFields) -> None:
        super().__init__(limits, request_field_kinds(reserved), reserved, new_request_head)
        # A call of a bound method costs less than the method's look-up.
        self._scan_fast: Callable[[bytes], RequestHead | None] | None = None
        if self.fast_scan is not None:
            self._scan_fast = self.fast_scan.request

    def scan(self, buffer: bytes, searched: int) -> RequestHead | None:
        """Return the head at the start of `buffer`, or None if it is not complete.

        `searched` is how many bytes of the buffer an earlier call has searched, so that a head that
        arrives in many reads costs one pass. Raises BadMessage.
        """
        if self._scan_fast is not None and not searched:
            head = self._scan_fast(buffer)
            if head is not None:
                return head
        return self.scan_fully(buffer, searched)

    def scan_fully(self, buffer: bytes, searched: int) -> RequestHead | None:
        """Do the same as `scan` without the fast scan."""
        end = find_head_end(buffer, searched)
        if not end:
            check_method(buffer, self._limits.start_line)
            self._limits.check_unfinished(buffer)
            check_request_start(buffer, searched)
            return None
        split = split_request_head(buffer, end)
        if split is None:
            raise explain_request(buffer)
        method, minor, line_end, block = split
        check_method(buffer, self._limits.start_line)
        self._limits.check_start_line(line_end)
        section = self._reader.read(block)
        if section is None:
            raise explain_request(buffer)
        stripped = buffer[:line_end] + section.stripped
        fields = section.fields
        return RequestHead(
            self._reader, buffer, end, method, minor, stripped, fields.connection,
            fields.content_length, fields.transfer_encoding, fields.upgrade, fields.host,
            fields.expect, fields.reserved,
        )  # fmt: skip


class ResponseScanner(Scanner):
    """Scans response heads."""

    __slots__ = ("_scan_fast",)

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits, response_field_kinds(), NO_RESERVED_FIELDS, new_response_head)
        self._scan_fast: Callable[[bytes], ResponseHead | None] | None = None
        if self.fast_scan is not None:
            self._scan_fast = self.fast_scan.response

    def scan(self, buffer: bytes, searched: int) -> ResponseHead | None:
        """Return the head at the start of `buffer`, as RequestScanner.scan does.

        The buffer of the returned head differs from `buffer` if the head was normalized; the bytes
        after the head are the same in both.
        """
        if self._scan_fast is not None and not searched:
            head = self._scan_fast(buffer)
            if head is not None:
                return head
        return self.scan_fully(buffer, searched)

    def scan_fully(self, buffer: bytes, searched: int) -> ResponseHead | None:
        """Do the same as `scan` without the fast scan."""
        end = find_response_end(buffer, searched)
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
        if _is_consistent(head.status, head.minor, head.content_length, head.transfer_encoding):
            return head
        return self._normalized(buffer, end)

    def _strict(self, buffer: bytes, end: int) -> ResponseHead | None:
        """Return the head that ends at `end`, or None if one of its lines is malformed."""
        split = split_response_head(buffer, end)
        if split is None:
            return None
        status, minor, line_end, block = split
        self._limits.check_start_line(line_end)
        section = self._reader.read(block)
        if section is None:
            return None
        spliced = buffer[:line_end] + section.stripped
        fields = section.fields
        if joins_rest(fields.content_length, len(buffer) - end):
            spliced += buffer[end:]
        return ResponseHead(
            self._reader, buffer, end, status, minor, spliced, fields.connection,
            fields.content_length, fields.transfer_encoding, fields.upgrade,
        )  # fmt: skip

    def _normalized(self, buffer: bytes, end: int) -> ResponseHead:
        original = buffer[:end]
        # The limits hold for the bytes as they came, as they do for a head in several reads.
        self._limits.check_unfinished(original)
        normalized = normalize(original)
        head = self._strict(normalized + buffer[end:], len(normalized))
        if head is None:
            raise explain_response(normalized)
        return head


def _is_consistent(status: int, minor: int, length: int | None, coding: bytes | None) -> bool:
    """Return whether a response may have its framing fields, alone and together.

    RFC 9110 section 8.6, RFC 9112 sections 6.1 and 6.3. `normalize` does not change the framing of
    a 101 response; `response_framing` refuses it.
    """
    if coding is not None and (length is not None or minor == 0):
        return False
    may_have_content = status >= 200 and status != 204
    return may_have_content or (coding is None and length is None)


def skip_empty_lines(buffer: bytes) -> bytes:
    """Return the buffer without the empty lines at its start (RFC 9112 section 2.2)."""
    lines = EMPTY_LINES.match(buffer)
    return buffer if lines is None else buffer[lines.end() :]

"""One pass over a whole head, from bytes to facts (RFC 9112 sections 2 to 5).

A pattern eats the lines that no rule is interested in and stops at one that is, so that the work
in Python grows with the interesting fields only, and every byte is validated on the way. Knows
which fields are hop-by-hop, and nothing of what a request is for. Neighbours: `grammar.py` makes
the patterns, `head.py` has the facts, `explain.py` finds the words for what is refused.
"""

import re
from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.explain import (
    check_request_start,
    check_response_start,
    explain_request,
    explain_response,
)
from cmux_proxy.http1.grammar import (
    BLANK_LINE,
    EMPTY_LINES,
    NAMED_FIELD_LINE,
    REQUEST_LINE,
    STATUS_LINE,
    TOKEN_ONLY,
    field_run,
)
from cmux_proxy.http1.head import (
    CLOSE,
    KEEP_ALIVE,
    UPGRADE,
    Head,
    HeadLimits,
    RequestHead,
    ResponseHead,
)

_HOST: Final = 1
_EXPECT: Final = 2
_CONNECTION: Final = 3
_CONTENT_LENGTH: Final = 4
_TRANSFER_ENCODING: Final = 5
_UPGRADE: Final = 6
_HOP_BY_HOP: Final = 7

_RESPONSE_KINDS: Final[dict[bytes, int]] = {
    b"connection": _CONNECTION,
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"upgrade": _UPGRADE,
    b"keep-alive": _HOP_BY_HOP,
    b"proxy-connection": _HOP_BY_HOP,
    b"te": _HOP_BY_HOP,
    b"proxy-authenticate": _HOP_BY_HOP,
    b"proxy-authorization": _HOP_BY_HOP,
}
_REQUEST_KINDS: Final[dict[bytes, int]] = {b"host": _HOST, b"expect": _EXPECT, **_RESPONSE_KINDS}

_OPTIONS: Final[dict[bytes, int]] = {
    b"close": CLOSE,
    b"keep-alive": KEEP_ALIVE,
    b"Keep-Alive": KEEP_ALIVE,
    b"upgrade": UPGRADE,
    b"Upgrade": UPGRADE,
}
# Fields that say what a message is or where it goes: no peer may have them removed on the way.
_NEVER_NOMINATED: Final = frozenset([b"content-length", b"transfer-encoding", b"host"])


class RequestScanner:
    """Scans request heads; built once, with the family of fields to report and cut.

    A field whose name begins with `prefix` and ends with `suffix`, in any case, is reported in
    `RequestHead.reported` and cut. Both are given in lower case.
    """

    __slots__ = ("_first", "_limits", "_next", "_prefix", "_suffix")

    def __init__(self, limits: HeadLimits, prefix: bytes, suffix: bytes) -> None:
        run = field_run(_REQUEST_KINDS, [prefix])
        self._first = re.compile(REQUEST_LINE + run)
        self._next = re.compile(run)
        self._limits = limits
        self._prefix = prefix
        self._suffix = suffix

    def scan(self, buffer: bytes, searched: int) -> RequestHead | None:
        """Return the head at the start of `buffer`, or None when it is not complete.

        `searched` is how much of the buffer an earlier call has seen, so that a head that comes
        in many pieces costs one pass. Raises BadMessage.
        """
        if not searched or buffer.find(BLANK_LINE, max(0, searched - 3)) >= 0:
            head = self._whole_head(buffer)
            if head is not None:
                self._limits.check(head)
                if head.nominated is not None:
                    _cut_nominated(head, head.nominated, self._prefix)
                return head
            if buffer.find(BLANK_LINE) >= 0:
                raise explain_request(buffer)
        self._limits.check_unfinished(buffer)
        check_request_start(buffer, searched)
        return None

    def _whole_head(self, buffer: bytes) -> RequestHead | None:
        match = self._first.match(buffer)
        if match is None:
            return None
        method, target, minor, name, value = match.groups()
        head = RequestHead(buffer, 1 if minor == b"1" else 0, match.end(3) + 2, method, target)
        start = match.start(4)
        end = match.end()
        follow = self._next.match
        while name is not None:
            name = name.lower()
            value = value.rstrip(b" \t")
            kind = _REQUEST_KINDS.get(name, 0)
            if kind == _HOST:
                # RFC 9112 section 3.2: exactly one.
                if head.host is not None:
                    raise BadMessage("there is more than one Host field")
                head.host = value
                head.host_start = start
                head.host_end = end
            elif kind == _EXPECT:
                head.expect = value if head.expect is None else head.expect + b", " + value
            elif kind:
                _note(head, kind, value, start, end)
            elif name.endswith(self._suffix):
                head.reported.append((name, value))
                head.cuts += (start, end)
            match = follow(buffer, end)
            if match is None:
                return None
            start = match.start(1)
            end = match.end()
            name, value = match.groups()
        head.end = end
        return head


class ResponseScanner:
    """Scans response heads."""

    __slots__ = ("_first", "_limits", "_next")

    def __init__(self, limits: HeadLimits) -> None:
        run = field_run(_RESPONSE_KINDS)
        self._first = re.compile(STATUS_LINE + run)
        self._next = re.compile(run)
        self._limits = limits

    def scan(self, buffer: bytes, searched: int) -> ResponseHead | None:
        """As RequestScanner.scan, for a response."""
        if not searched or buffer.find(BLANK_LINE, max(0, searched - 3)) >= 0:
            head = self._whole_head(buffer)
            if head is not None:
                self._limits.check(head)
                if head.nominated is not None:
                    _cut_nominated(head, head.nominated, b"")
                return head
            if buffer.find(BLANK_LINE) >= 0:
                raise explain_response(buffer)
        self._limits.check_unfinished(buffer)
        check_response_start(buffer, searched)
        return None

    def _whole_head(self, buffer: bytes) -> ResponseHead | None:
        match = self._first.match(buffer)
        if match is None:
            return None
        minor, status, name, value = match.groups()
        line_end = buffer.find(b"\n", match.end(2)) + 1
        head = ResponseHead(buffer, 1 if minor == b"1" else 0, line_end, int(status))
        start = match.start(3)
        end = match.end()
        follow = self._next.match
        while name is not None:
            _note(head, _RESPONSE_KINDS[name.lower()], value.rstrip(b" \t"), start, end)
            match = follow(buffer, end)
            if match is None:
                return None
            start = match.start(1)
            end = match.end()
            name, value = match.groups()
        head.end = end
        return head


def _note(head: Head, kind: int, value: bytes, start: int, end: int) -> None:
    if kind == _CONTENT_LENGTH:
        # RFC 9112 section 6.3 would let equal values pass as one; stricter: one line or none.
        if head.content_length is not None:
            raise BadMessage("there is more than one Content-Length field")
        head.content_length = value
        return
    if kind == _TRANSFER_ENCODING:
        # RFC 9110 section 5.2: several lines are one list, which is never just "chunked".
        coding = head.transfer_encoding
        head.transfer_encoding = value if coding is None else coding + b", " + value
        head.coding_start = start
        head.coding_end = end
        return
    head.cuts += (start, end)
    if kind == _HOP_BY_HOP:
        return
    if head.handshake is None:
        head.handshake = []
    head.handshake.append(start)
    if kind == _UPGRADE:
        head.upgrade = value if head.upgrade is None else head.upgrade + b", " + value
        return
    option = _OPTIONS.get(value, 0)
    if option:
        head.connection |= option
    else:
        _note_options(head, value)


def _note_options(head: Head, value: bytes) -> None:
    """Read a Connection value as a list (RFC 9110 section 7.6.1)."""
    for item in value.split(b","):
        option = item.strip(b" \t").lower()
        if not option:
            continue
        if TOKEN_ONLY.fullmatch(option) is None:
            raise BadMessage("Connection is not a list of tokens")
        bit = _OPTIONS.get(option, 0)
        head.connection |= bit
        if not bit:
            if head.nominated is None:
                head.nominated = []
            head.nominated.append(option)


def _cut_nominated(head: Head, names: list[bytes], family: bytes) -> None:
    """Add the fields that Connection nominates to the cuts; refuse those it may not name."""
    wanted = frozenset(names)
    for name in wanted:
        if name in _NEVER_NOMINATED or (family and name.startswith(family)):
            raise BadMessage(f"Connection may not name {name.decode('ascii')}")
    spans = set(zip(head.cuts[::2], head.cuts[1::2], strict=True))
    for match in NAMED_FIELD_LINE.finditer(head.buffer, head.line_end, head.end):
        if match.group(1).lower() in wanted:
            spans.add(match.span())
    head.cuts = [offset for span in sorted(spans) for offset in span]


def without_empty_lines(buffer: bytes) -> bytes:
    """Return what follows the empty lines that `buffer` begins with."""
    lines = EMPTY_LINES.match(buffer)
    return buffer if lines is None else buffer[lines.end() :]

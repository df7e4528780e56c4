"""The facts of one head, as offsets into the bytes it came as, and what a head may measure.

Nothing here reads a head (`scan.py` does) or judges it (`framing.py`, `persistence.py`,
`switching.py`); this is the vocabulary that they share.
"""

from typing import Final

from cmux_proxy.http1.errors import BadMessage

# What the Connection fields ask for, as bits (RFC 9110 section 7.6.1).
CLOSE: Final = 1
KEEP_ALIVE: Final = 2
UPGRADE: Final = 4


class Head:
    """What both kinds of head have in common. Offsets count from the start of `buffer`.

    `line_end` and `end` are where the start line and the head end, `minor` is the x of HTTP/1.x.
    `cuts` are the spans that must not travel on, as start, end, start, end, in order; the starts
    of those that an upgrade keeps (Connection and Upgrade lines) are in `handshake`.
    """

    __slots__ = (
        "buffer",
        "coding_end",
        "coding_start",
        "connection",
        "content_length",
        "cuts",
        "end",
        "handshake",
        "line_end",
        "minor",
        "nominated",
        "transfer_encoding",
        "upgrade",
    )

    def __init__(self, buffer: bytes, minor: int, line_end: int) -> None:
        self.buffer = buffer
        self.minor = minor
        self.line_end = line_end
        self.end = 0
        self.cuts: list[int] = []
        self.connection = 0
        self.content_length: bytes | None = None
        self.transfer_encoding: bytes | None = None
        self.coding_start = 0
        self.coding_end = 0
        self.upgrade: bytes | None = None
        self.handshake: list[int] | None = None
        self.nominated: list[bytes] | None = None


class RequestHead(Head):
    """The facts of one request head; `reported` holds (lower-case name, value) in order."""

    __slots__ = ("expect", "host", "host_end", "host_start", "method", "reported", "target")

    def __init__(
        self, buffer: bytes, minor: int, line_end: int, method: bytes, target: bytes
    ) -> None:
        super().__init__(buffer, minor, line_end)
        self.method = method
        self.target = target
        self.host: bytes | None = None
        self.host_start = 0
        self.host_end = 0
        self.expect: bytes | None = None
        self.reported: list[tuple[bytes, bytes]] = []


class ResponseHead(Head):
    """The facts of one response head."""

    __slots__ = ("status",)

    def __init__(self, buffer: bytes, minor: int, line_end: int, status: int) -> None:
        super().__init__(buffer, minor, line_end)
        self.status = status


class HeadLimits:
    """What a head may measure: bytes of start line, bytes and lines of the header section."""

    __slots__ = ("fields", "section", "start_line")

    def __init__(self, start_line: int, section: int, fields: int) -> None:
        self.start_line = start_line
        self.section = section
        self.fields = fields

    def check_unfinished(self, buffer: bytes) -> None:
        """Raise BadMessage when a head that has not ended is past a limit already."""
        line_end = buffer.find(b"\n") + 1
        if (line_end or len(buffer)) > self.start_line:
            raise BadMessage("the start line is too long", 414)
        if line_end and len(buffer) - line_end > self.section:
            raise BadMessage("the header section is too large", 431)

    def check(self, head: Head) -> None:
        """Raise BadMessage when a complete head is past a limit."""
        if head.line_end > self.start_line:
            raise BadMessage("the start line is too long", 414)
        section = head.end - head.line_end
        if section > self.section:
            raise BadMessage("the header section is too large", 431)
        # The shortest field line has four bytes, so most heads need no counting.
        if section > self.fields * 4:
            lines = head.buffer.count(b"\n", head.line_end, head.end) - 1
            if lines > self.fields:
                raise BadMessage("there are too many header fields", 431)

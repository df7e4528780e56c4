"""The facts of one head, and what a head may measure.

Nothing here reads a head (`scan.py` does) or judges it (`framing.py`, `persistence.py`,
`switching.py`); this is the vocabulary that they share.
"""

from typing import Final

from cmux_proxy.http1.errors import BadMessage

# What the Connection fields ask for, as bits (RFC 9110 section 7.6.1).
CLOSE: Final = 1
KEEP_ALIVE: Final = 2
UPGRADE: Final = 4


class Fields:
    """The facts of one header section; never changed once it has been read.

    `block` is the section, blank line included, and `kept` what of it may travel on. `cuts` are
    the spans that may not, as (start, end) offsets into the block, in order; `handshake` are those
    of them that an upgrade keeps. `connection` has the bits above, `nominated` the other options.
    `reported` holds the fields of the reported family as (lower-case name, value), in order.
    Values are without surrounding white space; of several lines, joined with a comma.
    """

    __slots__ = (
        "block",
        "coding_span",
        "connection",
        "content_length",
        "cuts",
        "expect",
        "handshake",
        "host",
        "host_span",
        "kept",
        "nominated",
        "reported",
        "transfer_encoding",
        "upgrade",
    )

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.kept = block
        self.cuts: tuple[tuple[int, int], ...] = ()
        self.handshake: tuple[tuple[int, int], ...] = ()
        self.connection = 0
        self.nominated: tuple[bytes, ...] = ()
        self.content_length: int | None = None
        self.transfer_encoding: bytes | None = None
        self.coding_span = (0, 0)
        self.upgrade: bytes | None = None
        self.host: bytes | None = None
        self.host_span = (0, 0)
        self.expect: bytes | None = None
        self.reported: tuple[tuple[bytes, bytes], ...] = ()


class RequestHead:
    """The facts of one request head: offsets into `buffer`, HTTP/1.`minor`, and the fields."""

    __slots__ = ("buffer", "end", "fields", "line_end", "method", "minor", "target")

    def __init__(
        self, buffer: bytes, line_end: int, method: bytes, target: bytes, minor: int, fields: Fields
    ) -> None:
        self.buffer = buffer
        self.line_end = line_end
        self.end = line_end + len(fields.block)
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields


class ResponseHead:
    """The facts of one response head: offsets into `buffer`, HTTP/1.`minor`, and the fields."""

    __slots__ = ("buffer", "end", "fields", "line_end", "minor", "status")

    def __init__(
        self, buffer: bytes, line_end: int, minor: int, status: int, fields: Fields
    ) -> None:
        self.buffer = buffer
        self.line_end = line_end
        self.end = line_end + len(fields.block)
        self.minor = minor
        self.status = status
        self.fields = fields


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
        self.check_line(line_end or len(buffer))
        if line_end and len(buffer) - line_end > self.section:
            raise BadMessage("the header section is too large", 431)

    def check_line(self, size: int) -> None:
        """Raise BadMessage when a start line of that size is too long."""
        if size > self.start_line:
            raise BadMessage("the start line is too long", 414)

    def check_section(self, block: bytes) -> None:
        """Raise BadMessage when a header section is too large or has too many lines."""
        size = len(block)
        if size > self.section:
            raise BadMessage("the header section is too large", 431)
        # The shortest field line has four bytes, so most sections need no counting.
        if size > self.fields * 4 and block.count(b"\n") - 1 > self.fields:
            raise BadMessage("there are too many header fields", 431)

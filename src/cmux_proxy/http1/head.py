"""The facts of one head, and what a head may measure.

Nothing here reads a head (`scan.py` does) or judges it (`framing.py`, `keep_alive.py`,
`upgrade.py`); this is the vocabulary that they share.
"""

from typing import Final

from cmux_proxy.http1.errors import BadMessage

# What the Connection fields ask for, as bits (RFC 9110 section 7.6.1).
CLOSE: Final = 1
KEEP_ALIVE: Final = 2
UPGRADE: Final = 4


Span = tuple[int, int]


class Fields:
    """What the fields of one header section say; never changed once it has been read.

    `connection` has the bits above. `reported` holds the fields of the reported family as
    (lower-case name, value), in order. Values are without surrounding white space, but for what no
    Transfer-Encoding may have; of several lines, joined with a comma. `expect` names an expectation
    once, however often it comes, and is None where no member is there; `upgrade` is without h2c
    where HTTP2-Settings has come with it.
    """

    __slots__ = (
        "connection",
        "content_length",
        "expect",
        "host",
        "reported",
        "transfer_encoding",
        "upgrade",
    )

    def __init__(
        self,
        connection: int = 0,
        content_length: int | None = None,
        transfer_encoding: bytes | None = None,
        upgrade: bytes | None = None,
        host: bytes | None = None,
        expect: bytes | None = None,
        reported: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.connection = connection
        self.content_length = content_length
        self.transfer_encoding = transfer_encoding
        self.upgrade = upgrade
        self.host = host
        self.expect = expect
        self.reported = reported


class Spans:
    """Where the lines of one header section stand, as (start, end) offsets into it.

    `cuts` may not travel on, in order; `handshake` are those of them that an upgrade keeps, none if
    `Upgrade` has to be written anew; `host` and `coding` are the lines of Host and
    Transfer-Encoding, `settings` those of HTTP2-Settings. `nominated` are the names that Connection
    has had cut. `takes_trailers` says that a request's TE has the member `trailers`.
    """

    __slots__ = (
        "coding",
        "cuts",
        "handshake",
        "host",
        "nominated",
        "settings",
        "takes_trailers",
    )

    def __init__(self) -> None:
        self.cuts: tuple[Span, ...] = ()
        self.handshake: tuple[Span, ...] = ()
        self.host: Span = (0, 0)
        self.coding: Span = (0, 0)
        self.nominated: tuple[bytes, ...] = ()
        self.settings: tuple[Span, ...] = ()
        self.takes_trailers = False


class SpanFinder:
    """Whoever can tell the spans of a section that it has read before."""

    __slots__ = ()

    def spans(self, section: bytes) -> Spans:
        """Return them."""
        raise NotImplementedError


class Head:
    """What both kinds of heads have: `buffer` begins with the head, which ends at `end`.

    The start line ends at `line_end`, and says HTTP/1.`minor`; `plain` is the head without its
    cuts, and with a TE that is renewed. Few heads are asked for their spans, so these are found
    when they are.
    """

    __slots__ = ("_finder", "buffer", "end", "fields", "line_end", "minor", "plain")

    # Set by the two kinds themselves: a call of a common constructor is dear in Python.
    _finder: SpanFinder
    buffer: bytes
    line_end: int
    end: int
    minor: int
    plain: bytes
    fields: Fields

    def section(self) -> bytes:
        """Return the header section, blank line included."""
        return self.buffer[self.line_end : self.end]

    def spans(self) -> Spans:
        """Return where the lines of interest stand in the section."""
        return self._finder.spans(self.section())


class RequestHead(Head):
    """The facts of one request head."""

    __slots__ = ("method", "target")

    def __init__(
        self,
        finder: SpanFinder,
        buffer: bytes,
        line_end: int,
        end: int,
        method: bytes,
        target: bytes,
        minor: int,
        plain: bytes,
        fields: Fields,
    ) -> None:
        self._finder = finder
        self.buffer = buffer
        self.line_end = line_end
        self.end = end
        self.method = method
        self.target = target
        self.minor = minor
        self.plain = plain
        self.fields = fields


class ResponseHead(Head):
    """The facts of one response head."""

    __slots__ = ("status",)

    def __init__(
        self,
        finder: SpanFinder,
        buffer: bytes,
        line_end: int,
        end: int,
        status: int,
        minor: int,
        plain: bytes,
        fields: Fields,
    ) -> None:
        self._finder = finder
        self.buffer = buffer
        self.line_end = line_end
        self.end = end
        self.status = status
        self.minor = minor
        self.plain = plain
        self.fields = fields


class HeadLimits:
    """What a head may measure: bytes of start line, bytes and lines of the header section."""

    __slots__ = ("fields", "section", "start_line")

    def __init__(self, start_line: int, section: int, fields: int) -> None:
        self.start_line = start_line
        self.section = section
        self.fields = fields

    def check_unfinished(self, buffer: bytes) -> None:
        """Raise BadMessage when a head, which may not have ended, is past a limit already."""
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

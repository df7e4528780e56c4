"""The facts of one head.

Does not read a head (`scan.py` does) nor judge it (`framing.py`, `keep_alive.py` and `upgrade.py`
do); these are the classes that they share.
"""

from typing import Final

from mypy_extensions import mypyc_attr

# The options of the Connection fields, as bits (RFC 9110 section 7.6.1).
CLOSE: Final = 1
KEEP_ALIVE: Final = 2
UPGRADE: Final = 4

# Up to this many bytes, one copy costs less than a write of two pieces.
MAX_JOINED: Final = 8192

# Where a line starts and where it ends, as offsets into its header section.
Span = tuple[int, int]


class Fields:
    """What the fields of one header section say; not changed after it has been read.

    `connection` has the bits above. `reserved` holds the proxy's own fields as (lower-case name,
    value), in order. Values have no surrounding white space, except for white space that is not
    allowed in Transfer-Encoding. The values of several lines are joined with a comma. `expect`
    names each expectation once, and is None if Expect has no member. `upgrade` is without h2c if
    HTTP2-Settings came with it.
    """

    __slots__ = (
        "connection",
        "content_length",
        "expect",
        "host",
        "reserved",
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
        reserved: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.connection = connection
        self.content_length = content_length
        self.transfer_encoding = transfer_encoding
        self.upgrade = upgrade
        self.host = host
        self.expect = expect
        self.reserved = reserved


class Spans:
    """Where the lines of interest of one header section are.

    `cuts` are the lines that may not be forwarded, in order. Two groups of them are kept in an
    upgrade: `connection_lines` and `upgrade_lines`; both are empty if h2c was removed, because
    Upgrade and Connection are then written again. `nominated` are the names that Connection
    nominates. `accepts_trailers` says that a request's TE has the member `trailers`.
    """

    __slots__ = (
        "accepts_trailers",
        "connection_lines",
        "cuts",
        "host_line",
        "http2_settings_lines",
        "nominated",
        "transfer_encoding_line",
        "upgrade_lines",
    )

    def __init__(self) -> None:
        self.cuts: tuple[Span, ...] = ()
        self.connection_lines: tuple[Span, ...] = ()
        self.upgrade_lines: tuple[Span, ...] = ()
        self.host_line: Span = (0, 0)
        self.transfer_encoding_line: Span = (0, 0)
        self.http2_settings_lines: tuple[Span, ...] = ()
        self.nominated: tuple[bytes, ...] = ()
        self.accepts_trailers = False


class SpanFinder:
    """Returns the spans of a section that it has read before."""

    __slots__ = ()

    def spans(self, section: bytes) -> Spans:
        """Return the spans of that section."""
        raise NotImplementedError


# Made for each head: nothing in it leads back to it, so the garbage collector need not know it.
@mypyc_attr(acyclic=True)
class Head:
    """What request and response heads share: `buffer` begins with the head, which ends at `end`.

    Its version is HTTP/1.`minor`. `connection` and the attributes after it are those of Fields; one
    object has them all, because most of the cost of a head is its objects. The end of the start
    line and the spans are found on demand, because few heads need them.
    """

    __slots__ = (
        "_finder",
        "buffer",
        "connection",
        "content_length",
        "end",
        "minor",
        "transfer_encoding",
        "upgrade",
    )

    # The subclasses set these themselves, because a call of a common constructor is slow.
    _finder: SpanFinder
    buffer: bytes
    end: int
    minor: int
    connection: int
    content_length: int | None
    transfer_encoding: bytes | None
    upgrade: bytes | None

    @property
    def line_end(self) -> int:
        """The end of the start line in the buffer."""
        return self.buffer.find(b"\n") + 1

    def rest_size(self) -> int:
        """Return how many bytes arrived behind the head."""
        return len(self.buffer) - self.end

    def rest(self) -> bytes:
        """Return the bytes that arrived behind the head."""
        return self.buffer[self.end :]

    def whole(self) -> bytes:
        """Return the head as it arrived."""
        return self.buffer[: self.end]

    def section(self) -> bytes:
        """Return the header section, blank line included."""
        return self.buffer[self.line_end : self.end]

    def spans(self) -> Spans:
        """Return where the lines of interest are in the section."""
        return self._finder.spans(self.section())


@mypyc_attr(acyclic=True, free_list_len=1)
class RequestHead(Head):
    """The facts of one request head.

    `stripped` is the head without its cuts, and with a new TE line where it has one.
    """

    __slots__ = ("expect", "host", "method", "reserved", "stripped")

    def __init__(
        self,
        finder: SpanFinder,
        buffer: bytes,
        end: int,
        method: bytes,
        minor: int,
        stripped: bytes,
        connection: int,
        content_length: int | None,
        transfer_encoding: bytes | None,
        upgrade: bytes | None,
        host: bytes | None,
        expect: bytes | None,
        reserved: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        self._finder = finder
        self.buffer = buffer
        self.end = end
        self.method = method
        self.minor = minor
        self.stripped = stripped
        self.connection = connection
        self.content_length = content_length
        self.transfer_encoding = transfer_encoding
        self.upgrade = upgrade
        self.host = host
        self.expect = expect
        self.reserved = reserved

    @property
    def target(self) -> bytes:
        """The target of the request line (RFC 9112 section 3.2)."""
        return self.buffer[len(self.method) + 1 : self.line_end - len(b" HTTP/1.1\r\n")]


@mypyc_attr(acyclic=True, free_list_len=1)
class ResponseHead(Head):
    """The facts of one response head.

    `spliced` is the head without its cuts. The bytes behind the head follow in it if they are the
    whole body that Content-Length announces, and not more than MAX_JOINED.
    """

    __slots__ = ("spliced", "status")

    def __init__(
        self,
        finder: SpanFinder,
        buffer: bytes,
        end: int,
        status: int,
        minor: int,
        spliced: bytes,
        connection: int,
        content_length: int | None,
        transfer_encoding: bytes | None,
        upgrade: bytes | None,
    ) -> None:
        self._finder = finder
        self.buffer = buffer
        self.end = end
        self.status = status
        self.minor = minor
        self.spliced = spliced
        self.connection = connection
        self.content_length = content_length
        self.transfer_encoding = transfer_encoding
        self.upgrade = upgrade

    @property
    def stripped(self) -> bytes:
        """The head without its cuts."""
        rest_size = self.rest_size()
        if rest_size and joins_rest(self.content_length, rest_size):
            return self.spliced[:-rest_size]
        return self.spliced


def joins_rest(content_length: int | None, rest_size: int) -> bool:
    """Return whether the bytes behind a response's head are forwarded together with it."""
    return rest_size == content_length and rest_size <= MAX_JOINED

"""Record: one finished exchange or tunnel.

`relay` fills it; the access log, the lists of the admin listener and the spans are made from it.
Never holds a query, a password, a cookie or a token. A client's texts are cut to the limits below,
because records wait in queues and lists.
"""

from typing import Final

from cmux_proxy.config.address import format_authority
from cmux_proxy.observe.outcome import Outcome

# The kinds of exchanges.
REQUEST: Final = "request"
UPGRADE: Final = "upgrade"
CONNECT: Final = "connect"

# The protocols of clients, named as Apache and nginx name them.
HTTP_1_0: Final = "HTTP/1.0"
HTTP_1_1: Final = "HTTP/1.1"
HTTP_2: Final = "HTTP/2.0"

# Limits in bytes for a client's texts, as a line of the access log has them; a longer text is cut
# and ends with CUT. With these a line has less than 4,096 bytes, which a pipe takes as a whole.
MAX_METHOD: Final = 64
MAX_PATH: Final = 2048
MAX_WORKSPACE: Final = 255
CUT: Final = "..."
# A longer traceparent is ignored: version 00 has 55 bytes, and a cut one would name no trace.
MAX_TRACE: Final = 255

# The bytes that a character takes at most where a line escapes it, such as \u00e9, and a pair of
# surrogates; a quote and a backslash take two.
_MAX_ESCAPE: Final = 12
_BASIC: Final = "\uffff"

_COMPLETE: Final[int] = Outcome.COMPLETE.value
_QUERY: Final = "?"


class Record:
    """One exchange, with the tunnel that it may have become.

    `started`, `first_byte` and `ended` are seconds of the monotonic clock; `first_byte` is 0.0
    where no response has begun. `received` counts bytes from the client, `sent` bytes to it.
    `protocol` is the client's, or empty where no request was read.
    `error` is a Proxy-Status error type (RFC 9209 section 2.3), or empty.
    """

    __slots__ = (
        "client",
        "ended",
        "error",
        "first_byte",
        "host",
        "is_reused",
        "kind",
        "method",
        "outcome",
        "path",
        "port",
        "protocol",
        "received",
        "sent",
        "started",
        "status",
        "trace",
        "workspace",
    )

    def __init__(self, kind: str, client: str, started: float) -> None:
        self.kind = kind
        self.client = client
        self.started = started
        self.ended = started
        self.first_byte = 0.0
        self.method = ""
        self.path = ""
        self.protocol = ""
        self.status = 0
        self.host = ""
        self.port = 0
        self.workspace = ""
        self.received = 0
        self.sent = 0
        self.is_reused = False
        self.error = ""
        self.outcome = _COMPLETE
        # The request's traceparent (W3C Trace Context), where traces are exported.
        self.trace = ""

    def upstream(self) -> str:
        """Return the upstream's host:port, or "" where the request was not routed."""
        if not self.port:
            return ""
        return format_authority(self.host, self.port)

    def duration(self) -> float:
        """Return how many seconds it took."""
        return self.ended - self.started

    def until_first_byte(self) -> float | None:
        """Return how many seconds it took until the response began; None where it has not."""
        return self.first_byte - self.started if self.first_byte else None


def shorten(text: str, max_length: int) -> str:
    """Return a text of at most `max_length` characters; one that was cut ends with CUT."""
    return text if len(text) <= max_length else text[: max_length - len(CUT)] + CUT


def fit(text: str, room: int) -> str:
    """Return a text that takes at most `room` bytes in any line of the access log.

    One that was cut ends with CUT.
    """
    if len(text) * _MAX_ESCAPE <= room or (len(text) <= room and _escaped_length(text) <= room):
        return text
    room -= len(CUT)
    length = 0
    for char in text:
        room -= _escaped_length(char)
        if room < 0:
            break
        length += 1
    return text[:length] + CUT


def _escaped_length(text: str) -> int:
    """Return how many bytes a text takes in the format that escapes the most, JSON."""
    if text.isascii() and text.isprintable():
        return len(text) + text.count('"') + text.count("\\")
    return sum([_length_of(char) for char in text])


def _length_of(char: str) -> int:
    if char.isascii() and char.isprintable():
        return 2 if char == '"' or char == "\\" else 1
    return 6 if char <= _BASIC else _MAX_ESCAPE


def path_of(target: bytes) -> str:
    """Return a request target without its query and userinfo (RFC 9112 section 3.2), shortened."""
    # Looked for in a text, because mypyc asks a bytes object about its contents by way of a call.
    path = target.decode("latin-1")
    if _QUERY in path:
        path = path.partition(_QUERY)[0]
    if not path.startswith("/") and "@" in path:
        path = _without_userinfo(path)
    return fit(path, MAX_PATH)


def _without_userinfo(url: str) -> str:
    """Return a URL, or an authority alone, without a user and a password before its host."""
    scheme, separator, after = url.partition("://") if "://" in url else ("", "", url)
    authority, slash, path = after.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path

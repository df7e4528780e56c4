"""What httptools, the parser of Node.js in Python, reads in the same bytes: a third opinion.

It is strict as it comes: no leniency is switched on.
"""

from dataclasses import dataclass, field

import httptools


@dataclass
class Seen:
    """Messages as httptools has read them, and whether the last one has ended."""

    starts: list[tuple[bytes, ...]] = field(default_factory=list)
    fields: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    ended: int = 0


class _Listener:
    """Takes what the parser calls out."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.url = b""
        self.lines: list[tuple[bytes, bytes]] = []
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser | None = None

    def on_message_begin(self) -> None:
        self.url = b""
        self.lines = []
        self.seen.contents.append(b"")

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        assert parser is not None
        version = parser.get_http_version().encode()
        if isinstance(parser, httptools.HttpRequestParser):
            start: tuple[bytes, ...] = (parser.get_method(), self.url, version)
        else:
            start = (b"%d" % parser.get_status_code(), version)
        self.seen.starts.append(start)
        self.seen.fields.append(list(self.lines))

    def on_body(self, body: bytes) -> None:
        self.seen.contents[-1] += body

    def on_message_complete(self) -> None:
        self.seen.ended += 1


def requests_in(data: bytes) -> Seen:
    """Return the requests in these bytes; raise httptools.HttpParserError."""
    listener = _Listener()
    listener.parser = httptools.HttpRequestParser(listener)
    listener.parser.feed_data(data)
    return listener.seen


def responses_in(data: bytes) -> Seen:
    """Return the responses in these bytes; raise httptools.HttpParserError."""
    listener = _Listener()
    listener.parser = httptools.HttpResponseParser(listener)
    listener.parser.feed_data(data)
    return listener.seen

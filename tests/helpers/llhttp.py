"""Reads messages with httptools, the parser of Node.js, as an independent third opinion.

The parser is strict; no lenient flag is set.
"""

from dataclasses import dataclass, field

import httptools


@dataclass
class ParsedMessages:
    """Messages as httptools reads them, and how many of them have ended."""

    starts: list[tuple[bytes, ...]] = field(default_factory=list)
    fields: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    ended: int = 0


class _Listener:
    """Receives the events of the parser."""

    def __init__(self) -> None:
        self.messages = ParsedMessages()
        self.url = b""
        self.lines: list[tuple[bytes, bytes]] = []
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser | None = None

    def on_message_begin(self) -> None:
        self.url = b""
        self.lines = []
        self.messages.contents.append(b"")

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
        self.messages.starts.append(start)
        self.messages.fields.append(list(self.lines))

    def on_body(self, body: bytes) -> None:
        self.messages.contents[-1] += body

    def on_message_complete(self) -> None:
        self.messages.ended += 1


def requests_in(data: bytes) -> ParsedMessages:
    """Return the requests; raise httptools.HttpParserError if the parser refuses one."""
    listener = _Listener()
    listener.parser = httptools.HttpRequestParser(listener)
    listener.parser.feed_data(data)
    return listener.messages


def responses_in(data: bytes) -> ParsedMessages:
    """Return the responses; raise httptools.HttpParserError if the parser refuses one."""
    listener = _Listener()
    listener.parser = httptools.HttpResponseParser(listener)
    listener.parser.feed_data(data)
    return listener.messages

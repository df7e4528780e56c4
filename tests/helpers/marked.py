"""Requests and responses that contain a mark, so that a model knows which bytes belong together."""

import re
from dataclasses import dataclass, field
from typing import Final

from tests.helpers.fakes import FakeStream
from tests.helpers.origins import chunk, http_response
from tests.helpers.script import head

MARK: Final = re.compile(rb"m[0-9]+x")
_REQUEST_STARTS: Final = re.compile(rb"(?=(?:GET|HEAD|POST) /m[0-9]+x HTTP/1\.1\r\n)")
_STARTS: Final = re.compile(rb"(?=HTTP/1\.1 [1-5][0-9][0-9] )")
OWN: Final = b"\r\nProxy-Status: cmux-proxy;"
_INTERIM: Final = b"HTTP/1.1 1"
_LENGTH: Final = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")

ROUTE: Final = "X-Cmux-Port-Internal: 80"
REQUESTS: Final[dict[str, tuple[str, list[str], bytes]]] = {
    "get": ("GET", [], b""),
    "head": ("HEAD", [], b""),
    "close": ("GET", ["Connection: close"], b""),
    "post": ("POST", ["Content-Length: 10"], b"(%b)"),
    "post-chunked": ("POST", ["Transfer-Encoding: chunked"], b"a\r\n(%b)\r\n0\r\n\r\n"),
    "upgrade": ("GET", ["Connection: upgrade", "Upgrade: a"], b"%b early"),
}
RESPONSES: Final = [
    "length", "chunked", "until-close", "close", "empty", "interim", "switch", "too-much", "bad",
]  # fmt: skip


def mark_of(number: int) -> bytes:
    """Return a mark of eight bytes."""
    return b"m%06dx" % number


def response_with(name: str, mark: bytes, is_head: bool) -> bytes:
    """Return a response that contains the mark."""
    mark_line = f"X-Mark: {mark.decode()}"
    ok = "HTTP/1.1 200 OK"
    response = {
        "length": http_response(b"is " + mark, mark_line),
        "chunked": head(ok, mark_line, "Transfer-Encoding: chunked") + chunk(mark) + b"0\r\n\r\n",
        "until-close": head(ok, mark_line) + mark,
        "close": http_response(mark, mark_line, "Connection: close"),
        "empty": head("HTTP/1.1 204 No Content", mark_line),
        "interim": head("HTTP/1.1 103 Early Hints", mark_line) + http_response(mark, mark_line),
        "switch": head("HTTP/1.1 101 S", mark_line, "Connection: upgrade", "Upgrade: a") + mark,
        "too-much": http_response(mark, mark_line) * 2,
        "bad": head(ok, mark_line, "Transfer-Encoding: chunked") + chunk(mark) + b"-1\r\n",
    }[name]
    if is_head and name != "interim":
        return response[: response.index(b"\r\n\r\n") + 4]
    return response


@dataclass
class Peer:
    """One end of a connection, and the bytes that it has not sent yet."""

    transport: FakeStream
    sent_requests: list[tuple[bytes, str]] = field(default_factory=list)
    unsent: bytes = b""
    response_count: int = 0
    has_surplus: bool = False

    def send(self, data: bytes, max_bytes: int) -> None:
        """Send up to `max_bytes` of the data, and keep the others for later."""
        self.transport.arrives(data[:max_bytes])
        self.unsent = data[max_bytes:]

    def received(self) -> bytes:
        """Return all that the proxy has written."""
        return self.transport.got + bytes(self.transport.held)

    def responses(self) -> list[bytes]:
        """Return the final responses that a client received before an upgrade."""
        parts = _STARTS.split(self.received().partition(b"HTTP/1.1 101 ")[0])
        return [part for part in parts if part and not part.startswith(_INTERIM)]

    def requests(self) -> list[bytes]:
        """Return the requests that an upstream received, each with all bytes after it."""
        return [part for part in _REQUEST_STARTS.split(self.transport.got) if part]


def is_whole(response: bytes, method: str) -> bool:
    """Return whether a response is complete, by its framing for the client."""
    start, blank, body = response.partition(b"\r\n\r\n")
    if not blank or method == "HEAD" or start.startswith(b"HTTP/1.1 204"):
        return bool(blank)
    length = _LENGTH.search(start + b"\r\n")
    if length is not None:
        return len(body) >= int(length[1])
    return body.endswith(b"0\r\n\r\n")

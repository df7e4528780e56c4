"""Requests and answers that carry marks, for models of exchanges: whose bytes are whose."""

import re
from dataclasses import dataclass, field
from typing import Final

from tests.helpers.fakes import FakeStream
from tests.helpers.origins import answer, chunk
from tests.helpers.script import head

MARK: Final = re.compile(rb"m[0-9]+x")
_ASKED: Final = re.compile(rb"(?=(?:GET|HEAD|POST) /m[0-9]+x HTTP/1\.1\r\n)")
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
ANSWERS: Final = [
    "length", "chunked", "until-close", "close", "empty", "interim", "switch", "too-much", "bad",
]  # fmt: skip


def mark_of(number: int) -> bytes:
    """Return a mark of eight bytes."""
    return b"m%06dx" % number


def answer_with(kind: str, mark: bytes, is_head: bool) -> bytes:
    """Return an answer that carries the mark."""
    named = f"X-Mark: {mark.decode()}"
    ok = "HTTP/1.1 200 OK"
    told = {
        "length": answer(b"is " + mark, named),
        "chunked": head(ok, named, "Transfer-Encoding: chunked") + chunk(mark) + b"0\r\n\r\n",
        "until-close": head(ok, named) + mark,
        "close": answer(mark, named, "Connection: close"),
        "empty": head("HTTP/1.1 204 No Content", named),
        "interim": head("HTTP/1.1 103 Early Hints", named) + answer(mark, named),
        "switch": head("HTTP/1.1 101 S", named, "Connection: upgrade", "Upgrade: a") + mark,
        "too-much": answer(mark, named) * 2,
        "bad": head(ok, named, "Transfer-Encoding: chunked") + chunk(mark) + b"-1\r\n",
    }[kind]
    return told[: told.index(b"\r\n\r\n") + 4] if is_head and kind != "interim" else told


@dataclass
class Peer:
    """One end of a connection, and what it has not said yet."""

    transport: FakeStream
    asked: list[tuple[bytes, str]] = field(default_factory=list)
    rest: bytes = b""
    answered: int = 0
    is_spoilt: bool = False

    def say(self, data: bytes, most: int) -> None:
        """Say so much of it, and the rest some other time."""
        self.transport.arrives(data[:most])
        self.rest = data[most:]

    def heard(self) -> bytes:
        """Return all that the proxy has written."""
        return self.transport.got + bytes(self.transport.held)

    def answers(self) -> list[bytes]:
        """Return the final answers that a client has got, before its connection was a tunnel."""
        heard = self.heard().partition(b"HTTP/1.1 101 ")[0]
        return [told for told in _STARTS.split(heard) if told and not told.startswith(_INTERIM)]

    def requests(self) -> list[bytes]:
        """Return the requests that an upstream has got, each with all that came behind it."""
        return [told for told in _ASKED.split(self.transport.got) if told]


def is_whole(told: bytes, method: str) -> bool:
    """Return whether an answer is complete, by the framing that the client sees."""
    start, blank, body = told.partition(b"\r\n\r\n")
    if not blank or method == "HEAD" or start.startswith(b"HTTP/1.1 204"):
        return bool(blank)
    length = _LENGTH.search(start + b"\r\n")
    if length is not None:
        return len(body) >= int(length[1])
    return body.endswith(b"0\r\n\r\n")

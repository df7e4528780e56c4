"""What clients and upstreams say to each other when nothing goes wrong.

Every message carries MARK, which is another one in every step, so that a byte that goes astray can
be told. In what a client says, PORT is that of the upstream.
"""

from dataclasses import dataclass
from typing import Final

from tests.helpers.origins import answer, chunk
from tests.helpers.script import ESTABLISHED, head

MARK: Final = b"m0000000x"
PORT: Final = b"<port>"

CLIENT: Final = "client"
UPSTREAM: Final = "upstream"

_ROUTE: Final = f"X-Cmux-Port-Internal: {PORT.decode()}"
_NAME: Final = MARK.decode()
# More than is read at a time, and enough for the kernel to move it.
_LARGE: Final = MARK * 30_000


@dataclass(frozen=True)
class Turn:
    """Somebody says something, and the other side hears it as the proxy passes it on.

    With `ends`, who speaks then ends its side. Where it `is_opaque`, any one answer of the
    proxy's own is heard.
    """

    who: str
    says: bytes
    hears: bytes
    ends: bool = False
    is_opaque: bool = False


@dataclass(frozen=True)
class Dialogue:
    """Turns one after the other.

    Where it `is_wrapped`, the client gets the answer in chunks; where it `spoils` the upstream's
    connection, the proxy has to close that.
    """

    name: str
    turns: tuple[Turn, ...]
    is_wrapped: bool = False
    is_tunnel: bool = False
    spoils: bool = False

    def heard(self, who: str) -> bytes:
        """Return all that this side hears."""
        return b"".join(turn.hears for turn in self.turns if turn.who != who)


def _asks(line: str, *fields: str, body: bytes = b"", heard: bytes | None = None) -> Turn:
    """Return a request; `heard` is its body as it is heard, if that is another one."""
    passed_on = head(line, "Host: a", f"X-Mark: {_NAME}", *fields)
    said = head(line, "Host: a", _ROUTE, f"X-Mark: {_NAME}", *fields)
    return Turn(CLIENT, said + body, passed_on + (body if heard is None else heard))


def _same(who: str, data: bytes) -> Turn:
    return Turn(who, data, data)


def _answers(*messages: bytes) -> Turn:
    return _same(UPSTREAM, b"".join(messages))


_OK: Final = answer(MARK + b" is the body", f"X-Mark: {_NAME}")
_GET: Final = _asks(f"GET /{_NAME} HTTP/1.1")
_CHUNKS: Final = chunk(b"one " + MARK) + b"3;a=b\r\ntwo\r\n"
_CHUNKED: Final = _CHUNKS + b"0\r\nX-Trailer: " + MARK + b"\r\n\r\n"
_CHUNKED_OK: Final = head("HTTP/1.1 200 OK", f"X-Mark: {_NAME}", "Transfer-Encoding: chunked")
_POST: Final = f"POST /{_NAME} HTTP/1.1"
_UPGRADE: Final = ("Connection: upgrade", f"Upgrade: {_NAME}")
_SWITCHING: Final = head("HTTP/1.1 101 Switching Protocols", *_UPGRADE)
_CONNECT: Final = Turn(
    CLIENT, head(f"CONNECT {_NAME}:1 HTTP/1.1", f"Host: {_NAME}:1", _ROUTE) + b"early " + MARK, b""
)
_UNTIL_CLOSE: Final = head("HTTP/1.1 200 OK", f"X-Mark: {_NAME}")
_OLD_GET: Final = Turn(
    CLIENT,
    head(f"GET /{_NAME} HTTP/1.0", _ROUTE, "Host: a"),
    head(f"GET /{_NAME} HTTP/1.1", "Host: a"),
)

DIALOGUES: Final = [
    Dialogue("get", (_GET, _answers(_OK))),
    Dialogue("get-twice", (_GET, _answers(_OK), _GET, _answers(_OK))),
    Dialogue("post-length", (
        _asks(_POST, "Content-Length: 9", body=MARK),
        _answers(_OK),
    )),
    Dialogue("post-chunked", (
        _asks(_POST, "Transfer-Encoding: chunked", body=_CHUNKED),
        _answers(_CHUNKED_OK, _CHUNKED),
    )),
    Dialogue("dropped-trailer", (
        _asks(
            _POST, "Transfer-Encoding: chunked", body=_CHUNKS + b"0\r\nHost: b\r\n\r\n",
            heard=_CHUNKS + b"0\r\n\r\n",
        ),
        _answers(_OK),
    )),
    Dialogue("continue", (
        _asks(_POST, "Content-Length: 9", "Expect: 100-continue"),
        _answers(head("HTTP/1.1 100 Continue", f"X-Mark: {_NAME}")),
        _same(CLIENT, MARK),
        _answers(_OK),
    )),
    Dialogue("pipelined", (
        Turn(CLIENT, _GET.says * 2, _GET.hears),
        _answers(_OK),
        Turn(CLIENT, b"", _GET.hears),
        _answers(_OK),
    )),
    Dialogue("head", (
        _asks(f"HEAD /{_NAME} HTTP/1.1"),
        _answers(head("HTTP/1.1 200 OK", "Content-Length: 5", f"X-Mark: {_NAME}")),
    )),
    Dialogue("no-content", (
        _asks(f"DELETE /{_NAME} HTTP/1.1"),
        _answers(head("HTTP/1.1 204 No Content", f"X-Mark: {_NAME}")),
    )),
    Dialogue("interim", (
        _GET,
        _answers(
            head("HTTP/1.1 103 Early Hints", f"X-Mark: {_NAME}"), head("HTTP/1.1 100 Continue"), _OK
        ),
    )),
    Dialogue("early-answer", (
        _asks(_POST, "Content-Length: 18", body=MARK),
        _answers(_OK),
        _same(CLIENT, MARK),
    )),
    Dialogue("until-close", (
        _GET,
        Turn(
            UPSTREAM, _UNTIL_CLOSE + b"body " + MARK,
            _UNTIL_CLOSE[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"body " + MARK)
            + b"0\r\n\r\n",
            ends=True,
        ),
    ), is_wrapped=True),
    Dialogue("old-client", (
        _OLD_GET,
        Turn(
            UPSTREAM, _CHUNKED_OK + _CHUNKED,
            head("HTTP/1.1 200 OK", f"X-Mark: {_NAME}", "Connection: close")
            + b"one " + MARK + b"two",
        ),
    )),
    Dialogue("upgrade", (
        Turn(
            CLIENT, _asks(f"GET /{_NAME} HTTP/1.1", *_UPGRADE).says + b"early " + MARK,
            _asks(f"GET /{_NAME} HTTP/1.1", *_UPGRADE).hears,
        ),
        _answers(_SWITCHING, b"early too " + MARK),
        Turn(CLIENT, b"", b"early " + MARK),
        _same(CLIENT, b"there " + MARK),
        _same(UPSTREAM, b"and back " + MARK),
    ), is_tunnel=True),
    Dialogue("too-much", (_GET, Turn(UPSTREAM, _OK + _OK, _OK)), spoils=True),
    Dialogue("not-upgraded", (_asks(f"GET /{_NAME} HTTP/1.1", *_UPGRADE), _answers(_OK))),
    Dialogue("connect", (
        _CONNECT,
        Turn(UPSTREAM, b"", ESTABLISHED),
        Turn(CLIENT, b"", b"early " + MARK),
        _same(UPSTREAM, b"hello " + MARK),
        _same(CLIENT, b"there " + MARK),
        _same(UPSTREAM, b"and back " + MARK),
    ), is_tunnel=True),
    Dialogue("large", (
        _asks(_POST, f"Content-Length: {len(_LARGE)}", body=_LARGE),
        _answers(answer(_LARGE, f"X-Mark: {_NAME}")),
    )),
    Dialogue("refused", (
        Turn(CLIENT, head(f"GET /{_NAME} HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 0"), b""),
        Turn(UPSTREAM, b"", b"", is_opaque=True),
    )),
]  # fmt: skip

"""Dialogues of clients and upstreams without faults.

Every message contains MARK, which is replaced by another mark in each step, so that a byte of
another step is detected. In the bytes of a client, PORT is replaced by the port of the upstream.
"""

from dataclasses import dataclass
from typing import Final

from tests.helpers.origins import chunk, http_response
from tests.helpers.script import ESTABLISHED, head

MARK: Final = b"m0000000x"
PORT: Final = b"<port>"

CLIENT: Final = "client"
UPSTREAM: Final = "upstream"

_ROUTE: Final = f"X-Cmux-Port-Internal: {PORT.decode()}"
_NAME: Final = MARK.decode()
# More than one read, and enough that the kernel moves it (splice).
_LARGE: Final = MARK * 30_000


@dataclass(frozen=True)
class Turn:
    """One side sends bytes, and the other side receives them as the proxy forwards them.

    With `ends`, the sender then half-closes. If it `is_opaque`, the other side receives any
    response of the proxy itself.
    """

    side: str
    sent: bytes
    forwarded: bytes
    ends: bool = False
    is_opaque: bool = False


@dataclass(frozen=True)
class Dialogue:
    """Turns, one after the other.

    If it `is_wrapped`, the client receives the response in chunks. If it `has_surplus`, the
    upstream sends too many bytes, and the proxy has to close its connection.
    """

    name: str
    turns: tuple[Turn, ...]
    is_wrapped: bool = False
    is_tunnel: bool = False
    has_surplus: bool = False

    def received(self, side: str) -> bytes:
        """Return all bytes that this side receives."""
        return b"".join(turn.forwarded for turn in self.turns if turn.side != side)


def _request(line: str, *fields: str, body: bytes = b"", received: bytes | None = None) -> Turn:
    """Return a request; `received` is its body as it is forwarded, if that differs."""
    forwarded = head(line, "Host: a", f"X-Mark: {_NAME}", *fields)
    sent = head(line, "Host: a", _ROUTE, f"X-Mark: {_NAME}", *fields)
    return Turn(CLIENT, sent + body, forwarded + (body if received is None else received))


def _same(side: str, data: bytes) -> Turn:
    return Turn(side, data, data)


def _response(*messages: bytes) -> Turn:
    return _same(UPSTREAM, b"".join(messages))


_OK: Final = http_response(MARK + b" is the body", f"X-Mark: {_NAME}")
_GET: Final = _request(f"GET /{_NAME} HTTP/1.1")
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
    Dialogue("get", (_GET, _response(_OK))),
    Dialogue("get-twice", (_GET, _response(_OK), _GET, _response(_OK))),
    Dialogue("post-length", (
        _request(_POST, "Content-Length: 9", body=MARK),
        _response(_OK),
    )),
    Dialogue("post-chunked", (
        _request(_POST, "Transfer-Encoding: chunked", body=_CHUNKED),
        _response(_CHUNKED_OK, _CHUNKED),
    )),
    Dialogue("dropped-trailer", (
        _request(
            _POST, "Transfer-Encoding: chunked", body=_CHUNKS + b"0\r\nHost: b\r\n\r\n",
            received=_CHUNKS + b"0\r\n\r\n",
        ),
        _response(_OK),
    )),
    Dialogue("continue", (
        _request(_POST, "Content-Length: 9", "Expect: 100-continue"),
        _response(head("HTTP/1.1 100 Continue", f"X-Mark: {_NAME}")),
        _same(CLIENT, MARK),
        _response(_OK),
    )),
    Dialogue("pipelined", (
        Turn(CLIENT, _GET.sent * 2, _GET.forwarded),
        _response(_OK),
        Turn(CLIENT, b"", _GET.forwarded),
        _response(_OK),
    )),
    Dialogue("head", (
        _request(f"HEAD /{_NAME} HTTP/1.1"),
        _response(head("HTTP/1.1 200 OK", "Content-Length: 5", f"X-Mark: {_NAME}")),
    )),
    Dialogue("no-content", (
        _request(f"DELETE /{_NAME} HTTP/1.1"),
        _response(head("HTTP/1.1 204 No Content", f"X-Mark: {_NAME}")),
    )),
    Dialogue("interim", (
        _GET,
        _response(
            head("HTTP/1.1 103 Early Hints", f"X-Mark: {_NAME}"), head("HTTP/1.1 100 Continue"), _OK
        ),
    )),
    Dialogue("early-response", (
        _request(_POST, "Content-Length: 18", body=MARK),
        _response(_OK),
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
            CLIENT, _request(f"GET /{_NAME} HTTP/1.1", *_UPGRADE).sent + b"early " + MARK,
            _request(f"GET /{_NAME} HTTP/1.1", *_UPGRADE).forwarded,
        ),
        _response(_SWITCHING, b"early too " + MARK),
        Turn(CLIENT, b"", b"early " + MARK),
        _same(CLIENT, b"there " + MARK),
        _same(UPSTREAM, b"and back " + MARK),
    ), is_tunnel=True),
    Dialogue("too-much", (_GET, Turn(UPSTREAM, _OK + _OK, _OK)), has_surplus=True),
    Dialogue("not-upgraded", (_request(f"GET /{_NAME} HTTP/1.1", *_UPGRADE), _response(_OK))),
    Dialogue("connect", (
        _CONNECT,
        Turn(UPSTREAM, b"", ESTABLISHED),
        Turn(CLIENT, b"", b"early " + MARK),
        _same(UPSTREAM, b"hello " + MARK),
        _same(CLIENT, b"there " + MARK),
        _same(UPSTREAM, b"and back " + MARK),
    ), is_tunnel=True),
    Dialogue("large", (
        _request(_POST, f"Content-Length: {len(_LARGE)}", body=_LARGE),
        _response(http_response(_LARGE, f"X-Mark: {_NAME}")),
    )),
    Dialogue("refused", (
        Turn(CLIENT, head(f"GET /{_NAME} HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 0"), b""),
        Turn(UPSTREAM, b"", b"", is_opaque=True),
    )),
]  # fmt: skip

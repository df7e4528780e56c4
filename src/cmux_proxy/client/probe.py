"""Asks a proxy, or a service, one question over HTTP, and says what came and when.

For diagnosis: one connection for each question, no redirects, no decoding of contents.
"""

import http.client
import os
import re
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from cmux_proxy.client.http_proxy import LARGEST_HEAD, HttpProxy, HttpProxyError, proxy_for
from cmux_proxy.client.proxy_url import ProxyUrl

_FIRST_PIECE: Final = 2048
_MOST_SHOWN: Final = 160
_SWITCHING: Final = 101
# Neither tags nor what no reader sees.
_MARKUP: Final = re.compile(
    r"<(style|script|title)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE
)


class Question(NamedTuple):
    """A GET: the path, and all fields, Host among them."""

    path: str
    fields: Sequence[tuple[str, str]]


class Answer(NamedTuple):
    """What came; times are in seconds from the question on.

    `first_byte_after` is None when the body had not begun when the time was up, and `text` is the
    beginning of a body that is a text.
    """

    status: int
    fields: http.client.HTTPMessage
    text: str
    has_body: bool
    head_after: float
    first_byte_after: float | None

    @property
    def proxy_error(self) -> str | None:
        """The Proxy-Status error where the proxy has answered for itself, else None."""
        name, _, error = (self.fields.get("Proxy-Status") or "").partition("; error=")
        return error or None if name == "cmux-proxy" else None


class NoAnswer(Exception):
    """Nothing came that is HTTP; the text is one clause."""

    def __init__(self, text: str, is_timeout: bool = False) -> None:
        super().__init__(text)
        self.is_timeout = is_timeout


class _Response(http.client.HTTPResponse):
    """An answer that may have interim ones before it (RFC 9110 section 15.2)."""

    def begin(self) -> None:
        """Read the head of the answer itself."""
        super().begin()
        while 100 <= self.status < 200 and self.status != _SWITCHING:
            # Where it has some already, it reads none.
            self.headers = None  # type: ignore[assignment]
            super().begin()


def ask(url: ProxyUrl, question: Question, timeout: float) -> Answer:
    """Return the answer; raise NoAnswer, after `timeout` seconds without a byte at the latest."""
    connection = http.client.HTTPConnection(url.host, url.port, timeout=timeout)
    try:
        connection.sock = _connected(url, timeout)
        return _ask(connection, question)
    except HttpProxyError as error:
        raise NoAnswer(str(error)) from None
    except TimeoutError:
        raise NoAnswer(f"{url} has not answered within {timeout:g} s", is_timeout=True) from None
    except ssl.SSLCertVerificationError as error:
        raise NoAnswer(f"the certificate of {url} is not good: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise NoAnswer(f"{url} does not speak TLS: {error.reason}") from None
    except http.client.RemoteDisconnected:
        raise NoAnswer(f"{url} closed the connection without an answer") from None
    except http.client.HTTPException:
        raise NoAnswer(f"{url} does not answer in HTTP") from None
    except OSError as error:
        raise NoAnswer(f"cannot talk to {url}: {error.strerror or error}") from None
    finally:
        connection.close()


def _connected(url: ProxyUrl, timeout: float) -> socket.socket:
    """Return a socket to a proxy, through the HTTP proxy before it if there is one."""
    way = proxy_for(url, os.environ)
    if way is None:
        sock = socket.create_connection((url.host, url.port), timeout)
    else:
        sock = _through(way, url, timeout)
    if not url.is_tls:
        return sock
    try:
        return ssl.create_default_context().wrap_socket(sock, server_hostname=url.name)
    except OSError:
        sock.close()
        raise


def _through(way: HttpProxy, url: ProxyUrl, timeout: float) -> socket.socket:
    try:
        sock = socket.create_connection((way.host, way.port), timeout)
        try:
            sock.sendall(way.request(url))
            way.check(url, _head(sock))
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise HttpProxyError(f"cannot reach {url} through {way}: {_reason(error)}") from None
    return sock


def _head(sock: socket.socket) -> bytes:
    """Return an answer's head; what stands behind it is left to be read."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < LARGEST_HEAD:
        piece = sock.recv(1)
        if not piece:
            break
        head += piece
    return head


def _reason(error: OSError) -> str:
    return "it does not answer in time" if isinstance(error, TimeoutError) else str(error.strerror)


def _ask(connection: http.client.HTTPConnection, question: Question) -> Answer:
    connection.response_class = _Response
    start = time.monotonic()
    connection.putrequest("GET", question.path, skip_host=True, skip_accept_encoding=True)
    for name, value in question.fields:
        connection.putheader(name, value)
    connection.endheaders()
    with connection.getresponse() as response:
        head_after = time.monotonic() - start
        first_byte_after, piece = _first_piece(response, start)
        is_text = response.headers.get_content_maintype() == "text"
        text = _first_line(piece) if is_text else ""
        return Answer(
            response.status, response.headers, text, piece != b"", head_after, first_byte_after
        )


def _first_piece(response: http.client.HTTPResponse, start: float) -> tuple[float | None, bytes]:
    """Return when the body, or its end, came, and what came first of it."""
    try:
        piece = response.read1(_FIRST_PIECE)
    except TimeoutError:
        return None, b""
    return time.monotonic() - start, piece


def _first_line(piece: bytes) -> str:
    """Return the first line with something in it, shortened, as a terminal may show it."""
    lines = _MARKUP.sub("\n", piece.decode("utf-8", "replace")).split("\n")
    line = next((one.strip() for one in lines if one.strip()), "")
    shown = "".join(char if char.isprintable() else " " for char in line).strip()
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."

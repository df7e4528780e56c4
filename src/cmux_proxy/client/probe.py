"""Sends one diagnostic request over HTTP to a proxy or a service, and reports the response.

One connection per request, no redirects, no decoding of contents.
"""

import http.client
import os
import re
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from cmux_proxy.client.http_proxy import MAX_HEAD, HttpProxy, HttpProxyError, http_proxy_for
from cmux_proxy.client.proxy_url import ProxyUrl

_FIRST_READ: Final = 2048
_MAX_TEXT: Final = 160
_SWITCHING_PROTOCOLS: Final = 101
# Tags, and elements that are not visible.
_MARKUP: Final = re.compile(
    r"<(style|script|title)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE
)


class ProbeRequest(NamedTuple):
    """A GET: the path, and all fields, Host included."""

    path: str
    fields: Sequence[tuple[str, str]]


class ProbeResponse(NamedTuple):
    """A response; times are in seconds since the request.

    `first_byte_after` is None if the body did not begin in time, and `text` is the first line of a
    body of text.
    """

    status: int
    fields: http.client.HTTPMessage
    text: str
    has_body: bool
    head_after: float
    first_byte_after: float | None

    @property
    def proxy_error(self) -> str | None:
        """The Proxy-Status error of a response of the proxy itself, None for any other."""
        name, _, error = (self.fields.get("Proxy-Status") or "").partition("; error=")
        return error or None if name == "cmux-proxy" else None


class NoResponse(Exception):
    """No HTTP response arrived; the text is one clause."""

    def __init__(self, text: str, is_timeout: bool = False) -> None:
        super().__init__(text)
        self.is_timeout = is_timeout


class _FinalResponse(http.client.HTTPResponse):
    """A response that interim ones may precede (RFC 9110 section 15.2)."""

    def begin(self) -> None:
        """Read the head of the final response."""
        super().begin()
        while 100 <= self.status < 200 and self.status != _SWITCHING_PROTOCOLS:
            # `begin` does nothing if there are headers.
            self.headers = None  # type: ignore[assignment]
            super().begin()


def send_probe(url: ProxyUrl, request: ProbeRequest, timeout: float) -> ProbeResponse:
    """Return the response; raise NoResponse, at the latest after `timeout` s without a byte."""
    connection = http.client.HTTPConnection(url.host, url.port, timeout=timeout)
    try:
        connection.sock = _connect(url, timeout)
        return _exchange(connection, request)
    except HttpProxyError as error:
        raise NoResponse(str(error)) from None
    except TimeoutError:
        text = f"{url} has not responded within {timeout:g} s"
        raise NoResponse(text, is_timeout=True) from None
    except ssl.SSLCertVerificationError as error:
        text = f"the certificate of {url} is invalid: {error.verify_message}"
        raise NoResponse(text) from None
    except ssl.SSLError as error:
        raise NoResponse(f"{url} does not speak TLS: {error.reason}") from None
    except http.client.RemoteDisconnected:
        raise NoResponse(f"{url} closed the connection without a response") from None
    except http.client.HTTPException:
        raise NoResponse(f"{url} does not respond in HTTP") from None
    except OSError as error:
        raise NoResponse(f"cannot send to {url}: {error.strerror or error}") from None
    finally:
        connection.close()


def _connect(url: ProxyUrl, timeout: float) -> socket.socket:
    """Return a socket that is connected to a proxy, through an HTTP proxy if there is one."""
    http_proxy = http_proxy_for(url, os.environ)
    if http_proxy is None:
        sock = socket.create_connection((url.host, url.port), timeout)
    else:
        sock = _connect_through(http_proxy, url, timeout)
    if not url.is_tls:
        return sock
    try:
        return ssl.create_default_context().wrap_socket(sock, server_hostname=url.name)
    except OSError:
        sock.close()
        raise


def _connect_through(http_proxy: HttpProxy, url: ProxyUrl, timeout: float) -> socket.socket:
    try:
        sock = socket.create_connection((http_proxy.host, http_proxy.port), timeout)
        try:
            sock.sendall(http_proxy.connect_request(url))
            http_proxy.check_response(url, _read_head(sock))
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        text = f"cannot reach {url} through {http_proxy}: {_reason(error)}"
        raise HttpProxyError(text) from None
    return sock


def _read_head(sock: socket.socket) -> bytes:
    """Return the head of a response, and read no byte behind it."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < MAX_HEAD:
        byte = sock.recv(1)
        if not byte:
            break
        head += byte
    return head


def _reason(error: OSError) -> str:
    return "it does not respond in time" if isinstance(error, TimeoutError) else str(error.strerror)


def _exchange(connection: http.client.HTTPConnection, request: ProbeRequest) -> ProbeResponse:
    connection.response_class = _FinalResponse
    start = time.monotonic()
    connection.putrequest("GET", request.path, skip_host=True, skip_accept_encoding=True)
    for name, value in request.fields:
        connection.putheader(name, value)
    connection.endheaders()
    with connection.getresponse() as response:
        head_after = time.monotonic() - start
        first_byte_after, data = _first_read(response, start)
        is_text = response.headers.get_content_maintype() == "text"
        text = _first_line(data) if is_text else ""
        has_body = data != b""
        return ProbeResponse(
            response.status, response.headers, text, has_body, head_after, first_byte_after
        )


def _first_read(response: http.client.HTTPResponse, start: float) -> tuple[float | None, bytes]:
    """Return after how many seconds the body, or its end, arrived, and its first bytes."""
    try:
        data = response.read1(_FIRST_READ)
    except TimeoutError:
        return None, b""
    return time.monotonic() - start, data


def _first_line(data: bytes) -> str:
    """Return the first line that is not empty, shortened, as a terminal may show it."""
    lines = _MARKUP.sub("\n", data.decode("utf-8", "replace")).split("\n")
    line = next((line.strip() for line in lines if line.strip()), "")
    text = "".join(char if char.isprintable() else " " for char in line).strip()
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."

"""Opens a tunnel to a port behind a proxy: by CONNECT (RFC 9110 section 9.3.6), or in a WebSocket.

Neighbours: `tunnel_ways.py` chooses, `websocket_tunnel.py` has what follows the handshake.
"""

import asyncio
import contextlib
import errno
import os
import re
import socket
import ssl
from typing import Final, NamedTuple

from cmux_proxy.client.http_proxy import MAX_HEAD, HttpProxy, HttpProxyError, http_proxy_for
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tls_tunnel import start_tls
from cmux_proxy.client.tunnel_request import TunnelRequest
from cmux_proxy.client.websocket_tunnel import join_websocket
from cmux_proxy.websocket.opening import HALF_CLOSE, accept_of, encode_key

_MAX_REASON: Final = 300
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])[ \r]")
_INTERIM: Final = "100"
_SWITCHING: Final = "101"
# X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT and the next three: a chain without an authority that
# OpenSSL knows.
_UNKNOWN_AUTHORITY: Final = range(18, 22)
_OWN_AUTHORITY: Final = "; SSL_CERT_FILE may name a file with the certificates of your authority"
_CONNECTION_REFUSED: Final = os.strerror(errno.ECONNREFUSED)
_ERROR_NUMBER: Final = re.compile(r"\[Errno ([0-9]+)\]")
# Responses to CONNECT of servers that are not proxies.
_NO_PROXY_STATUSES: Final = ("400", "404", "405", "501")
# Those of edges that let no CONNECT pass, but perhaps a WebSocket.
_EDGE_STATUSES: Final = ("400", "403", "404", "405", "426", "501")
_MISSING_FIELD: Final = "missing required header"
# A cmux-proxy, perhaps behind another proxy, identifies itself in a refusal (RFC 9209).
_OUR_STATUS: Final = re.compile(rb"\r\nproxy-status:[^\r]*\bcmux-proxy\b", re.IGNORECASE)
# A tunnel has no body. Servers that treat CONNECT like any other request, such as Caddy, have one.
_FRAMING: Final = re.compile(rb"\r\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
_SERVER: Final = re.compile(rb"\r\nserver:[ \t]*([^\r]{1,80})", re.IGNORECASE)
_ACCEPT: Final = re.compile(rb"\r\nsec-websocket-accept:[ \t]*([^\r\t ]*)", re.IGNORECASE)
_SUBPROTOCOL: Final = re.compile(rb"\r\nsec-websocket-protocol:[ \t]*([^\r\t ]*)", re.IGNORECASE)
_NO_REASON: Final = "no reason given"


class TunnelError(Exception):
    """The tunnel cannot be opened; the message is one line for the user.

    `is_of_edge` says that something before the proxy has refused, which may let a WebSocket pass.
    """

    def __init__(self, message: str, is_of_edge: bool = False) -> None:
        super().__init__(message)
        self.is_of_edge = is_of_edge


class TunnelTimeout(TunnelError):
    """The tunnel was not opened in time."""


class Tunnel(NamedTuple):
    """Both directions of an open tunnel; bytes that arrived with the response can be read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def open_tunnel(
    url: ProxyUrl, request: TunnelRequest, timeout: float, is_websocket: bool = False
) -> Tunnel:
    """Return a tunnel; raise TunnelError, or TunnelTimeout after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            return await _open(url, request, is_websocket)
    except TimeoutError:
        raise TunnelTimeout(f"{url} has not opened a tunnel within {timeout:g} s") from None


async def _open(url: ProxyUrl, request: TunnelRequest, is_websocket: bool) -> Tunnel:
    try:
        http_proxy = http_proxy_for(url, os.environ)
        tunnel = await (_connect(url) if http_proxy is None else _connect_through(http_proxy, url))
    except HttpProxyError as error:
        raise TunnelError(str(error)) from None
    name = str(url) if http_proxy is None else f"{url}, through {http_proxy},"
    try:
        if url.is_tls:
            tunnel = await _start_tls(url, tunnel.writer)
        if is_websocket:
            return await _open_websocket(name, url, request, tunnel)
        tunnel.writer.write(request.connect_head())
        await _read_response(name, tunnel.reader)
    except BaseException:
        tunnel.writer.transport.abort()
        raise
    return tunnel


async def _open_websocket(
    name: str, url: ProxyUrl, request: TunnelRequest, tunnel: Tunnel
) -> Tunnel:
    """Return the tunnel inside a WebSocket that is asked for over a connection."""
    key = encode_key(os.urandom(16))
    tunnel.writer.write(request.websocket_head(url, key))
    head = await _read_response(name, tunnel.reader, _SWITCHING)
    accepted = _ACCEPT.search(head)
    if accepted is None or accepted[1] != accept_of(key):
        raise TunnelError(f"{name} has not opened a WebSocket; is it a cmux-proxy?")
    chosen = _SUBPROTOCOL.search(head)
    has_half_close = chosen is not None and chosen[1] == HALF_CLOSE
    return Tunnel(*join_websocket(tunnel.reader, tunnel.writer, has_half_close))


async def _connect(server: ProxyUrl | HttpProxy) -> Tunnel:
    try:
        return Tunnel(*await asyncio.open_connection(server.host, server.port, limit=MAX_HEAD))
    except OSError as error:
        reason = system_error_text(error)
        remedy = "; is the proxy running?" if reason == _CONNECTION_REFUSED else ""
        raise TunnelError(f"cannot connect to {server}: {reason}{remedy}") from None


async def _connect_through(http_proxy: HttpProxy, url: ProxyUrl) -> Tunnel:
    """Return a connection through an HTTP proxy."""
    tunnel = await _connect(http_proxy)
    try:
        tunnel.writer.write(http_proxy.connect_request(url))
        http_proxy.check_response(url, await _read_head(str(http_proxy), tunnel.reader))
    except BaseException:
        tunnel.writer.transport.abort()
        raise
    return tunnel


async def _start_tls(url: ProxyUrl, writer: asyncio.StreamWriter) -> Tunnel:
    try:
        return Tunnel(*await start_tls(writer, url.name, MAX_HEAD))
    except ssl.SSLCertVerificationError as error:
        remedy = _OWN_AUTHORITY if error.verify_code in _UNKNOWN_AUTHORITY else ""
        reason = error.verify_message + remedy
        raise TunnelError(f"the certificate of {url} is invalid: {reason}") from None
    except ssl.SSLError as error:
        raise TunnelError(f"{url} does not speak TLS: {error.reason}") from None
    except OSError as error:
        raise TunnelError(f"the connection to {url} failed: {system_error_text(error)}") from None


def system_error_text(error: OSError) -> str:
    """Return the system's text for an error, without what asyncio adds to it."""
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    # If it tried several addresses, asyncio joins the errors to one text.
    numbers = {error.errno} if error.errno else set(map(int, _ERROR_NUMBER.findall(str(error))))
    return os.strerror(numbers.pop()) if len(numbers) == 1 else str(error)


async def _read_response(server: str, reader: asyncio.StreamReader, expected: str = "2") -> bytes:
    """Return the head of the response; raise TunnelError unless it opens the tunnel.

    `expected` is what the status begins with then.
    """
    status = _INTERIM
    while status.startswith("1") and status != _SWITCHING:
        # RFC 9110 section 15.2: interim responses may arrive at any time.
        head = await _read_head(server, reader)
        match = _STATUS.match(head)
        if match is None:
            raise TunnelError(f"{server} does not respond like a proxy", True)
        status = match[1].decode("ascii")
    if not status.startswith(expected):
        is_ours = _OUR_STATUS.search(head) is not None
        remedy = "; is it a cmux-proxy?" if status in _NO_PROXY_STATUSES and not is_ours else ""
        reason = await refusal_reason(reader, head)
        # An edge may cut the field, so that the proxy misses it.
        is_cut = is_ours and reason.startswith(_MISSING_FIELD)
        is_of_edge = is_cut or (status in _EDGE_STATUSES and not is_ours)
        raise TunnelError(f"{server} responded with {status}: {reason}{remedy}", is_of_edge)
    if status != _SWITCHING and _FRAMING.search(head):
        response = f"{status} and a body{_server_name(head)}"
        raise TunnelError(
            f"{server} responded with {response}, which is no tunnel; is it a cmux-proxy?", True
        )
    return head


def _server_name(head: bytes) -> str:
    """Return a clause with the name of the server, empty if the head does not have it."""
    match = _SERVER.search(head)
    return f" (Server: {_printable(match[1].decode('latin-1'))})" if match else ""


async def _read_head(server: str, reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        when = "without a response" if not error.partial else "in the middle of its response"
        raise TunnelError(f"{server} closed the connection {when}; is it a proxy?", True) from None
    except asyncio.LimitOverrunError:
        raise TunnelError(f"{server} does not respond like a proxy") from None
    except OSError as error:
        raise TunnelError(f"the connection to {server} failed: {error.strerror or error}") from None


async def refusal_reason(reader: asyncio.StreamReader, head: bytes) -> str:
    """Return the first line of a body of text, otherwise the reason phrase."""
    phrase = head.partition(b"\r\n")[0].split(b" ", 2)[2:]
    is_text = b"\r\ncontent-type: text/plain" in head.lower()
    text = await _first_line(reader) if is_text else b""
    return _printable((text.strip() or b" ".join(phrase)).decode("utf-8", "replace")) or _NO_REASON


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


async def _first_line(reader: asyncio.StreamReader) -> bytes:
    """Return the bytes up to a line end that arrive within a second, at most `_MAX_REASON`."""
    text = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(1):
            while b"\n" not in text and (data := await reader.read(_MAX_REASON - len(text))):
                text += data
    return text.partition(b"\n")[0]

"""Opens a tunnel to a port behind a proxy, by CONNECT (RFC 9110 section 9.3.6)."""

import asyncio
import contextlib
import errno
import os
import re
import socket
import ssl
from collections.abc import Sequence
from typing import Final, NamedTuple

from cmux_proxy.client.http_proxy import LARGEST_HEAD, HttpProxy, HttpProxyError, proxy_for
from cmux_proxy.client.proxy_url import ProxyUrl

_MOST_SHOWN: Final = 300
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])[ \r]")
_INTERIM: Final = "100"
_SWITCHING: Final = "101"
# X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT and the three behind it: a chain that ends with nobody whom
# OpenSSL knows.
_UNKNOWN_AUTHORITY: Final = range(18, 22)
_OWN_AUTHORITY: Final = (
    "; SSL_CERT_FILE names a file with the certificates of an authority of your own"
)
_NOBODY: Final = os.strerror(errno.ECONNREFUSED)
_ERROR_NUMBER: Final = re.compile(r"\[Errno ([0-9]+)\]")
# What servers that are no proxies say to CONNECT.
_NO_PROXY_SAYS: Final = ("400", "404", "405", "501")
# What a cmux-proxy, perhaps behind another proxy, says of itself in a refusal (RFC 9209).
_OF_OURS: Final = re.compile(rb"\r\nproxy-status:[^\r]*\bcmux-proxy\b", re.IGNORECASE)
# A tunnel has no body. Servers that take CONNECT for any other request announce one, as Caddy does.
_FRAMING: Final = re.compile(rb"\r\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
_SERVER: Final = re.compile(rb"\r\nserver:[ \t]*([^\r]{1,80})", re.IGNORECASE)
_NO_REASON: Final = "no reason given"


class TunnelError(Exception):
    """There is no tunnel; the message is one line for the user."""


class TunnelTimeout(TunnelError):
    """There is no tunnel yet."""


class ConnectRequest(NamedTuple):
    """What to ask for: a port, perhaps of a workspace, with further whole header lines."""

    port: int
    workspace: str | None = None
    lines: Sequence[str] = ()

    def head(self) -> bytes:
        """Return the request."""
        authority = f"127.0.0.1:{self.port}"
        lines = [
            f"CONNECT {authority} HTTP/1.1",
            f"Host: {authority}",
            f"X-Cmux-Port-Internal: {self.port}",
        ]
        if self.workspace is not None:
            lines.append(f"X-Cmux-Workspace-Internal: {self.workspace}")
        return "\r\n".join([*lines, *self.lines, "", ""]).encode("latin-1")


class Tunnel(NamedTuple):
    """Both directions of an open tunnel; bytes that came early can be read like all others."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def open_tunnel(url: ProxyUrl, wanted: ConnectRequest, timeout: float) -> Tunnel:
    """Return a tunnel; raise TunnelError, or TunnelTimeout after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            return await _open(url, wanted)
    except TimeoutError:
        raise TunnelTimeout(f"{url} has not opened a tunnel within {timeout:g} s") from None


async def _open(url: ProxyUrl, wanted: ConnectRequest) -> Tunnel:
    try:
        way = proxy_for(url, os.environ)
        tunnel = await (_connect(url) if way is None else _through(way, url))
    except HttpProxyError as error:
        raise TunnelError(str(error)) from None
    told = str(url) if way is None else f"{url}, through {way},"
    try:
        if url.is_tls:
            await _speak_tls(url, tunnel.writer)
        tunnel.writer.write(wanted.head())
        await _read_answer(told, tunnel.reader)
    except BaseException:
        tunnel.writer.transport.abort()
        raise
    return tunnel


async def _connect(to: ProxyUrl | HttpProxy) -> Tunnel:
    try:
        return Tunnel(*await asyncio.open_connection(to.host, to.port, limit=LARGEST_HEAD))
    except OSError as error:
        reason = system_says(error)
        remedy = "; does the proxy run there?" if reason == _NOBODY else ""
        raise TunnelError(f"cannot connect to {to}: {reason}{remedy}") from None


async def _through(way: HttpProxy, url: ProxyUrl) -> Tunnel:
    """Return a connection through an HTTP proxy."""
    tunnel = await _connect(way)
    try:
        tunnel.writer.write(way.request(url))
        way.check(url, await _read_head(str(way), tunnel.reader))
    except BaseException:
        tunnel.writer.transport.abort()
        raise
    return tunnel


async def _speak_tls(url: ProxyUrl, writer: asyncio.StreamWriter) -> None:
    try:
        await writer.start_tls(ssl.create_default_context(), server_hostname=url.name)
    except ssl.SSLCertVerificationError as error:
        remedy = _OWN_AUTHORITY if error.verify_code in _UNKNOWN_AUTHORITY else ""
        reason = error.verify_message + remedy
        raise TunnelError(f"the certificate of {url} is not good: {reason}") from None
    except ssl.SSLError as error:
        raise TunnelError(f"{url} does not speak TLS: {error.reason}") from None
    except OSError as error:
        raise TunnelError(f"{url} broke the connection: {system_says(error)}") from None


def system_says(error: OSError) -> str:
    """Return an error in the words of the system, where asyncio has put in its own."""
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    # Of several addresses, asyncio tells the errors as one text.
    found = [error.errno] if error.errno else map(int, _ERROR_NUMBER.findall(str(error)))
    numbers = set(found)
    return os.strerror(numbers.pop()) if len(numbers) == 1 else str(error)


async def _read_answer(url: str, reader: asyncio.StreamReader) -> None:
    """Read the answer's head; raise TunnelError unless it opens the tunnel."""
    status = _INTERIM
    while status.startswith("1") and status != _SWITCHING:
        # RFC 9110 section 15.2: interim answers may come, whoever expects them.
        head = await _read_head(url, reader)
        match = _STATUS.match(head)
        if match is None:
            raise TunnelError(f"{url} does not answer like a proxy")
        status = match[1].decode("ascii")
    if not status.startswith("2"):
        is_strange = status in _NO_PROXY_SAYS and not _OF_OURS.search(head)
        remedy = "; is it a cmux-proxy?" if is_strange else ""
        raise TunnelError(f"{url} answered {status}: {await _reason(reader, head)}{remedy}")
    if _FRAMING.search(head):
        what = f"{status} with a body{_server(head)}"
        raise TunnelError(f"{url} answered {what}, which is no tunnel; is it a cmux-proxy?")


def _server(head: bytes) -> str:
    """Return the name of the server that has answered, if the head has it."""
    found = _SERVER.search(head)
    return f", as {_printable(found[1].decode('latin-1'))}" if found else ""


async def _read_head(url: str, reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        said = "without an answer" if not error.partial else "amid its answer"
        raise TunnelError(f"{url} closed the connection {said}; is it a proxy?") from None
    except asyncio.LimitOverrunError:
        raise TunnelError(f"{url} does not answer like a proxy") from None
    except OSError as error:
        raise TunnelError(f"{url} broke the connection: {error.strerror or error}") from None


async def _reason(reader: asyncio.StreamReader, head: bytes) -> str:
    """Return the first line of an answer's body, or else its reason phrase."""
    phrase = head.partition(b"\r\n")[0].split(b" ", 2)[2:]
    is_text = b"\r\ncontent-type: text/plain" in head.lower()
    text = await _first_line(reader) if is_text else b""
    return _printable((text.strip() or b" ".join(phrase)).decode("utf-8", "replace")) or _NO_REASON


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


async def _first_line(reader: asyncio.StreamReader) -> bytes:
    """Return what comes within a second up to the end of a line, and not more than is shown."""
    text = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(1):
            while b"\n" not in text and (piece := await reader.read(_MOST_SHOWN - len(text))):
                text += piece
    return text.partition(b"\n")[0]

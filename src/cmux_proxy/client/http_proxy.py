"""The HTTP proxy between this machine and a cmux-proxy, in the variables that curl reads.

Knows which variables count and what to ask of that proxy. It has no I/O; `open_tunnel.py` and
`probe.py` connect.
"""

import base64
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.config.address import format_authority

# As of curl: http_proxy in lower case alone, since a CGI program gets HTTP_PROXY from a request.
_OF_HTTP: Final = ("http_proxy", "all_proxy", "ALL_PROXY")
_OF_HTTPS: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTIONS: Final = ("no_proxy", "NO_PROXY")
_USUAL_PORT: Final = 1080
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])[ \r]")

LARGEST_HEAD: Final = 64 * 1024


class HttpProxyError(Exception):
    """The HTTP proxy cannot be used, or opens no tunnel; one line that says which and why."""


class HttpProxy(NamedTuple):
    """An HTTP proxy, the variable that names it, and what it wants to know of its user."""

    host: str
    port: int
    variable: str
    credentials: str | None = None

    def __str__(self) -> str:
        return f"{format_authority(self.host, self.port)} ({self.variable})"

    def request(self, url: ProxyUrl) -> bytes:
        """Return the request for a tunnel to a cmux-proxy."""
        lines = [f"CONNECT {url.authority} HTTP/1.1", f"Host: {url.authority}"]
        if self.credentials is not None:
            lines.append(f"Proxy-Authorization: Basic {self.credentials}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def check(self, url: ProxyUrl, head: bytes) -> None:
        """Raise HttpProxyError unless an answer's head opens the tunnel.

        Its Content-Length and Transfer-Encoding are ignored (RFC 9110 section 9.3.6).
        """
        match = _STATUS.match(head)
        if match is None:
            raise HttpProxyError(f"{self} does not answer like an HTTP proxy{_around(url)}")
        if not match[1].startswith(b"2"):
            line = head.partition(b"\r\n")[0].partition(b" ")[2].decode("latin-1")
            said = "".join(char if char.isprintable() else "?" for char in line)
            raise HttpProxyError(f"{self} lets nobody through to {url}: {said}{_around(url)}")


def proxy_for(url: ProxyUrl, variables: Mapping[str, str]) -> HttpProxy | None:
    """Return the HTTP proxy that stands before a cmux-proxy; raise HttpProxyError.

    None stands before what is on the loopback, or has a zone: both mean this machine.
    """
    if url.is_loopback or "%" in url.host:
        return None
    variable = _first_set(_OF_HTTPS if url.is_tls else _OF_HTTP, variables)
    exceptions = _first_set(_EXCEPTIONS, variables)
    if variable is None or (exceptions and is_excepted(url.host, variables[exceptions])):
        return None
    try:
        return _read(variable, variables[variable])
    except ValueError as error:
        raise HttpProxyError(f"{variable} {error}{_around(url)}") from None


def _around(url: ProxyUrl) -> str:
    return f"; no_proxy={url.name} leads around it"


def _first_set(names: tuple[str, ...], variables: Mapping[str, str]) -> str | None:
    return next((name for name in names if variables.get(name)), None)


def _read(variable: str, text: str) -> HttpProxy:
    """Read "http://user:password@host:3128", of which only the host is needed."""
    problem = ValueError("is not the URL of a proxy like http://host:3128")
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
        host = unquote(parts.hostname or "")
        host.encode("idna")
    except ValueError:
        raise problem from None
    if parts.scheme != "http":
        raise ValueError(f"names a proxy that speaks {parts.scheme}, and only http:// is supported")
    if not host or port == 0:
        raise problem
    credentials = None
    if parts.username is not None:
        plain = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = base64.b64encode(plain.encode("utf-8")).decode("ascii")
    return HttpProxy(host, port or _USUAL_PORT, variable, credentials)


def is_excepted(host: str, exceptions: str) -> bool:
    """Return whether no_proxy has a host: its name, a domain above it, its address or network."""
    if exceptions.strip() == "*":
        return True
    entries = [entry for entry in re.split(r"[,\s]+", exceptions) if entry]
    try:
        address = ip_address(host)
    except ValueError:
        name = host.lower().removesuffix(".")
        return any(_is_below(name, entry) for entry in entries)
    return any(_is_in(address, entry) for entry in entries)


def _is_below(name: str, entry: str) -> bool:
    domain = entry.lower().removeprefix(".").removesuffix(".")
    return domain != "" and (name == domain or name.endswith(f".{domain}"))


def _is_in(address: IPv4Address | IPv6Address, entry: str) -> bool:
    try:
        return address in ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False

"""The HTTP proxy between this machine and a cmux-proxy, in the variables that curl reads.

Knows which variables count, the request to that proxy and its response. Does no I/O;
`open_tunnel.py` and `probe.py` connect.
"""

import base64
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.config.address import format_authority

# Like curl: http_proxy only in lower case, because a CGI program gets HTTP_PROXY from a request.
_HTTP_VARIABLES: Final = ("http_proxy", "all_proxy", "ALL_PROXY")
_HTTPS_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTION_VARIABLES: Final = ("no_proxy", "NO_PROXY")
_DEFAULT_PORT: Final = 1080
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])[ \r]")

MAX_HEAD: Final = 64 * 1024


class HttpProxyError(Exception):
    """The HTTP proxy cannot be used, or opens no tunnel; the message is one line for the user."""


class HttpProxy(NamedTuple):
    """An HTTP proxy, the variable that names it, and its credentials, encoded for Basic."""

    host: str
    port: int
    variable: str
    credentials: str | None = None

    def __str__(self) -> str:
        return f"{format_authority(self.host, self.port)} ({self.variable})"

    def connect_request(self, url: ProxyUrl) -> bytes:
        """Return the CONNECT request for a tunnel to a cmux-proxy."""
        lines = [f"CONNECT {url.authority} HTTP/1.1", f"Host: {url.authority}"]
        if self.credentials is not None:
            lines.append(f"Proxy-Authorization: Basic {self.credentials}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def check_response(self, url: ProxyUrl, head: bytes) -> None:
        """Raise HttpProxyError unless the head of a response opens the tunnel.

        Its Content-Length and Transfer-Encoding are ignored (RFC 9110 section 9.3.6).
        """
        match = _STATUS.match(head)
        if match is None:
            raise HttpProxyError(f"{self} does not respond like an HTTP proxy{_bypass(url)}")
        if not match[1].startswith(b"2"):
            line = head.partition(b"\r\n")[0].partition(b" ")[2].decode("latin-1")
            status = "".join(char if char.isprintable() else "?" for char in line)
            raise HttpProxyError(f"{self} opens no tunnel to {url}: {status}{_bypass(url)}")


def http_proxy_for(url: ProxyUrl, variables: Mapping[str, str]) -> HttpProxy | None:
    """Return the HTTP proxy through which to reach a cmux-proxy; raise HttpProxyError.

    None for a loopback address or one with a zone, because both are reached directly.
    """
    if url.is_loopback or "%" in url.host:
        return None
    variable = _first_set(_HTTPS_VARIABLES if url.is_tls else _HTTP_VARIABLES, variables)
    exceptions = _first_set(_EXCEPTION_VARIABLES, variables)
    if variable is None or (exceptions and is_excepted(url.host, variables[exceptions])):
        return None
    try:
        return _read(variable, variables[variable])
    except ValueError as error:
        raise HttpProxyError(f"{variable} {error}{_bypass(url)}") from None


def _bypass(url: ProxyUrl) -> str:
    return f"; no_proxy={url.name} bypasses it"


def _first_set(names: tuple[str, ...], variables: Mapping[str, str]) -> str | None:
    return next((name for name in names if variables.get(name)), None)


def _read(variable: str, text: str) -> HttpProxy:
    """Read "http://user:password@host:3128", in which only the host is required."""
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
    return HttpProxy(host, port or _DEFAULT_PORT, variable, credentials)


def is_excepted(host: str, exceptions: str) -> bool:
    """Return whether no_proxy includes a host: by name, parent domain, address or network."""
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

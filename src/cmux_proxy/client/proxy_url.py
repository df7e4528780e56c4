"""Where a proxy is: http://host:port or https://host:port, and nothing behind it."""

import socket
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from cmux_proxy.config.address import format_authority

_PORTS = {"http": 80, "https": 443}


class ProxyUrl(NamedTuple):
    """The address of a proxy; with `is_tls`, TLS is spoken to it.

    The host of a link-local address has its zone: fe80::1%eth0, of http://[fe80::1%25eth0]:8080.
    """

    host: str
    port: int
    is_tls: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "http://vm:8080" or "https://edge.example"; raise ValueError with one clause."""
        problem = ValueError(f"{text!r} is not a URL like http://host:8080 or https://host")
        try:
            parts = urlsplit(text)
            port = parts.port
            # What has labels that are empty or too long cannot be looked up.
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise problem from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            raise problem
        if parts.path not in ("", "/") or parts.query or parts.fragment or port == 0:
            raise problem
        host = _zoned(text, parts) if parts.netloc.startswith("[") else parts.hostname
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "https")

    @property
    def name(self) -> str:
        """The host without a zone, which means nothing to anybody but this machine."""
        return self.host.partition("%")[0]

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine's loopback."""
        try:
            return ip_address(self.name).is_loopback
        except ValueError:
            name = self.host.lower().removesuffix(".")
            return name == "localhost" or name.endswith(".localhost")

    @property
    def authority(self) -> str:
        """Host and port, as a CONNECT names them."""
        return format_authority(self.name, self.port)

    def __str__(self) -> str:
        scheme = "https" if self.is_tls else "http"
        address, percent, zone = self.host.partition("%")
        if percent:
            address = f"{address}%25{quote(zone, safe='')}"
        return f"{scheme}://{format_authority(address, self.port)}"


def _zoned(text: str, parts: SplitResult) -> str:
    """Return an IPv6 address, with the zone that RFC 6874 writes behind %25."""
    address, percent, written = (parts.hostname or "").partition("%")
    zone = unquote(written.removeprefix("25"))
    needs_zone = IPv6Address(address).is_link_local
    if needs_zone and not zone:
        example = f"{parts.scheme}://[{address}%25eth0]:{parts.port or _PORTS[parts.scheme]}"
        raise ValueError(f"{text!r} is link-local and needs its interface, as in {example}")
    if not percent:
        return address
    if not zone.isdecimal():
        try:
            socket.if_nametoindex(zone)
        except (OSError, ValueError):
            missing = f"{text!r} names {zone!r}, which is no network interface of this machine"
            raise ValueError(missing) from None
    return f"{address}%{zone}"

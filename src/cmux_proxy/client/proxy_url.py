"""The URL of a proxy: http://host:port or https://host:port, without a path."""

import socket
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from cmux_proxy.config.address import format_authority

_PORTS = {"http": 80, "https": 443}


class ProxyUrl(NamedTuple):
    """The address of a proxy; it speaks TLS if `is_tls`.

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
            # A name with an empty or too long label cannot be resolved.
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise problem from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            raise problem
        if parts.path not in ("", "/") or parts.query or parts.fragment or port == 0:
            raise problem
        host = _host_with_zone(text, parts) if parts.netloc.startswith("[") else parts.hostname
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "https")

    @property
    def name(self) -> str:
        """The host without its zone, which has a meaning on this machine only."""
        return self.host.partition("%")[0]

    @property
    def is_loopback(self) -> bool:
        """Whether it is a loopback address, or a name of one."""
        try:
            return ip_address(self.name).is_loopback
        except ValueError:
            name = self.host.lower().removesuffix(".")
            return name == "localhost" or name.endswith(".localhost")

    @property
    def authority(self) -> str:
        """Host and port, in the form of a CONNECT."""
        return format_authority(self.name, self.port)

    def __str__(self) -> str:
        scheme = "https" if self.is_tls else "http"
        address, percent, zone = self.host.partition("%")
        if percent:
            address = f"{address}%25{quote(zone, safe='')}"
        return f"{scheme}://{format_authority(address, self.port)}"


def _host_with_zone(text: str, parts: SplitResult) -> str:
    """Return an IPv6 address with its zone, which follows %25 in a URL (RFC 6874)."""
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
            reason = f"{text!r} names {zone!r}, which is not a network interface of this machine"
            raise ValueError(reason) from None
    return f"{address}%{zone}"

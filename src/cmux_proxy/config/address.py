"""Addresses: IP addresses and ports, and paths of Unix sockets.

The only place where host and port become one text, and where the wildcards are named; loopbacks are
in `net/loopback.py`. Does not know sockets, or which addresses are configured.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cmux_proxy.config.host_names import ANY_HOST_NAME
from cmux_proxy.errors import ConfigError

IPV4_WILDCARD: Final = "0.0.0.0"  # noqa: S104
IPV6_WILDCARD: Final = "::"
WILDCARDS: Final = (IPV4_WILDCARD, IPV6_WILDCARD)

MAX_PORT: Final = 65535

_ADDRESS: Final = re.compile(
    r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[^:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII
)
_PATH: Final = re.compile(r"unix:(/[^,\0\n]+)")
_DESCRIPTOR: Final = re.compile(r"fd://([0-9]{1,6})", re.ASCII)
_FORMS: Final = "IPv4:PORT, [IPv6]:PORT or unix:/PATH"
_LISTEN_FORMS: Final = "IPv4:PORT, [IPv6]:PORT, unix:/PATH or fd://N"


def format_authority(host: str, port: int) -> str:
    """Return "127.0.0.1:8080" or "[::1]:8080" (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_zone(address: IPv4Address | IPv6Address) -> None:
    """Raise ValueError for a link-local IPv6 address without a zone (RFC 4007 section 11)."""
    if address.version == 6 and address.is_link_local and address.scope_id is None:
        raise ValueError(f"{address} is link-local and needs its interface, as in {address}%eth0")


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port, or the path of a Unix socket.

    With a `path`, `host` is empty and `port` is 0.
    """

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str, field_name: str = "listen") -> "Address":
        """Read "127.0.0.1:8080", "[::1]:8080" or "unix:/run/a.sock"; raise ConfigError otherwise.

        The error names `field_name`.
        """
        try:
            return _read(text, _LISTEN_FORMS if field_name == "listen" else _FORMS)
        except ValueError as error:
            raise ConfigError(field_name, str(error)) from None

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else format_authority(self.host, self.port)


def _read(text: str, forms: str) -> Address:
    problem = f"{text!r} is not {forms}"
    path = _PATH.fullmatch(text)
    if path is not None:
        return Address("", 0, path[1])
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > MAX_PORT:
        raise ValueError(problem)
    try:
        host = ip_address(match["v6"] or match["v4"])
    except ValueError:
        raise ValueError(problem) from None
    if (host.version == 6) != (match["v6"] is not None):
        raise ValueError(problem)
    check_zone(host)
    return Address(str(host), int(match["port"]))


def listen_entry(text: str) -> Address | int:
    """Read an entry of `listen`: an address, or the descriptor in "fd://3"; raise ValueError."""
    match = _DESCRIPTOR.fullmatch(text)
    return _read(text, _LISTEN_FORMS) if match is None else int(match[1])


def bind_address(text: str) -> str:
    """Check an address that is bound, without descriptors; raise ValueError for anything else."""
    _read(text, _FORMS)
    return text


def upstream_host(text: str) -> str:
    """Read a host name, or an IP address with or without brackets; raise ValueError otherwise.

    Returns an address in its shortest form and without brackets.
    """
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ip_address(inner)
    except ValueError:
        pass
    else:
        check_zone(address)
        return str(address)
    # Digits and dots that are not an address are a mistyped address.
    if inner is text and ANY_HOST_NAME.fullmatch(text) and re.search("[^0-9.]", text):
        return text
    raise ValueError(f"{text!r} is not a host name or an IP address")

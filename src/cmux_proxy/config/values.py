"""Entries of lists in a configuration: port ranges, host patterns, networks, domains, tokens.

Each parser raises ValueError with one clause that names its argument.
"""

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, NamedTuple, Self

from cmux_proxy.config.address import MAX_PORT
from cmux_proxy.config.host_names import HOST_NAME

Network = IPv4Network | IPv6Network

# A client that connects through a Unix socket and has no address.
UNIX_PEER: Final = "unix:"

# The placeholder for the workspace's name in a template.
WORKSPACE: Final = "{workspace}"

_RANGE: Final = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?", re.ASCII)
# Segments of pchar (RFC 3986 section 3.3).
_URL_PATH: Final = re.compile(r"(?:/(?:[\w.~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)+", re.ASCII)
_PORT_SUFFIX: Final = re.compile(r":[0-9]{1,5}\Z", re.ASCII)
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_LOOPBACK_NAMES: Final = frozenset(
    ["ip6-localhost", "ip6-loopback", "localhost.localdomain", "localhost4", "localhost6",
     "localhost4.localdomain4", "localhost6.localdomain6", "loopback"]
)  # fmt: skip


class PortRange(NamedTuple):
    """The ports from `first` to `last`, both included."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "3000" or "5000-5999"."""
        match = _RANGE.fullmatch(text)
        if match is not None:
            first = int(match["first"])
            last = int(match["last"] or first)
            if 1 <= first <= last <= MAX_PORT:
                return cls(first, last)
        raise ValueError(
            f"{text!r} is neither a port from 1 to {MAX_PORT} nor a range like 5000-5999"
        )

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class HostPattern(NamedTuple):
    """A host in lower case and without brackets; if `is_suffix`, all names that end with it."""

    host: str
    is_suffix: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "app.example", "*.example", "127.0.0.1" or "[::1]"."""
        lower = text.lower()
        is_suffix = lower.startswith("*.")
        name = lower.removeprefix("*.")
        if _is_bracketed_ipv6(lower):
            return cls(str(IPv6Address(lower[1:-1])), False)
        if HOST_NAME.fullmatch(name) is not None:
            return cls("." + name if is_suffix else name, is_suffix)
        raise ValueError(f"{text!r} is neither a host without a port nor a pattern like *.example")

    def matches(self, host: str) -> bool:
        """Return whether the pattern includes a host, which has the form of `plain_host`."""
        return host.endswith(self.host) if self.is_suffix else host == self.host


def _is_bracketed_ipv6(text: str) -> bool:
    if not (text.startswith("[") and text.endswith("]")):
        return False
    try:
        IPv6Address(text[1:-1])
    except ValueError:
        return False
    return "%" not in text


def plain_host(value: bytes) -> str:
    """Return the host of a valid Host value: lower case, no port, brackets or dot at the end."""
    text = value.decode("latin-1").lower()
    if text.startswith("["):
        inner = text[1 : text.index("]")]
        try:
            return str(IPv6Address(inner))
        except ValueError:
            return inner
    return text.partition(":")[0].removesuffix(".")


def file_path(text: str) -> str:
    """Return the path of a file."""
    if not text:
        raise ValueError("the path of a file is empty")
    return text


def domain(text: str) -> str:
    """Read "example.dev", a name of two labels or more; return it in lower case."""
    lower = text.lower()
    if "." not in lower or HOST_NAME.fullmatch(lower) is None:
        raise ValueError(f"{text!r} is not a domain like example.dev")
    return lower


def host_template(text: str) -> str:
    """Read "{workspace}.example", a DNS name with exactly one placeholder for the workspace.

    A dot at the end keeps the resolver from trying the name below its search domains.
    """
    name = text.replace(WORKSPACE, "w").removesuffix(".")
    if text.count(WORKSPACE) != 1 or HOST_NAME.fullmatch(name) is None:
        raise ValueError(f"{text!r} is not a host name with {WORKSPACE} in it")
    try:
        check_machine(name)
    except ValueError as error:
        raise ValueError(f"{text!r} {error}") from None
    return text


def check_machine(host: str) -> None:
    """Raise ValueError, with one clause, unless a host can only be the name of another machine.

    Resolvers read numbers as IPv4 addresses without a DNS query, in every form of inet_aton, and a
    name that ends with a number does not exist in DNS (RFC 3696 section 2). Names of the loopback
    are localhost, all names below it (RFC 6761 section 6.3), and those of usual hosts files.
    """
    name = host.lower().removesuffix(".")
    last = name.rpartition(".")[2]
    if ":" in name or _NUMBER.fullmatch(last) is not None:
        raise ValueError("makes a host that is read as an IP address")
    if last == "localhost" or name in _LOOPBACK_NAMES:
        raise ValueError("makes a host that is a name of the loopback")
    if HOST_NAME.fullmatch(name) is None:
        raise ValueError("makes a host that is too long for DNS")


def host_value(text: str) -> str:
    """Read a value of Host: "app.example", "127.0.0.1:3000" or "[::1]:3000"."""
    host, colon, port = text.rpartition(":") if _PORT_SUFFIX.search(text) else (text, "", "")
    is_host = HOST_NAME.fullmatch(host.lower()) is not None or _is_bracketed_ipv6(host)
    if is_host and (not colon or 1 <= int(port) <= MAX_PORT):
        return text
    raise ValueError(f"{text!r} is not a host, with or without a port")


def url_path(text: str) -> str:
    """Read the path of a URL, without a query: "/healthz" (RFC 3986 section 3.3)."""
    if _URL_PATH.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a path such as /healthz")
    return text


def peer_network(text: str) -> Network | None:
    """Read "10.0.0.0/8", "192.0.2.7" or "fd00::/8"; return None for "unix:"."""
    if text == UNIX_PEER:
        return None
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an IP address, a network like 10.0.0.0/8, or {UNIX_PEER}"
        ) from None


class Peers:
    """The clients in any of some networks, and those of Unix sockets if "unix:" is listed."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks = [peer_network(text) for text in texts]

    def include(self, peer: str) -> bool:
        """Return whether an IP address, "unix:", or "" for an unknown peer, is one of them."""
        if peer == UNIX_PEER:
            return None in self._networks
        if not peer:
            return False
        address = plain_address(peer)
        return any(network is not None and address in network for network in self._networks)


def plain_address(host: str) -> IPv4Address | IPv6Address:
    """Return the address without its zone; the IPv4 address of an IPv4-mapped one."""
    address = ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def web_address(text: str) -> str:
    """Check the URL of an HTTP service, without a query; raise ValueError for anything else."""
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname and not parts.query:
        return text
    raise ValueError(f"{text!r} is not a URL such as http://127.0.0.1:4318")


def web_origin(text: str) -> str:
    """Check an origin as browsers send it (RFC 6454 section 6.2); raise ValueError otherwise."""
    if _ORIGIN.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an origin such as https://app.example, in lower case")
    return text


def auth_token(text: str) -> str:
    """Check a token; the error does not show it, because it may be a secret nevertheless."""
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise ValueError("a token is at least one visible ASCII character, without blanks")
    return text

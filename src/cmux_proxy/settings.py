"""The parts of a configuration: limits, timeouts, pool, access; each validates itself.

Knows what a value may be, not what it does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from cmux_proxy.entries import (
    HostPattern,
    PortRange,
    client_network,
    domain,
    host_template,
    host_value,
)
from cmux_proxy.errors import ConfigError

ForwardedMode = Literal["preserve", "append", "strip"]

# Below it every name is this machine, for browsers above all (RFC 6761 section 6.3).
LOCALHOST = "localhost"
LEAST_BUFFER = 16 * 1024
MOST_BUFFER = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may measure, in bytes where nothing else is said, and how many may come.

    None does not limit; `clients` is bounded by the file descriptors all the same.
    """

    request_line: int = 16 * 1024
    header_section: int = 64 * 1024
    header_fields: int = 256
    response_head: int = 128 * 1024
    response_fields: int = 1024
    chunk_extensions: int = 16 * 1024
    trailers: int = 16 * 1024
    buffer: int = MOST_BUFFER
    clients: int | None = None
    clients_per_address: int | None = None
    upstream_connections: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None and name in ("clients", "clients_per_address", "upstream_connections"):
                continue
            least, most = (LEAST_BUFFER, MOST_BUFFER) if name == "buffer" else (1, math.inf)
            check_number(f"limits.{name}", value, least, most)


_MAY_BE_NONE = ("head", "idle", "request_body", "response_head", "response_body", "tunnel")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds; None waits for ever."""

    connect: float = 5.0
    connect_retry: float = 0.0
    most_wait: float = 60.0
    head: float | None = 15.0
    idle: float | None = 75.0
    request_body: float | None = 60.0
    response_head: float | None = None
    response_body: float | None = None
    tunnel: float | None = None
    linger: float = 5.0
    drain: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None and name in _MAY_BE_NONE:
                continue
            check_number(f"timeouts.{name}", value, least=0)
        if self.connect == 0:
            raise ConfigError("timeouts.connect", "0 leaves no time to connect")


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many idle upstream connections are kept, and for how many seconds."""

    per_target: int = 256
    total: int = 1024
    idle: float = 4.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            check_number(f"pool.{name}", getattr(self, name), least=0)


@dataclass(frozen=True, slots=True)
class Routing:
    """How a request says where it goes, besides the port field.

    `workspace_host` makes the name of a workspace's machine, such as "{workspace}.svc.example";
    without it a workspace has a loopback address. `host_suffixes` are domains below which a host
    names a port, besides localhost; `ignore_hosts` turns that off for all of them.
    """

    workspace_host: str | None = None
    host_suffixes: Sequence[str] = ()
    ignore_hosts: bool = False

    def __post_init__(self) -> None:
        check_list("routing.host_suffixes", self.host_suffixes, domain)
        object.__setattr__(self, "host_suffixes", tuple(map(str.lower, self.host_suffixes)))
        if self.workspace_host is not None:
            try:
                host_template(self.workspace_host)
            except ValueError as error:
                raise ConfigError("routing.workspace_host", str(error)) from None
        check_boolean("routing.ignore_hosts", self.ignore_hosts)

    def suffixes(self) -> list[str]:
        """Return all domains below which a host names a port."""
        return [] if self.ignore_hosts else [LOCALHOST, *self.host_suffixes]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Which fields of a request change on the way; what is not named here stays as it came.

    `host_header` is "preserve", "upstream", which is localhost and the port, or a host. With
    `rewrite_origin` Origin and Referer follow a Host that changes. `forwarded` is "preserve",
    "append" or "strip"; only `trusted_proxies`, IP addresses or networks, are believed.
    """

    host_header: str = "preserve"
    rewrite_origin: bool = False
    forwarded: ForwardedMode = "preserve"
    forwarded_rfc7239: bool = False
    trusted_proxies: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_list("rewriting.host_header", [self.host_header], host_value)
        check_list("rewriting.trusted_proxies", self.trusted_proxies, client_network)
        object.__setattr__(self, "trusted_proxies", tuple(self.trusted_proxies))
        if self.forwarded not in get_args(ForwardedMode):
            names = ", ".join(get_args(ForwardedMode))
            raise ConfigError("rewriting.forwarded", f"{self.forwarded!r} is not one of {names}")
        for name in ("rewrite_origin", "forwarded_rfc7239"):
            check_boolean(f"rewriting.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in and where to; what is empty does not restrict.

    Ports are like "3000" or "5000-5999", and a denied one is denied even if it is allowed; hosts
    are like "app.example", "*.example" or "[::1]", without a port; clients are IP addresses or
    networks. A request has to carry one of the `tokens`.
    """

    allow_ports: Sequence[str] = ()
    deny_ports: Sequence[str] = ()
    allow_hosts: Sequence[str] = ()
    allow_clients: Sequence[str] = ()
    tokens: Sequence[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name, parse in _ENTRIES.items():
            check_list(f"access.{name}", getattr(self, name), parse)
            object.__setattr__(self, name, tuple(getattr(self, name)))


def _token(text: str) -> None:
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        # What it was is not told: it may be a secret all the same.
        raise ValueError("a token is at least one visible ASCII character, without blanks")


_ENTRIES: Final[dict[str, Callable[[str], object]]] = {
    "allow_ports": PortRange.parse,
    "deny_ports": PortRange.parse,
    "allow_hosts": HostPattern.parse,
    "allow_clients": client_network,
    "tokens": _token,
}


def check_boolean(name: str, value: object) -> None:
    """Raise ConfigError unless it is True or False."""
    if type(value) is not bool:
        raise ConfigError(name, f"{value!r} is neither True nor False")


def check_list(name: str, texts: Sequence[str], parse: Callable[[str], object]) -> None:
    """Raise ConfigError unless these are strings of which `parse` can make something."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(name, "needs a list of strings")
    for text in texts:
        try:
            parse(text)
        except ValueError as error:
            raise ConfigError(name, str(error)) from None


def check_number(name: str, value: object, least: float, most: float = math.inf) -> None:
    """Raise ConfigError unless `value` is a finite number from `least` to `most`."""
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
        and value < math.inf
    ):
        return
    bounds = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
    raise ConfigError(name, f"{value!r} is not a number {bounds}")

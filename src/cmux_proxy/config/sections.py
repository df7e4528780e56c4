"""The parts of a configuration: limits, timeouts, pool, access; each validates itself.

Knows what a value may be, not what it does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from cmux_proxy.config.validators import (
    check_boolean,
    check_choice,
    check_list,
    check_mode,
    check_number,
)
from cmux_proxy.config.values import (
    HostPattern,
    PortRange,
    domain,
    host_template,
    host_value,
    peer_network,
    web_address,
)
from cmux_proxy.errors import ConfigError

ForwardedMode = Literal["preserve", "append", "strip"]
AccessLogMode = Literal["off", "errors", "all"]
LogFormat = Literal["text", "json", "combined"]

# Below it every name is this machine, for browsers above all (RFC 6761 section 6.3).
LOCALHOST = "localhost"
MIN_BUFFER = 16 * 1024
MAX_BUFFER = 256 * 1024


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
    buffer: int = MAX_BUFFER
    clients: int | None = None
    clients_per_address: int | None = None
    upstream_connections: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None and name in ("clients", "clients_per_address", "upstream_connections"):
                continue
            least, most = (MIN_BUFFER, MAX_BUFFER) if name == "buffer" else (1, math.inf)
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
    """How many idle upstream connections are kept, and for how many seconds each; 0 keeps none.

    None keeps as many as were busy lately, and as the file descriptors allow.
    """

    total: int | None = None
    idle: float = 4.0

    def __post_init__(self) -> None:
        if self.total is not None:
            check_number("pool.total", self.total, least=0)
        check_number("pool.idle", self.idle, least=0)


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
        check_list("rewriting.trusted_proxies", self.trusted_proxies, peer_network)
        object.__setattr__(self, "trusted_proxies", tuple(self.trusted_proxies))
        check_choice("rewriting.forwarded", self.forwarded, get_args(ForwardedMode))
        for name in ("rewrite_origin", "forwarded_rfc7239"):
            check_boolean(f"rewriting.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in and where to; what is empty does not restrict.

    Ports are like "3000" or "5000-5999", and a denied one is denied even if it is allowed; hosts
    are like "app.example", "*.example" or "[::1]", without a port; clients are IP addresses or
    networks. A request has to carry one of the `tokens`; the command reads them again from the file
    `token_file` at SIGHUP.
    """

    allow_ports: Sequence[str] = ()
    deny_ports: Sequence[str] = ()
    allow_hosts: Sequence[str] = ()
    allow_clients: Sequence[str] = ()
    tokens: Sequence[str] = field(default=(), repr=False)
    token_file: str | None = None

    def __post_init__(self) -> None:
        for name, parse in _ENTRIES.items():
            check_list(f"access.{name}", getattr(self, name), parse)
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.token_file is not None and not self.tokens:
            raise ConfigError("access.token_file", "needs the tokens that were read from it")


@dataclass(frozen=True, slots=True)
class Observability:
    """What is told of exchanges, and to whom.

    `access_log` is "off", "errors", which are those that the proxy answered by itself or broke off,
    or "all"; its lines are "text", "json" or "combined". They go to `access_log_file`, which the
    command `cmux-proxy` appends to, else to standard error; in other programs always to the
    logger "cmux_proxy.access". `admin` is the address of the command's admin listener; where it
    is set, exchanges are counted. `admin_unix_mode` are the permissions of its file where it is a
    Unix socket. `metrics_per_port` has its metrics tell ports apart. `otlp` is
    the URL of a collector of OpenTelemetry, which gets a span for each exchange.
    """

    access_log: AccessLogMode = "errors"
    log_format: LogFormat = "text"
    access_log_file: str | None = None
    admin: str | None = None
    metrics_per_port: bool = False
    otlp: str | None = None
    admin_unix_mode: int = 0o600

    def __post_init__(self) -> None:
        check_choice("observability.access_log", self.access_log, get_args(AccessLogMode))
        check_choice("observability.log_format", self.log_format, get_args(LogFormat))
        if self.access_log_file is not None and not isinstance(self.access_log_file, str):
            raise ConfigError("observability.access_log_file", "needs a path, as a string")
        check_boolean("observability.metrics_per_port", self.metrics_per_port)
        check_mode("observability.admin_unix_mode", self.admin_unix_mode)
        if self.otlp is not None:
            check_list("observability.otlp", [self.otlp], web_address)


def _token(text: str) -> None:
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        # What it was is not told: it may be a secret all the same.
        raise ValueError("a token is at least one visible ASCII character, without blanks")


_ENTRIES: Final[dict[str, Callable[[str], object]]] = {
    "allow_ports": PortRange.parse,
    "deny_ports": PortRange.parse,
    "allow_hosts": HostPattern.parse,
    "allow_clients": peer_network,
    "tokens": _token,
}

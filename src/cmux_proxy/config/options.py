"""The table of flags: each has a field of Config, a variable, a kind of value and a line of help.

`cli.py` makes a command of it. A variable is called as its flag, with CMUX_ before it.
"""

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, get_args

import click

from cmux_proxy.config.option_types import (
    OFF,
    BusyPoll,
    Count,
    Duration,
    List,
    Mode,
    Size,
    TokenFile,
    WorkerCount,
)
from cmux_proxy.config.proxy_config import DEFAULT_LISTEN, Config, LogLevel, LoopName, listen_entry
from cmux_proxy.config.sections import (
    Access,
    AccessLogMode,
    ForwardedMode,
    Limits,
    LogFormat,
    Observability,
    PoolLimits,
    Rewriting,
    Routing,
    Timeouts,
)
from cmux_proxy.config.token_file import Tokens
from cmux_proxy.config.values import HostPattern, PortRange, domain, peer_network
from cmux_proxy.errors import ConfigError

TOKEN_VARIABLE: Final = "CMUX_AUTH_TOKEN"  # noqa: S105

_KIB: Final = 1024
_PARTS: Final = {
    "access": Access,
    "limits": Limits,
    "observability": Observability,
    "pool": PoolLimits,
    "rewriting": Rewriting,
    "routing": Routing,
    "timeouts": Timeouts,
}


class Flag(NamedTuple):
    """One flag; `field` is the dotted name of what it sets, `shown` how its default is told."""

    name: str
    field: str
    kind: click.ParamType[Any]
    help: str
    shown: str = ""
    metavar: str | None = None

    @property
    def variable(self) -> str:
        """The variable that the flag beats."""
        return "CMUX_" + self.name.upper().replace("-", "_")

    @property
    def parameter(self) -> str:
        """The name under which click passes the value."""
        return self.name.replace("-", "_")

    @property
    def is_list(self) -> bool:
        """Whether it may be repeated."""
        return isinstance(self.kind, List)


GROUPS: Final[dict[str, list[Flag]]] = {
    "Addresses and routes": [
        Flag("listen", "listen", List("ADDRESS", listen_entry),
             "Where to listen: IPv4:PORT, [IPv6]:PORT, unix:/PATH, or fd://N for a socket that was "
             "passed; repeatable, or comma-separated. Port 0 lets the system choose.",
             ",".join(DEFAULT_LISTEN)),
        Flag("unix-mode", "unix_mode", Mode(),
             "Permissions of the files of the proxy's Unix sockets, such as 660.",
             "up to the umask"),
        Flag("upstream-host", "upstream_host", click.STRING,
             "Host whose ports are served, a name or an IP address.",
             "127.0.0.1, and where that refuses ::1"),
        Flag("workspace-host", "routing.workspace_host", click.STRING,
             "Name of a workspace's machine, such as {workspace}.example.",
             "a loopback address for each"),
        Flag("host-suffix", "routing.host_suffixes", List("DOMAIN", domain),
             "Domain below which a host names a port, as in 3000.example.dev, besides localhost; "
             "repeatable.", "none"),
        Flag("no-host-routing", "routing.ignore_hosts", click.BOOL,
             "Let no host name a port."),
    ],
    "Rewriting": [
        Flag("host-header", "rewriting.host_header", click.STRING,
             "Host that upstreams get: preserve it, upstream for localhost and the port, or a host "
             "of your own.", "", "preserve|upstream|HOST"),
        Flag("rewrite-origin", "rewriting.rewrite_origin", click.BOOL,
             "Have Origin and Referer follow a Host that changes."),
        Flag("forwarded", "rewriting.forwarded", click.Choice(get_args(ForwardedMode)),
             "What becomes of X-Forwarded-For, -Host, -Proto and Forwarded."),
        Flag("forwarded-rfc7239", "rewriting.forwarded_rfc7239", click.BOOL,
             "With --forwarded append, tell it in Forwarded too."),
        Flag("trusted-proxy", "rewriting.trusted_proxies", List("NETWORKS", peer_network),
             "Addresses and networks whose forwarded fields are believed, and unix: for Unix "
             "sockets; repeatable.", "none"),
    ],
    "Access": [
        Flag("auth-token-file", "access.tokens", TokenFile(),
             "File with the tokens, one in a line, of which every request has to carry one, in "
             f"X-Cmux-Token or Proxy-Authorization; SIGHUP reads it again. {TOKEN_VARIABLE} may "
             "hold one instead.", OFF),
        Flag("allow-port", "access.allow_ports", List("PORTS", PortRange.parse),
             "Ports that may be reached, such as 3000,5000-5999; repeatable.", "all"),
        Flag("deny-port", "access.deny_ports", List("PORTS", PortRange.parse),
             "Ports that may not be reached, allowed or not; repeatable.", "none"),
        Flag("allow-host", "access.allow_hosts", List("HOSTS", HostPattern.parse),
             "Hosts that requests may be for, such as app.example,*.example; repeatable.", "all"),
        Flag("allow-client", "access.allow_clients", List("NETWORKS", peer_network),
             "Addresses and networks that may connect, such as 10.0.0.0/8, and unix: for Unix "
             "sockets; repeatable.", "all"),
    ],
    "Timeouts": [
        Flag("connect-timeout", "timeouts.connect", Duration(),
             "How long a connection to an upstream may take to come about."),
        Flag("connect-retry", "timeouts.connect_retry", Duration(),
             "How long to dial again while a port refuses."),
        Flag("max-wait", "timeouts.most_wait", Duration(),
             "How long a request may ask for that, in X-Cmux-Wait; 0 lets none."),
        Flag("head-timeout", "timeouts.head", Duration(may_be_off=True),
             "How long a request head may take, from its first byte."),
        Flag("idle-timeout", "timeouts.idle", Duration(may_be_off=True),
             "How long a client's connection may be without a request."),
        Flag("body-timeout", "timeouts.request_body", Duration(may_be_off=True),
             "How long a request body may make no progress."),
        Flag("response-timeout", "timeouts.response_head", Duration(may_be_off=True),
             "How long an upstream may take to begin its answer to a whole request."),
        Flag("response-idle-timeout", "timeouts.response_body", Duration(may_be_off=True),
             "How long a response body may make no progress."),
        Flag("tunnel-timeout", "timeouts.tunnel", Duration(may_be_off=True),
             "How long a tunnel may be silent in both directions."),
        Flag("upstream-idle-timeout", "pool.idle", Duration(),
             "How long a connection to an upstream is kept for the next request; 0 keeps none."),
        Flag("drain-timeout", "timeouts.drain", Duration(),
             "How long requests and tunnels may go on after SIGTERM or SIGINT."),
    ],
    "Limits": [
        Flag("max-request-line", "limits.request_line", Size(), "Longest request line."),
        Flag("max-header-section", "limits.header_section", Size(),
             "Largest header section of a request."),
        Flag("max-header-fields", "limits.header_fields", Count(),
             "Most header fields of a request."),
        Flag("max-response-head", "limits.response_head", Size(),
             "Longest status line, and largest header section, of a response."),
        Flag("max-response-fields", "limits.response_fields", Count(),
             "Most header fields of a response."),
        Flag("max-chunk-extensions", "limits.chunk_extensions", Size(),
             "Most bytes of chunk extensions in one body."),
        Flag("max-trailers", "limits.trailers", Size(), "Largest trailer section."),
        Flag("max-buffer", "limits.buffer", Size(),
             "Most bytes held for each direction of a connection; from 16k to 256k."),
        Flag("max-clients", "limits.clients", Count(may_be_off=True),
             "Most connections of clients at a time; more of them wait.",
             "40% of the file descriptors"),
        Flag("max-clients-per-address", "limits.clients_per_address", Count(may_be_off=True),
             "Most connections from one IP address at a time."),
        Flag("max-upstream-connections", "limits.upstream_connections", Count(may_be_off=True),
             "Most connections to one port at a time."),
        Flag("max-idle-upstream-connections", "pool.total", Count(may_be_off=True),
             "Most idle connections to upstreams.", "as many as were busy lately"),
    ],
    "Observation": [
        Flag("access-log", "observability.access_log", click.Choice(get_args(AccessLogMode)),
             "Which exchanges are logged; errors are those that the proxy answered by itself or "
             "broke off."),
        Flag("log-format", "observability.log_format", click.Choice(get_args(LogFormat)),
             "How lines of the access log look."),
        Flag("access-log-file", "observability.access_log_file", click.Path(dir_okay=False),
             "File that the access log is appended to; SIGHUP opens it again. - is standard "
             "output.", "standard error"),
        Flag("admin", "observability.admin", click.STRING,
             "Address for metrics, lists and a dashboard, such as 127.0.0.1:9179.", OFF, "ADDRESS"),
        Flag("admin-unix-mode", "observability.admin_unix_mode", Mode(),
             "Permissions of the admin listener's file, where it is a Unix socket.", "600"),
        Flag("metrics-per-port", "observability.metrics_per_port", click.BOOL,
             "Have the metrics of --admin tell the first 100 ports apart that have answered."),
        Flag("otlp", "observability.otlp", click.STRING,
             "Collector that gets a span for each exchange, such as http://127.0.0.1:4318.", OFF,
             "URL"),
    ],
    "Process": [
        Flag("workers", "workers", WorkerCount(),
             "How many processes share the addresses; auto takes as many as there are CPUs to run "
             "on.", "", "N|auto"),
        Flag("loop", "loop", click.Choice(get_args(LoopName)),
             "Event loop; auto takes uvloop where it is installed."),
        Flag("busy-poll", "busy_poll", BusyPoll(),
             "How long to look for events without sleeping after something has arrived, such as "
             "50us; at most 10ms. Saves wake-ups, at the price of CPU time.", OFF),
        Flag("log-level", "log_level", click.Choice(get_args(LogLevel)),
             "Least level of what is logged to standard error."),
    ],
}  # fmt: skip
FLAGS: Final = [flag for flags in GROUPS.values() for flag in flags]


def default_of(flag: Flag) -> object:
    """Return what the flag's field is where nothing sets it."""
    value: object = Config()
    for name in flag.field.split("."):
        value = getattr(value, name)
    return value


def shown_default(flag: Flag) -> str:
    """Return the default as the help tells it."""
    value = default_of(flag)
    if flag.shown:
        return flag.shown
    if value is None or value is False:
        return OFF
    if isinstance(flag.kind, Duration):
        return f"{value:g}s"
    if isinstance(flag.kind, Size) and isinstance(value, int):
        return f"{value // _KIB}k"
    return str(value)


def config_from(values: Mapping[str, Any]) -> Config:
    """Return what the flags' values, by parameter, come to; raise ConfigError."""
    parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    whole: dict[str, Any] = {}
    for flag in FLAGS:
        value = values[flag.parameter]
        if flag.is_list:
            value = [entry for entries in value for entry in entries]
        part, _, name = flag.field.rpartition(".")
        (parts[part] if part else whole)[name] = value
    tokens = parts["access"]["tokens"]
    parts["access"]["token_file"] = tokens.path if isinstance(tokens, Tokens) else None
    parts["access"]["tokens"] = tokens or _token_of_environment()
    made = {part: kind(**parts[part]) for part, kind in _PARTS.items()}
    return Config(**whole, **made)


def _token_of_environment() -> list[str]:
    token = os.environ.get(TOKEN_VARIABLE, "")
    try:
        return list(Access(tokens=[token] if token else []).tokens)
    except ConfigError as error:
        raise ConfigError(TOKEN_VARIABLE, error.reason) from None


def flag_of(field: str) -> Flag | None:
    """Return the flag that sets a field of Config, if one does."""
    return next((flag for flag in FLAGS if flag.field == field), None)

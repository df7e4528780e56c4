"""The sections of a configuration. A field is the one source of its flag, default, bounds and help.

Command line, variables, file, manual page, reference pages and shell completion follow from the
fields here and in `proxy_config.py`; `options.py` makes the table. To add a flag, add a field, and
run `make pages`. Does not know what a setting does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, get_args

from cmux_proxy.config.address import bind_address
from cmux_proxy.config.setting import option, read_settings
from cmux_proxy.config.validators import Choice, Entries, FileName, Mode, Number, Switch, Text, Unit
from cmux_proxy.config.values import (
    HostPattern,
    PortRange,
    auth_token,
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

# For browsers every name below it is this machine (RFC 6761 section 6.3).
LOCALHOST: Final = "localhost"
MIN_BUFFER: Final = 16 * 1024
MAX_BUFFER: Final = 256 * 1024
# Windows of HTTP/2 begin with this size (RFC 9113 section 6.9.2), and cannot be larger than the
# other (section 6.9.1).
MIN_WINDOW: Final = 65_535
MAX_WINDOW: Final = 2**31 - 1
# The variable with a single token, in place of a file.
TOKEN_VARIABLE: Final = "CMUX_AUTH_TOKEN"  # noqa: S105

_SIZE: Final = Number(Unit.BYTES, 1)
_COUNT: Final = Number(Unit.ITEMS, 1)
_COUNT_OR_NONE: Final = Number(Unit.ITEMS, 1, may_be_none=True)
_WINDOW: Final = Number(Unit.BYTES, MIN_WINDOW, MAX_WINDOW, is_whole=True)
_SECONDS: Final = Number(Unit.SECONDS)
_SECONDS_OR_NONE: Final = Number(Unit.SECONDS, may_be_none=True)

_route: Final = partial(option, group="Addresses and routes")
_rewrite: Final = partial(option, group="Rewriting")
_access: Final = partial(option, group="Access")
_timeout: Final = partial(option, group="Timeouts")
_limit: Final = partial(option, group="Limits")
_observation: Final = partial(option, group="Observation")


# fmt: off
@dataclass(frozen=True, slots=True)
class Routing:
    """How a request names its target, in addition to the port field."""

    workspace_host: str | None = _route(None, Text("TEMPLATE", host_template), "workspace-host",
        "Host name of a workspace's machine, such as {workspace}.example.",
        default_text="a loopback address per workspace", example="{workspace}.example")
    host_suffixes: Sequence[str] = _route((), Entries("DOMAIN", domain, stores_parsed=True),
        "host-suffix", "Domain whose subdomains name a port, as in 3000.example.dev, in addition "
        "to localhost; repeatable.", default_text="none", example=["example.dev"])
    no_host_routing: bool = _route(False, Switch(), "no-host-routing", "Do not route by host name.")

    def __post_init__(self) -> None:
        read_settings(self, "routing.")

    def suffixes(self) -> list[str]:
        """Return all domains whose subdomains name a port."""
        return [] if self.no_host_routing else [LOCALHOST, *self.host_suffixes]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Which request headers the proxy changes; all others are forwarded unchanged."""

    host_header: str = _rewrite("preserve", Text("preserve|upstream|HOST", host_value, False),
        "host-header", "Host header for upstreams: preserve the client's, upstream for "
        "localhost:PORT, or a fixed host.")
    rewrite_origin: bool = _rewrite(False, Switch(), "rewrite-origin",
        "Rewrite Origin and Referer to match a rewritten Host.")
    forwarded: ForwardedMode = _rewrite("preserve", Choice(get_args(ForwardedMode)), "forwarded",
        "Preserve, append to or strip X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto and "
        "Forwarded.")
    forwarded_rfc7239: bool = _rewrite(False, Switch(), "forwarded-rfc7239",
        "With --forwarded append, write Forwarded too.")
    trusted_proxies: Sequence[str] = _rewrite((), Entries("NETWORKS", peer_network),
        "trusted-proxy", "Addresses and networks whose forwarded headers are trusted; unix: is "
        "every Unix socket; repeatable.", default_text="none", example=["10.0.0.0/8"])

    def __post_init__(self) -> None:
        read_settings(self, "rewriting.")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may connect, and which ports and hosts requests may reach; empty does not restrict."""

    tokens: Sequence[str] = _access((), Entries("TOKEN", auth_token), "",
        "Tokens of visible ASCII characters. Every request must carry one of them.", is_secret=True)
    auth_token_file: str | None = _access(None, FileName(has_tokens=True), "auth-token-file",
        "File with one token per line. Every request must carry one of them, in X-Cmux-Token or "
        f"Proxy-Authorization. SIGHUP reads the file again. {TOKEN_VARIABLE} may hold one token "
        "instead.", example="/etc/cmux-proxy/tokens")
    allow_ports: Sequence[str] = _access((), Entries("PORTS", PortRange.parse), "allow-port",
        "Ports that requests may reach, such as 3000,5000-5999; others get 403; repeatable.",
        default_text="all", example=["3000", "5000-5999"])
    deny_ports: Sequence[str] = _access((), Entries("PORTS", PortRange.parse), "deny-port",
        "Ports that requests may not reach, even if --allow-port includes them; they get 403; "
        "repeatable.", default_text="none", example=[22])
    allow_hosts: Sequence[str] = _access((), Entries("HOSTS", HostPattern.parse), "allow-host",
        "Hosts that requests may name, such as app.example,*.example, whatever the port; others "
        "get 421; CONNECT is exempt; repeatable.", default_text="all",
        example=["app.example", "*.example"])
    allow_clients: Sequence[str] = _access((), Entries("NETWORKS", peer_network), "allow-client",
        "Client addresses and networks that may connect, such as 10.0.0.0/8; unix: is every Unix "
        "socket; others get 403; repeatable.", default_text="all",
        example=["127.0.0.1", "10.0.0.0/8"])

    def __post_init__(self) -> None:
        read_settings(self, "access.")
        if self.auth_token_file is not None and not self.tokens:
            raise ConfigError("access.auth_token_file", "needs the tokens that were read from it")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Times in seconds; None waits forever."""

    connect: float = _timeout(5.0, Number(Unit.SECONDS, excludes_minimum=True), "connect-timeout",
        "Longest time to establish a connection to an upstream; then 504.")
    connect_retry: float = _timeout(0.0, _SECONDS, "connect-retry",
        "How long to retry, every 25 to 250 ms, while a port refuses connections.")
    max_wait: float = _timeout(60.0, _SECONDS, "max-wait",
        "Longest time that X-Cmux-Wait may ask for in place of --connect-retry; 0 ignores the "
        "field.")
    head: float | None = _timeout(15.0, _SECONDS_OR_NONE, "head-timeout",
        "Longest time for a request head, from its first byte; then 408.")
    idle: float | None = _timeout(75.0, _SECONDS_OR_NONE, "idle-timeout",
        "Longest time that a client connection may be idle between requests; then it is closed.")
    body: float | None = _timeout(60.0, _SECONDS_OR_NONE, "body-timeout",
        "Longest time without progress in a request body; then 408, or 504 if the upstream does "
        "not read it.")
    response: float | None = _timeout(None, _SECONDS_OR_NONE, "response-timeout",
        "Longest time until the response begins, from the last byte of the request; then 504.")
    response_idle: float | None = _timeout(None, _SECONDS_OR_NONE, "response-idle-timeout",
        "Longest time without progress in a response body; then the response is aborted.")
    tunnel: float | None = _timeout(None, _SECONDS_OR_NONE, "tunnel-timeout",
        "Longest time without data in either direction of a tunnel; then it is closed.")
    upstream_idle: float = _timeout(4.0, _SECONDS, "upstream-idle-timeout",
        "How long an idle connection to an upstream is kept for reuse; 0 keeps none.")
    linger: float = _timeout(5.0, _SECONDS, "",
        "Longest time to wait for more bytes of the client before closing its connection; six "
        "times that in total.")
    drain_delay: float = _timeout(0.0, _SECONDS, "drain-delay",
        "How long new connections are accepted after SIGTERM or SIGINT, while health is 503 "
        "already, so that a load balancer notices.")
    drain: float = _timeout(10.0, _SECONDS, "drain-timeout",
        "Longest time for requests and tunnels to finish after SIGTERM or SIGINT.")

    def __post_init__(self) -> None:
        read_settings(self, "timeouts.")


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of messages in bytes, numbers of header fields and of connections; None is no limit.

    Lengths of lines and sections include their ends.
    """

    request_line: int = _limit(16 * 1024, _SIZE, "max-request-line",
        "Maximum length of a request line; beyond it 414.")
    header_section: int = _limit(64 * 1024, _SIZE, "max-header-section",
        "Maximum size of the header section of a request; beyond it 431.")
    header_fields: int = _limit(256, _COUNT, "max-header-fields",
        "Maximum number of header fields in a request; beyond it 431.")
    response_head: int = _limit(128 * 1024, _SIZE, "max-response-head",
        "Maximum length of the status line, and size of the header section, of a response; beyond "
        "it 502.")
    response_fields: int = _limit(1024, _COUNT, "max-response-fields",
        "Maximum number of header fields in a response; beyond it 502.")
    chunk_extensions: int = _limit(16 * 1024, _SIZE, "max-chunk-extensions",
        "Maximum size of all chunk extensions in one body; beyond it 400 or 502.")
    trailers: int = _limit(16 * 1024, _SIZE, "max-trailers",
        "Maximum size of a trailer section; beyond it 400 or 502.")
    buffer: int = _limit(MAX_BUFFER, Number(Unit.BYTES, MIN_BUFFER, MAX_BUFFER), "max-buffer",
        "Maximum number of bytes buffered per direction of a connection, from 16k to 256k.")
    clients: int | None = _limit(None, _COUNT_OR_NONE, "max-clients",
        "Maximum number of client connections; more wait in the backlog.",
        default_text="40% of the file descriptors", example=1000)
    clients_per_address: int | None = _limit(None, _COUNT_OR_NONE, "max-clients-per-address",
        "Maximum number of client connections from one IP address, and 100 times as many requests "
        "over HTTP/2 at a time; beyond it 503.")
    upstream_connections: int | None = _limit(None, _COUNT_OR_NONE, "max-upstream-connections",
        "Maximum number of connections to one port, and of requests that wait for one; beyond it "
        "503.")
    idle_upstream_connections: int | None = _limit(None, Number(Unit.ITEMS, may_be_none=True),
        "max-idle-upstream-connections", "Maximum number of idle connections to upstreams.",
        default_text="as many as were busy recently", example=1000)
    http2_streams: int = _limit(100, Number(Unit.ITEMS, 1, MAX_WINDOW, is_whole=True),
        "http2-max-streams", "Maximum number of requests and tunnels at a time on an HTTP/2 "
        "connection; beyond it they are refused.")
    http2_stream_window: int = _limit(MIN_WINDOW, _WINDOW, "http2-stream-window",
        "Maximum number of bytes that an HTTP/2 client may send ahead in a request or a tunnel.",
        default_text="65535", example=65535)
    http2_connection_window: int = _limit(1024 * 1024, _WINDOW, "http2-connection-window",
        "Maximum number of bytes that an HTTP/2 client may send ahead in all of them; at least "
        "as large as --http2-stream-window.")

    def __post_init__(self) -> None:
        read_settings(self, "limits.")
        if self.http2_connection_window < self.http2_stream_window:
            reason = f"{self.http2_connection_window} is smaller than the window of a stream"
            raise ConfigError("limits.http2_connection_window", reason)


@dataclass(frozen=True, slots=True)
class Observability:
    """Access log, admin listener, metrics and traces."""

    access_log: AccessLogMode = _observation("errors", Choice(get_args(AccessLogMode)),
        "access-log", "Which exchanges to log; errors are those that the proxy answered itself or "
        "aborted.")
    log_format: LogFormat = _observation("text", Choice(get_args(LogFormat)), "log-format",
        "Format of the lines in the access log.")
    access_log_file: str | None = _observation(None, FileName(), "access-log-file",
        "File to append the access log to; SIGHUP reopens it, for log rotation. - is standard "
        "output.", default_text="standard error", example="/var/log/cmux-proxy.log")
    admin: str | None = _observation(None, Text("ADDRESS", bind_address), "admin",
        "Address of the admin listener, which has metrics, lists and a dashboard, such as "
        "127.0.0.1:9179 or unix:/PATH.", example="127.0.0.1:9179")
    admin_unix_mode: int = _observation(0o600, Mode(), "admin-unix-mode",
        "File permissions of the admin listener's Unix socket, in octal.")
    metrics_per_port: bool = _observation(False, Switch(), "metrics-per-port",
        "Break the metrics of --admin down by port, for the first 100 ports that respond.")
    otlp: str | None = _observation(None, Text("URL", web_address), "otlp",
        "OpenTelemetry collector that receives a span per exchange, such as "
        "http://127.0.0.1:4318.", example="http://127.0.0.1:4318")

    def __post_init__(self) -> None:
        read_settings(self, "observability.")
# fmt: on

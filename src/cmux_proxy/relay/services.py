"""What all exchanges of one worker use: scanners, routing, the pool, the clock, the counters.

Built once from the configuration and not changed afterwards. What changes while the worker runs is
in `connection_registry.py`.
"""

from collections.abc import Callable, Collection
from functools import partial
from time import gmtime
from typing import TYPE_CHECKING

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.sections import MAX_BUFFER, Access, Rewriting
from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.imf_fixdate import imf_fixdate
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.machine.orphaned_sockets import OrphanQuery
from cmux_proxy.net.backends import Backend
from cmux_proxy.net.disconnects import DisconnectDetector
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import Ticker, Timed
from cmux_proxy.observe.handshake_log import HandshakeLog
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Tally
from cmux_proxy.relay.connection_registry import ConnectionRegistry
from cmux_proxy.relay.downstream import PIPELINE_LIMIT, AdmissionControl
from cmux_proxy.relay.header_rules import Rewriter
from cmux_proxy.relay.health import HealthCheck
from cmux_proxy.relay.plain_text import PlainTextRule
from cmux_proxy.relay.request_options import OPTION_NAMES, TOKEN_FIELD
from cmux_proxy.relay.scheme_rules import SchemeRules
from cmux_proxy.relay.timeouts import TimeoutSeconds
from cmux_proxy.relay.websocket_requests import TunnelRequests
from cmux_proxy.routing.router import RESERVED_PREFIX, RESERVED_SUFFIX, Router
from cmux_proxy.upstream.connection import UpstreamConnection, close_expired
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial import DialFactory
from cmux_proxy.upstream.dialer import Dialer
from cmux_proxy.upstream.http2_settings import Http2Settings
from cmux_proxy.upstream.pool import Pool
from cmux_proxy.upstream.upstream_tls import UpstreamTls

if TYPE_CHECKING:
    from cmux_proxy.http2.engine import Engine
    from cmux_proxy.net.tls_contexts import TlsServer
    from cmux_proxy.relay.access import RequestAccess


class Services:
    """The services of one worker; a rule that is not configured is None, so that it costs nothing.

    `tls` opens sessions with clients, `upstream_tls` those with upstreams. `check_files` is called
    at each tick with the time.
    `is_self` says whether an address is one of the proxy's own listeners.
    """

    __slots__ = (
        "access",
        "admission",
        "busy_poll",
        "call_soon",
        "chunk_rules",
        "dialer",
        "disconnects",
        "handshake_log",
        "has_native_streams",
        "health",
        "head_limits",
        "http2",
        "http2_limits",
        "is_self",
        "loop",
        "observer",
        "plain_text",
        "pool",
        "read_size",
        "registry",
        "request_scanner",
        "response_scanner",
        "rewriter",
        "router",
        "schemes",
        "splice_pipe",
        "tally",
        "ticker",
        "timeouts",
        "tls",
        "tunnel_requests",
    )

    def __init__(
        self,
        config: Config,
        backend: Backend,
        router: Router,
        is_self: Callable[[str, int], bool],
        max_upstreams: int | None,
        observer: Observer | None = None,
        admission: AdmissionControl | None = None,
        tls: "TlsServer | None" = None,
        check_files: Callable[[float], object] | None = None,
        upstream_tls: UpstreamTls | None = None,
    ) -> None:
        self.loop = loop = backend.loop
        self.call_soon = backend.call_soon
        self.has_native_streams = backend.is_native
        limits = config.limits
        self.head_limits = HeadLimits(
            limits.request_line, limits.header_section, limits.header_fields
        )
        self.http2_limits = limits
        # What the HTTP/2 connections of the worker share; made for the first of them.
        self.http2: Engine | None = None
        self.request_scanner = RequestScanner(
            self.head_limits,
            ReservedFields(RESERVED_PREFIX, RESERVED_SUFFIX, OPTION_NAMES, (TOKEN_FIELD,)),
        )
        response_limits = HeadLimits(
            limits.response_head, limits.response_head, limits.response_fields
        )
        self.response_scanner = ResponseScanner(response_limits)
        self.chunk_rules = ChunkRules(
            limits.chunk_extensions, limits.chunk_extensions, limits.trailers, RESERVED_PREFIX
        )
        self.timeouts = TimeoutSeconds(config.timeouts)
        self.router = router
        self.tunnel_requests = TunnelRequests(config.tunnels, config.paths, router)
        self.schemes = SchemeRules.from_config(config.upstreams)
        self.is_self = is_self
        self.access = _request_access(config.access)
        self.admission = admission
        self.plain_text = PlainTextRule.from_config(config.tls)
        self.tls = tls
        self.handshake_log = HandshakeLog()
        self.rewriter = None if config.rewriting == Rewriting() else Rewriter(config.rewriting)
        self.tally = Tally()
        self.observer = observer
        self.pool: Pool[UpstreamConnection] = Pool(
            limits.idle_upstream_connections, config.timeouts.upstream_idle, max_upstreams
        )
        self.read_size = ReadSize(backend.has_read_size, limits.buffer - PIPELINE_LIMIT)
        self.dialer = Dialer(
            DialFactory(
                backend, self.pool, Connector(loop, config.upstream_host is None, is_self),
                self.read_size, config.timeouts.connect, limits.upstream_connections,
                tls=upstream_tls,
                http2=Http2Settings(response_limits, self.chunk_rules),
            )
        )  # fmt: skip
        # A pipe holds more than a small buffer limit allows.
        self.splice_pipe = backend.make_pipe(limits.buffer >= MAX_BUFFER)
        self.busy_poll = backend.start_busy_polling(config.busy_poll) if config.busy_poll else None
        self.registry = registry = ConnectionRegistry()
        self.health = HealthCheck(config.paths, router, registry)
        groups: list[Collection[Timed]] = [
            registry.clients,
            registry.lingering,
            registry.streams,
            registry.websockets,
            registry.tunnels,
        ]
        self.disconnects = DisconnectDetector(groups, OrphanQuery)
        timed = groups[:4] if config.timeouts.tunnel is None else groups
        on_tick: Callable[[float], object] = partial(close_expired, self.pool)
        if check_files is not None:
            on_tick = partial(_call_both, on_tick, check_files)
        self.ticker = registry.ticker = Ticker(loop, timed, on_tick, self.disconnects.check)

    def client_gone(self, stream: Stream) -> None:
        """Make room for another client: the connection of one is gone from the registry."""
        if self.admission is not None:
            self.admission.leave(stream)
        self.registry.changed()

    def date(self) -> bytes:
        """Return the time of day as an IMF-fixdate (RFC 9110 section 5.6.7)."""
        return imf_fixdate(gmtime())


def _request_access(access: Access) -> "RequestAccess | None":
    """Return the rules for requests, whose comparison of tokens loads OpenSSL, if there are any."""
    if access == Access():
        return None
    from cmux_proxy.relay.access import RequestAccess

    return RequestAccess(access)


def _call_both(
    first: Callable[[float], object], second: Callable[[float], object], now: float
) -> None:
    first(now)
    second(now)

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
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Tally
from cmux_proxy.relay.connection_registry import ConnectionRegistry
from cmux_proxy.relay.downstream import PIPELINE_LIMIT, AdmissionControl
from cmux_proxy.relay.header_rules import Rewriter
from cmux_proxy.relay.request_options import OPTION_NAMES, TOKEN_FIELD
from cmux_proxy.relay.timeouts import TimeoutSeconds
from cmux_proxy.routing.router import RESERVED_PREFIX, RESERVED_SUFFIX, Router
from cmux_proxy.upstream.connection import UpstreamConnection, close_expired
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial import DialFactory
from cmux_proxy.upstream.dialer import Dialer
from cmux_proxy.upstream.pool import Pool

if TYPE_CHECKING:
    from cmux_proxy.relay.access import RequestAccess


class Services:
    """The services of one worker; a rule that is not configured is None, so that it costs nothing.

    `is_self` says whether an address is one of the proxy's own listeners.
    """

    __slots__ = (
        "access",
        "admission",
        "busy_poll",
        "chunk_rules",
        "dialer",
        "disconnects",
        "has_native_streams",
        "is_self",
        "observer",
        "pool",
        "read_size",
        "registry",
        "request_scanner",
        "response_scanner",
        "rewriter",
        "router",
        "splice_pipe",
        "tally",
        "ticker",
        "timeouts",
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
    ) -> None:
        loop = backend.loop
        self.has_native_streams = backend.is_native
        limits = config.limits
        self.request_scanner = RequestScanner(
            HeadLimits(limits.request_line, limits.header_section, limits.header_fields),
            ReservedFields(RESERVED_PREFIX, RESERVED_SUFFIX, OPTION_NAMES, (TOKEN_FIELD,)),
        )
        self.response_scanner = ResponseScanner(
            HeadLimits(limits.response_head, limits.response_head, limits.response_fields)
        )
        self.chunk_rules = ChunkRules(
            limits.chunk_extensions, limits.chunk_extensions, limits.trailers, RESERVED_PREFIX
        )
        self.timeouts = TimeoutSeconds(config.timeouts)
        self.router = router
        self.is_self = is_self
        self.access = _request_access(config.access)
        self.admission = admission
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
            )
        )  # fmt: skip
        # A pipe holds more than a small buffer limit allows.
        self.splice_pipe = backend.make_pipe(limits.buffer >= MAX_BUFFER)
        self.busy_poll = backend.start_busy_polling(config.busy_poll) if config.busy_poll else None
        self.registry = registry = ConnectionRegistry()
        groups: list[Collection[Timed]] = [registry.clients, registry.lingering, registry.tunnels]
        self.disconnects = DisconnectDetector(groups, OrphanQuery)
        timed = groups[:2] if config.timeouts.tunnel is None else groups
        close_idle = partial(close_expired, self.pool)
        self.ticker = registry.ticker = Ticker(loop, timed, close_idle, self.disconnects.check)

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

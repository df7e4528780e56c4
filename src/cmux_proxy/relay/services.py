"""What all connections of one proxy share, in one worker."""

from collections.abc import Callable
from email.utils import formatdate
from functools import partial

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.sections import MAX_BUFFER, Access, Rewriting
from cmux_proxy.downstream.admission import Admission
from cmux_proxy.http1.body import ChunkRules
from cmux_proxy.http1.head import HeadLimits
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.machine.orphaned_sockets import OrphanQuery
from cmux_proxy.net.busy_poll import BusyPoll
from cmux_proxy.net.disconnects import DisconnectDetector
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.splice import SplicePipe
from cmux_proxy.net.stream import Loop
from cmux_proxy.net.timers import NEVER, Ticker, Timed
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Tally
from cmux_proxy.relay.access import TOKEN_FIELD, RequestAccess
from cmux_proxy.relay.downstream import EARLY_LIMIT
from cmux_proxy.relay.header_rules import Rewriter
from cmux_proxy.relay.request_options import WISHES
from cmux_proxy.routing.router import RESERVED_PREFIX, RESERVED_SUFFIX, Router
from cmux_proxy.upstream.connection import UpstreamConnection, close_expired
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial import DialFactory
from cmux_proxy.upstream.dialer import Dialer
from cmux_proxy.upstream.pool import Pool


class Context:
    """The scanners, router, pool, dialer and clock of one worker, and who is connected."""

    __slots__ = (
        "access",
        "admission",
        "body_timeout",
        "busy_poll",
        "chunk_rules",
        "clients",
        "conduit",
        "connect_retry",
        "disconnects",
        "dialer",
        "head_timeout",
        "idle_timeout",
        "is_draining",
        "is_full",
        "is_own",
        "is_refusing",
        "linger",
        "most_clients",
        "most_wait",
        "observer",
        "on_change",
        "pool",
        "read_size",
        "request_scanner",
        "response_idle",
        "response_scanner",
        "response_timeout",
        "rewriter",
        "router",
        "tally",
        "ticker",
        "tunnel_idle",
        "tunnels",
    )

    def __init__(
        self,
        config: Config,
        loop: Loop,
        router: Router,
        is_own: Callable[[str, int], bool],
        most_upstreams: int | None,
        observer: Observer | None = None,
    ) -> None:
        limits = config.limits
        self.request_scanner = RequestScanner(
            HeadLimits(limits.request_line, limits.header_section, limits.header_fields),
            ReservedFields(RESERVED_PREFIX, RESERVED_SUFFIX, WISHES, (TOKEN_FIELD,)),
        )
        self.response_scanner = ResponseScanner(
            HeadLimits(limits.response_head, limits.response_head, limits.response_fields)
        )
        self.chunk_rules = ChunkRules(
            limits.chunk_extensions, limits.chunk_extensions, limits.trailers, RESERVED_PREFIX
        )
        self.router = router
        self.pool: Pool[UpstreamConnection] = Pool(
            limits.idle_upstream_connections, config.timeouts.upstream_idle, most_upstreams
        )
        timeouts = config.timeouts
        self.head_timeout = _seconds(timeouts.head)
        self.idle_timeout = _seconds(timeouts.idle)
        self.body_timeout = _seconds(timeouts.body)
        self.response_timeout = _seconds(timeouts.response)
        self.response_idle = _seconds(timeouts.response_idle)
        self.tunnel_idle = _seconds(timeouts.tunnel)
        self.linger = timeouts.linger
        self.connect_retry = timeouts.connect_retry
        self.most_wait = timeouts.max_wait
        self.is_own = is_own
        self.read_size = ReadSize(loop, limits.buffer - EARLY_LIMIT)
        addresses = Connector(loop, config.upstream_host is None, is_own)
        self.dialer = Dialer(
            DialFactory(
                loop, self.pool, addresses, self.read_size, timeouts.connect,
                limits.upstream_connections,
            )
        )  # fmt: skip
        # A pipe holds as much as it holds.
        self.conduit = SplicePipe(limits.buffer >= MAX_BUFFER)
        # None where they are off, so that a request or a connection pays for one comparison.
        self.access = None if config.access == Access() else RequestAccess(config.access)
        self.admission = Admission.of(config)
        self.rewriter = None if config.rewriting == Rewriting() else Rewriter(config.rewriting)
        self.tally = Tally()
        self.observer = observer
        self.clients: set[Timed] = set()
        self.tunnels: set[Timed] = set()
        timed = [self.clients] if timeouts.tunnel is None else [self.clients, self.tunnels]
        self.disconnects = DisconnectDetector([self.clients, self.tunnels], OrphanQuery)
        close_idle = partial(close_expired, self.pool)
        self.ticker = Ticker(loop, timed, close_idle, self.disconnects.check)
        # None where it is off, so that a read pays for one comparison.
        self.busy_poll = BusyPoll(loop, config.busy_poll) if config.busy_poll else None
        # The next answer on a connection is its last; a little later, requests are not begun.
        self.is_draining = False
        self.is_refusing = False
        # The server paces accepting and draining by these.
        self.most_clients = NEVER
        self.is_full = False
        self.on_change: Callable[[], None] | None = None

    def changed(self) -> None:
        """Tell whoever watches when there is no room for connections, room again, or none left."""
        count = len(self.clients) + len(self.tunnels)
        is_full = not self.has_room(0)
        if self.on_change is not None and (is_full != self.is_full or not count):
            # Where others wait for a place, those that hold one for nobody are looked for at once.
            self.is_full = self.ticker.is_urgent = is_full
            self.on_change()

    def has_room(self, coming: int) -> bool:
        """Return whether one more client may be accepted on top of those that are coming."""
        return len(self.clients) + len(self.tunnels) + coming < self.most_clients

    def date(self) -> bytes:
        """Return the time of day as an IMF-fixdate (RFC 9110 section 5.6.7)."""
        return formatdate(usegmt=True).encode("ascii")


def _seconds(timeout: float | None) -> float:
    return NEVER if timeout is None else timeout

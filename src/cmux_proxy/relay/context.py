"""What all connections of one proxy share, in one worker."""

import asyncio
from collections.abc import Callable
from email.utils import formatdate

from cmux_proxy.config import Config
from cmux_proxy.http1.body import ChunkRules
from cmux_proxy.http1.head import HeadLimits
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.observe.outcome import Tally
from cmux_proxy.relay.deadlines import NEVER, Ticker, Timed
from cmux_proxy.routing.router import FAMILY_PREFIX, FAMILY_SUFFIX, Router
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.dial import Dialer
from cmux_proxy.upstream.pool import Pool


class Context:
    """The scanners, router, pool, dialer and clock of one worker, and who is connected."""

    __slots__ = (
        "chunk_rules",
        "clients",
        "dialer",
        "head_timeout",
        "idle_timeout",
        "is_draining",
        "linger",
        "on_change",
        "pool",
        "request_scanner",
        "response_scanner",
        "response_timeout",
        "router",
        "tally",
        "ticker",
        "tunnels",
    )

    def __init__(
        self,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        router: Router,
        is_own: Callable[[str, int], bool],
        most_idle: int,
    ) -> None:
        limits = config.limits
        self.request_scanner = RequestScanner(
            HeadLimits(limits.request_line, limits.header_section, limits.header_fields),
            FAMILY_PREFIX,
            FAMILY_SUFFIX,
        )
        self.response_scanner = ResponseScanner(
            HeadLimits(limits.response_head, limits.response_head, limits.response_fields)
        )
        self.chunk_rules = ChunkRules(
            limits.chunk_extensions, limits.chunk_extensions, limits.trailers, FAMILY_PREFIX
        )
        self.router = router
        self.pool: Pool[UpstreamConnection] = Pool(
            config.pool.per_target, most_idle, config.pool.idle
        )
        timeouts = config.timeouts
        self.head_timeout = _seconds(timeouts.head)
        self.idle_timeout = _seconds(timeouts.idle)
        self.response_timeout = _seconds(timeouts.response_head)
        self.linger = timeouts.linger
        self.dialer = Dialer(
            loop, self.pool, timeouts.connect, config.upstream_host is None, is_own
        )
        self.tally = Tally()
        self.clients: set[Timed] = set()
        self.tunnels: set[Timed] = set()
        self.ticker = Ticker(loop, self.clients, self.pool)
        self.is_draining = False
        # Called when a connection has come or gone; the server paces accepting and draining by it.
        self.on_change: Callable[[], None] | None = None

    def changed(self) -> None:
        """Tell whoever watches that the number of connections has changed."""
        if self.on_change is not None:
            self.on_change()

    def date(self) -> bytes:
        """Return the time of day as an IMF-fixdate (RFC 9110 section 5.6.7)."""
        return formatdate(usegmt=True).encode("ascii")


def _seconds(timeout: float | None) -> float:
    return NEVER if timeout is None else timeout

"""What all connections of one proxy share, in one worker."""

import asyncio
from collections.abc import Callable
from email.utils import formatdate

from cmux_proxy.config import Config
from cmux_proxy.http1.body import ChunkRules
from cmux_proxy.http1.head import HeadLimits
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.observe.outcome import Tally
from cmux_proxy.relay.bulk import Conduit
from cmux_proxy.relay.deadlines import NEVER, Ticker, Timed
from cmux_proxy.relay.polling import BusyPoll
from cmux_proxy.routing.router import FAMILY_PREFIX, FAMILY_SUFFIX, Router
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.dial import Dialer
from cmux_proxy.upstream.pool import Pool


class Context:
    """The scanners, router, pool, dialer and clock of one worker, and who is connected."""

    __slots__ = (
        "busy_poll",
        "chunk_rules",
        "clients",
        "conduit",
        "dialer",
        "head_timeout",
        "idle_timeout",
        "is_draining",
        "is_full",
        "is_refusing",
        "linger",
        "most_clients",
        "on_change",
        "pool",
        "request_scanner",
        "response_scanner",
        "response_timeout",
        "router",
        "sets_read_size",
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
        self.conduit = Conduit()
        self.tally = Tally()
        self.clients: set[Timed] = set()
        self.tunnels: set[Timed] = set()
        self.ticker = Ticker(loop, self.clients, self.pool)
        # None where it is off, so that a read pays for one comparison.
        self.busy_poll = BusyPoll(loop, config.busy_poll) if config.busy_poll else None
        # The next answer on a connection is its last; a little later, requests are not begun.
        self.is_draining = False
        self.is_refusing = False
        # asyncio reads as much at a time as its transport is told; uvloop up to 256,000 bytes.
        self.sets_read_size = isinstance(loop, asyncio.BaseEventLoop)
        # The server paces accepting and draining by these.
        self.most_clients = NEVER
        self.is_full = False
        self.on_change: Callable[[], None] | None = None

    def changed(self) -> None:
        """Tell whoever watches when there is no room for connections, room again, or none left."""
        count = len(self.clients) + len(self.tunnels)
        is_full = count >= self.most_clients
        if self.on_change is not None and (is_full != self.is_full or not count):
            self.is_full = is_full
            self.on_change()

    def date(self) -> bytes:
        """Return the time of day as an IMF-fixdate (RFC 9110 section 5.6.7)."""
        return formatdate(usegmt=True).encode("ascii")


def _seconds(timeout: float | None) -> float:
    return NEVER if timeout is None else timeout

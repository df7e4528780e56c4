"""Deadlines as timestamps that one ticker walks: no timer per request.

A deadline is met up to half a second late, which no peer can tell from a slow network.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.pool import Pool

NEVER: Final = float("inf")
TICK: Final = 0.5
# How often peers are looked for that have left unheard.
LOOK_EVERY: Final = 5.0


class Timed:
    """A connection with a deadline, in seconds of the loop's clock."""

    __slots__ = ("deadline",)

    def __init__(self) -> None:
        self.deadline = NEVER

    def deadline_passed(self) -> None:
        """Act on it; called at every tick until the deadline is moved or the object gone."""
        raise NotImplementedError

    def drain(self) -> None:
        """The proxy is shutting down: end what nobody waits for."""

    def add_unread(self, unread: "list[Unread]") -> None:
        """Add the connections that the event loop does not read now."""

    def abort(self) -> None:
        """The proxy closes: end everything at once."""
        raise NotImplementedError


class Unread(Timed):
    """A connection that the event loop may not read for a while."""

    __slots__ = ("transport",)

    def __init__(self) -> None:
        super().__init__()
        self.transport: asyncio.Transport

    def peer_left(self) -> None:
        """Its peer has left, which nobody has heard; called at every look until it is over."""
        raise NotImplementedError


class Ticker:
    """Keeps `now`, the loop's time as of the last tick, and calls what is due.

    Every few seconds, and at every tick while it `is_urgent`, it has somebody `look` for peers that
    have left.
    """

    __slots__ = ("_handle", "_look", "_loop", "_next_look", "_pool", "_timed", "is_urgent", "now")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timed: Sequence[Collection[Timed]],
        pool: Pool[UpstreamConnection],
        look: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._look = look
        self._timed = timed
        self._pool = pool
        self._handle: asyncio.TimerHandle | None = None
        self.now = loop.time()
        self._next_look = self.now + LOOK_EVERY
        self.is_urgent = False

    def start(self) -> None:
        """Tick from now on."""
        self._handle = self._loop.call_later(TICK, self._tick)

    def stop(self) -> None:
        """Tick no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def walk(self, now: float) -> None:
        """Take `now` for the time and act on every deadline that has passed."""
        self.now = now
        for timed in self._timed:
            for due in [one for one in timed if one.deadline <= now]:
                due.deadline_passed()
        for connection in self._pool.expired(now):
            connection.close()
        if now >= self._next_look or self.is_urgent:
            self._next_look = now + LOOK_EVERY
            self._look()

    def _tick(self) -> None:
        self._handle = self._loop.call_later(TICK, self._tick)
        self.walk(self._loop.time())

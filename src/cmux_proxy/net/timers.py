"""Deadlines as timestamps that one ticker walks: no timer per request.

A deadline is met up to half a second late, which no peer can tell from a slow network. Knows
neither requests nor what a deadline means.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from cmux_proxy.net.stream import Handle, Loop, Stream

NEVER: Final = float("inf")
TICK: Final = 0.5
# How many seconds pass between two checks for peers that have left unnoticed.
CHECK_INTERVAL: Final = 5.0


class Timed:
    """A connection with a deadline, in seconds of the loop's clock."""

    __slots__ = ("deadline",)

    def __init__(self) -> None:
        self.deadline = NEVER

    def deadline_passed(self) -> None:
        """Act on it; called at every tick until the deadline is moved or the object gone."""
        raise NotImplementedError

    def drain(self) -> None:
        """The proxy is shutting down: close what is idle."""

    def add_unread(self, unread: list["Unread"]) -> None:
        """Add the connections that the event loop does not read now."""

    def abort(self) -> None:
        """The proxy closes: end everything at once."""
        raise NotImplementedError


class Unread:
    """A connection that the event loop does not read now.

    `on_peer_left` is called at every check after its peer has left, until the connection is gone.
    """

    __slots__ = ("on_peer_left", "transport")

    def __init__(self, transport: Stream, on_peer_left: Callable[[], None]) -> None:
        self.transport = transport
        self.on_peer_left = on_peer_left


class Ticker:
    """Keeps `now`, the loop's time as of the last tick, and calls what is due.

    Each tick calls `deadline_passed` of every `timed` connection that is due, and then `on_tick`
    with the time. `check_peers` is called every `CHECK_INTERVAL` seconds, and at every tick while
    `is_urgent`.
    """

    __slots__ = (
        "_check_peers", "_handle", "_loop", "_next_check", "_on_tick", "_timed", "is_urgent", "now",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        timed: Sequence[Collection[Timed]],
        on_tick: Callable[[float], object],
        check_peers: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._timed = timed
        self._on_tick = on_tick
        self._check_peers = check_peers
        self._handle: Handle | None = None
        self.now = loop.time()
        self._next_check = self.now + CHECK_INTERVAL
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
            for due in [connection for connection in timed if connection.deadline <= now]:
                due.deadline_passed()
        self._on_tick(now)
        if now >= self._next_check or self.is_urgent:
            self._next_check = now + CHECK_INTERVAL
            self._check_peers()

    def _tick(self) -> None:
        self._handle = self._loop.call_later(TICK, self._tick)
        self.walk(self._loop.time())

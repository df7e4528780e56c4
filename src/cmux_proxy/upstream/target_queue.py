"""The requests that wait for a connection to one target, and the dials in flight for them.

The oldest request takes the connection that comes first: one that is released, or one that was
dialled, for whichever request. There are no more dials than requests. A dial that fails fails all
requests that waited when it started. Neighbours: `waiters.py` has the order of the requests,
`dial_window.py` the number of dials at a time, `dial.py` is one dial.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.net.loopback import is_loopback
from cmux_proxy.net.stream import Handle
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connect_errors import at_connection_limit, timed_out
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.dial import Dial, DialFactory
from cmux_proxy.upstream.dial_owner import DialOwner
from cmux_proxy.upstream.dial_window import DialWindow
from cmux_proxy.upstream.waiters import Waiter, Waiters

# After how many seconds a port that refuses is dialled again; twice as many each time.
_FIRST_PAUSE: Final = 0.025
_MAX_PAUSE: Final = 0.25
_MIN_PAUSE: Final = 0.01
# After how many seconds more dials to a distant target start, unless one is silent for so long.
_WIDEN_AFTER: Final = 0.005
_SILENCE: Final = 0.25


class TargetQueue(DialOwner):
    """Exists while requests wait or dials are in flight; calls `on_empty` at its end."""

    __slots__ = (
        "_dials", "_factory", "_has_handed_over", "_is_refused", "_on_empty", "_pause",
        "_resumes_at", "_target_pool", "_timer", "_timer_at", "_waiters", "_window", "target",
    )  # fmt: skip

    def __init__(
        self, target: Target, factory: DialFactory, on_empty: "Callable[[TargetQueue], None]"
    ) -> None:
        self.target = target
        self._factory = factory
        self._on_empty = on_empty
        self._waiters = Waiters()
        self._dials: list[Dial] = []
        self._window = DialWindow(is_loopback(target.host))
        self._target_pool = factory.pool.target_pool(target)
        self._target_pool.offer = self._offer
        self._resumes_at = -inf
        # The last dial was refused, and how long to pause after the next one that is.
        self._is_refused = False
        self._pause = _FIRST_PAUSE
        # A request has taken a connection in place of the one that was dialled for it.
        self._has_handed_over = False
        self._timer: Handle | None = None
        self._timer_at = inf

    # The requests

    def add(self, owner: UpstreamOwner, retry_seconds: float, needs_fresh: bool) -> Waiter:
        """Let a request wait; raise UpstreamUnavailable at the limit of connections."""
        waiter = Waiter(self.target, owner, self._factory.loop.time(), retry_seconds, needs_fresh)
        try:
            self._reserve_slot()
            self._waiters.add(waiter)
        finally:
            # The port may have stopped refusing.
            self.retry_now()
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Forget a request that does not wait any more."""
        self._waiters.remove(waiter)
        self._drop_surplus()
        self._advance()

    def retry_now(self) -> None:
        """Dial at once, also if the port has just refused."""
        if self._is_refused:
            self._resumes_at = -inf
        self._advance()

    def close(self) -> None:
        """Cancel the dials in flight; no request waits."""
        self._has_handed_over = False
        self._drop_surplus()
        self._advance()

    def _reserve_slot(self) -> None:
        """Raise UpstreamUnavailable unless the target may have one more connection.

        An idle connection is closed to make room, because a CONNECT cannot use it.
        """
        expected = max(len(self._dials), len(self._waiters) + 1)
        while self._target_pool.open + expected > self._factory.max_connections:
            idle = self._factory.pool.lease(self.target)
            if idle is None:
                raise at_connection_limit(self.target)
            idle.close()

    # The connections

    def _offer(self, connection: UpstreamConnection) -> bool:
        """Hand a released connection to the next request; return whether one has taken it."""
        if connection.transport.is_closing() or not self._factory.is_current(connection):
            return False
        waiter = self._waiters.pop_for_used()
        if waiter is None:
            return False
        self._has_handed_over = True
        self._advance()
        waiter.take(connection)
        return True

    def dial_opened(self, dial: Dial, seconds: float) -> None:
        """More dials may start."""
        self._is_refused = False
        self._pause = _FIRST_PAUSE
        self._window.record_success(seconds)
        self._advance()

    def dial_connected(self, dial: Dial, connection: UpstreamConnection) -> None:
        """Hand the connection to the oldest request, or keep it if its own request has another one.

        Otherwise close it, because a service that serves one connection at a time would hang.
        """
        self._dials.remove(dial)
        waiter = self._waiters.pop_for_fresh()
        self._advance()
        if waiter is not None:
            waiter.take(connection)
        elif self._has_handed_over:
            connection.release(self._factory.loop.time())
        else:
            connection.close()

    def dial_timed_out(self, dial: Dial) -> None:
        """Pause: the backlog of the target is full."""
        self._dials.remove(dial)
        self._resumes_at = self._factory.loop.time() + self._window.record_timeout()
        self._advance()

    def dial_failed(self, dial: Dial, error: UpstreamUnavailable) -> None:
        """Fail the requests of this dial, except those that wait for a port that refuses."""
        self._dials.remove(dial)
        if dial.is_connecting:
            self._window.record_end()
        is_refused = error.reason is UnavailableReason.REFUSED
        failed = self._refused(dial) if is_refused else self._waiters.pop_up_to(dial.last_waiter)
        self._drop_surplus()
        self._advance()
        for waiter in failed:
            waiter.owner.upstream_unavailable(error)

    def _refused(self, dial: Dial) -> list[Waiter]:
        """Return the requests that do not wait any longer; dial again later for the others."""
        now = self._factory.loop.time()
        self._is_refused = True
        self._waiters.refused_at = now
        failed = self._waiters.pop_refused(dial.last_waiter, now)
        if not self._dials and self._waiters.last == dial.last_waiter:
            pause = min(self._pause, self._waiters.next_retry_end() - now)
            self._resumes_at = now + max(pause, _MIN_PAUSE)
            self._pause = min(2 * self._pause, _MAX_PAUSE)
        return failed

    # The dials

    def _advance(self) -> None:
        """Start as many dials as are needed and allowed; end if no request waits."""
        if not self._waiters and not self._dials:
            self._end()
            return
        self._target_pool.wake()
        now = self._factory.loop.time()
        while now >= self._resumes_at and self._needs_dials() and self._may_dial():
            self._start_dial()
        self._set_timer(now)

    def _needs_dials(self) -> bool:
        """Return whether there are fewer dials than requests without a place elsewhere."""
        return len(self._dials) < len(self._waiters) - self._target_pool.count_room()

    def _may_dial(self) -> bool:
        """Return whether one more may start; alone if the port refuses, or is shared."""
        is_alone = self._is_refused or self.target.is_http2()
        return not self._dials if is_alone else self._window.may_start()

    def _start_dial(self) -> None:
        idle = self._factory.pool.make_room()
        if idle is not None:
            idle.close()
        self._window.record_start()
        last, timeout = self._waiters.last, self._window.timeout
        self._dials.append(self._factory.start(self.target, self, last, timeout))

    def _drop_surplus(self) -> None:
        """Cancel the newest dials for which no request waits."""
        surplus = len(self._dials) - len(self._waiters)
        for dial in reversed(self._dials[:]):
            if surplus > 0 and dial.is_connecting:
                self._cancel(dial)
                surplus -= 1

    def _cancel(self, dial: Dial) -> None:
        dial.cancel()
        self._dials.remove(dial)
        self._window.record_end()

    # The clock

    def _set_timer(self, now: float) -> None:
        at = self._waiters.next_timeout(self._factory.timeout)
        if self._dials:
            at = min(at, self._dials[0].started_at + self._factory.timeout)
        if self._resumes_at > now:
            at = min(at, self._resumes_at)
        elif self._needs_dials() and self._window.timeout is None:
            at = min(at, now + _WIDEN_AFTER)
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._factory.loop.call_later(max(0.0, at - now), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._timer_at = inf
        now = self._factory.loop.time()
        timeout = self._factory.timeout
        late_waiters = self._waiters.pop_timed_out(now, timeout)
        for dial in self._dials[:]:
            if dial.is_connecting and dial.started_at + timeout <= now:
                self._cancel(dial)
        if self._needs_dials() and all(now < dial.started_at + _SILENCE for dial in self._dials):
            self._window.widen()
        self._drop_surplus()
        self._advance()
        for waiter in late_waiters:
            waiter.owner.upstream_unavailable(timed_out(self.target, timeout))

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._target_pool.offer = None
        self._on_empty(self)

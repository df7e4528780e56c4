"""The requests that wait for a connection to one target, and the dials that are under way for them.

The oldest request takes what comes first: a connection that is released, or one that was dialled,
whichever request it was dialled for. There are no more dials than requests, and one that fails
tells everybody who waited when it began. Neighbours: `waiters.py` has the order, `dial_window.py`
the number of dials at a time, `dial.py` is one dial.
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
from cmux_proxy.upstream.dial import Dial, Dialling
from cmux_proxy.upstream.dial_owner import DialOwner
from cmux_proxy.upstream.dial_window import DialWindow
from cmux_proxy.upstream.waiters import Waiter, Waiters

# A port that refuses is dialled again after so many seconds, then after twice as many.
_FIRST_PAUSE: Final = 0.025
_LONGEST_PAUSE: Final = 0.25
_SHORTEST_PAUSE: Final = 0.01
# More dials to a distant target begin after so many seconds, unless one is silent for so long.
_WIDEN_AFTER: Final = 0.005
_SILENT: Final = 0.25


class TargetQueue(DialOwner):
    """Exists while requests wait or dials are under way; `on_empty` is called at the end."""

    __slots__ = (
        "_dialling", "_dials", "_has_handed_over", "_is_refused", "_on_empty", "_pace", "_pause",
        "_resumes_at", "_target_pool", "_timer", "_timer_at", "_waiters", "target",
    )  # fmt: skip

    def __init__(
        self, target: Target, dialling: Dialling, on_empty: "Callable[[TargetQueue], None]"
    ) -> None:
        self.target = target
        self._dialling = dialling
        self._on_empty = on_empty
        self._waiters = Waiters()
        self._dials: list[Dial] = []
        self._pace = DialWindow(is_loopback(target.host))
        self._target_pool = dialling.pool.of(target)
        self._target_pool.offer = self._offer
        # No dial begins before that.
        self._resumes_at = -inf
        # The last dial was refused, and how long to pause after the next one that is.
        self._is_refused = False
        self._pause = _FIRST_PAUSE
        # A request has taken a connection in place of the one that was dialled for it.
        self._has_handed_over = False
        self._timer: Handle | None = None
        self._timer_at = inf

    # The requests

    def join(self, owner: UpstreamOwner, patience: float, needs_fresh: bool) -> Waiter:
        """Let a request wait; raise UpstreamUnavailable where there is no place for it."""
        now = self._dialling.loop.time()
        waiter = Waiter(self.target, owner, now, patience, needs_fresh)
        try:
            self._find_place()
            self._waiters.join(waiter)
        finally:
            # The port may not refuse any more.
            self.dial_again()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Let a request wait no more."""
        self._waiters.leave(waiter)
        self._shed()
        self._go_on()

    def dial_again(self) -> None:
        """Dial at once, also if the port has refused just now."""
        if self._is_refused:
            self._resumes_at = -inf
        self._go_on()

    def close(self) -> None:
        """Give up what is under way; nobody waits."""
        self._has_handed_over = False
        self._shed()
        self._go_on()

    def _find_place(self) -> None:
        """Raise UpstreamUnavailable unless the target may have one more connection.

        An idle one makes room: it is left over where a CONNECT wants a connection of its own.
        """
        coming = max(len(self._dials), len(self._waiters) + 1)
        while self._target_pool.open + coming > self._dialling.most_connections:
            idle = self._dialling.pool.lease(self.target)
            if idle is None:
                raise at_connection_limit(self.target)
            idle.close()

    # The connections

    def _offer(self, connection: UpstreamConnection) -> bool:
        """Hand a connection that is released to whoever waits; return whether somebody does."""
        if connection.transport.is_closing() or not self._dialling.leads_there(connection):
            return False
        waiter = self._waiters.next_for_used()
        if waiter is None:
            return False
        self._has_handed_over = True
        self._go_on()
        waiter.take(connection)
        return True

    def dial_opened(self, dial: Dial, took: float) -> None:
        """More dials may begin."""
        self._is_refused = False
        self._pause = _FIRST_PAUSE
        self._pace.succeeded(took)
        self._go_on()

    def dial_connected(self, dial: Dial, connection: UpstreamConnection) -> None:
        """Hand the connection to the oldest, or keep it if its request has another one.

        Else a service that serves one connection at a time would wait for a request in vain.
        """
        self._dials.remove(dial)
        waiter = self._waiters.next_for_fresh()
        self._go_on()
        if waiter is not None:
            waiter.take(connection)
        elif self._has_handed_over:
            connection.release(self._dialling.loop.time())
        else:
            connection.close()

    def dial_unanswered(self, dial: Dial) -> None:
        """Pause; the target has more to do than it can."""
        self._dials.remove(dial)
        self._resumes_at = self._dialling.loop.time() + self._pace.unanswered()
        self._go_on()

    def dial_failed(self, dial: Dial, error: UpstreamUnavailable) -> None:
        """Tell everybody for whom this dial was, but those who wait for a port that refuses."""
        self._dials.remove(dial)
        if dial.is_opening:
            self._pace.ended()
        is_refused = error.reason is UnavailableReason.REFUSED
        failed = self._refused(dial) if is_refused else self._waiters.up_to(dial.covers)
        self._shed()
        self._go_on()
        for waiter in failed:
            waiter.owner.upstream_unavailable(error)

    def _refused(self, dial: Dial) -> list[Waiter]:
        """Return who does not wait any longer; dial again later for those who do."""
        now = self._dialling.loop.time()
        self._is_refused = True
        self._waiters.refused_at = now
        failed = self._waiters.impatient(dial.covers, now)
        if not self._dials and self._waiters.last == dial.covers:
            pause = min(self._pause, self._waiters.patience() - now)
            self._resumes_at = now + max(pause, _SHORTEST_PAUSE)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return failed

    # The dials

    def _go_on(self) -> None:
        """Begin as many dials as may and need be; come to an end where nobody waits."""
        if not self._waiters and not self._dials:
            self._end()
            return
        now = self._dialling.loop.time()
        while now >= self._resumes_at and self._is_short() and self._may_begin():
            self._begin_dial()
        self._set_timer(now)

    def _is_short(self) -> bool:
        """Return whether there are fewer dials than requests."""
        return len(self._dials) < len(self._waiters)

    def _may_begin(self) -> bool:
        """Return whether one more dial may be under way; one asks a port that refuses."""
        return not self._dials if self._is_refused else self._pace.may_begin()

    def _begin_dial(self) -> None:
        idle = self._dialling.pool.make_room()
        if idle is not None:
            idle.close()
        self._pace.begun()
        self._dials.append(
            self._dialling.begin(self.target, self, self._waiters.last, self._pace.grace)
        )

    def _shed(self) -> None:
        """Give up the youngest dials that nobody waits for."""
        spare = len(self._dials) - len(self._waiters)
        for dial in reversed(self._dials[:]):
            if spare > 0 and dial.is_opening:
                self._abandon(dial)
                spare -= 1

    def _abandon(self, dial: Dial) -> None:
        dial.abandon()
        self._dials.remove(dial)
        self._pace.ended()

    # The clock

    def _set_timer(self, now: float) -> None:
        at = self._waiters.next_late(self._dialling.timeout)
        if self._dials:
            at = min(at, self._dials[0].begun + self._dialling.timeout)
        if self._resumes_at > now:
            at = min(at, self._resumes_at)
        elif self._is_short() and self._pace.grace is None:
            at = min(at, now + _WIDEN_AFTER)
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._dialling.loop.call_later(max(0.0, at - now), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._timer_at = inf
        now = self._dialling.loop.time()
        timeout = self._dialling.timeout
        late = self._waiters.late(now, timeout)
        for dial in self._dials[:]:
            if dial.is_opening and dial.begun + timeout <= now:
                self._abandon(dial)
        if self._is_short() and all(now < dial.begun + _SILENT for dial in self._dials):
            self._pace.widen()
        self._shed()
        self._go_on()
        for waiter in late:
            waiter.owner.upstream_unavailable(timed_out(self.target, timeout))

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._target_pool.offer = None
        self._on_empty(self)

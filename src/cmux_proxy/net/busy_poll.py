"""Busy polling: for a short while after something has arrived, the event loop does not sleep.

Where a core sleeps, and above all in a virtual machine, waking it takes longer than the work for
which it is woken. A callback that schedules itself again makes the loop check for events without
waiting for them. How long that goes on is learnt, as KVM learns it for halted processors: for
clients and for upstreams separately, because the response to a request may come at once and the
next request much later, or the other way round.
Knows nothing of connections; the code that receives bytes calls `note`.
"""

import time
from collections.abc import Callable
from typing import Final

from cmux_proxy.net.stream import Loop

# Which side has sent something; the other side is waited for next.
FROM_CLIENT: Final = 0
FROM_UPSTREAM: Final = 1

# By how much, at most, a wait takes longer because the loop slept.
WAKE_UP: Final = 100e-6
_STEPS: Final = 8
_MAX_DOUBTS: Final = 255


class Window:
    """How long to poll while waiting for one side: from nothing up to `max_length` seconds."""

    __slots__ = ("_doubts", "_max_length", "_min_length", "_skipped", "length")

    def __init__(self, max_length: float) -> None:
        self._max_length = max_length
        self._min_length = max_length / _STEPS
        self._doubts = 0
        self._skipped = 0
        self.length = 0.0

    def hit(self) -> None:
        """Something came while the loop was polling."""
        self._doubts >>= 1

    def miss(self, wait: float) -> None:
        """Something came `wait` seconds after the wait started, while the loop was sleeping."""
        if wait > self._max_length + WAKE_UP:
            self._shrink()
        elif self.length >= self._max_length:
            # It seems to be just out of reach: wait longer each time before trying that again.
            self.length = 0.0
            self._doubts = min(2 * self._doubts + 1, _MAX_DOUBTS)
        elif self._skipped < self._doubts:
            self._skipped += 1
        else:
            self._grow()

    def _shrink(self) -> None:
        half = self.length / 2
        self.length = half if half >= self._min_length else 0.0

    def _grow(self) -> None:
        self.length = min(max(2 * self.length, self._min_length), self._max_length)
        if self.length == self._max_length:
            self._skipped = 0


class BusyPoll:
    """Keeps one event loop from sleeping for at most `max_length` seconds after each arrival."""

    __slots__ = (
        "_clock",
        "_has_arrival",
        "_has_polled",
        "_loop",
        "_poll_again",
        "_since",
        "_until",
        "_window",
        "is_polling",
        "sender",
        "windows",
    )

    def __init__(
        self, loop: Loop, max_length: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._loop = loop
        # The loop's own clock is too coarse: uvloop's counts milliseconds.
        self._clock = clock
        self.windows = (Window(max_length), Window(max_length))
        self.is_polling = False
        self.sender = FROM_CLIENT
        self._window = self.windows[FROM_CLIENT]
        self._has_arrival = False
        self._has_polled = False
        self._since = clock()
        self._until = 0.0
        self._poll_again = self._poll

    def note(self, sender: int) -> None:
        """Something has arrived from `sender`."""
        self.sender = sender
        self._has_arrival = True
        if not self.is_polling:
            self._wake()

    def _wake(self) -> None:
        self.is_polling = True
        self._has_polled = False
        self._window.miss(self._clock() - self._since)
        self._loop.call_soon(self._poll_again)

    def _poll(self) -> None:
        """Schedule itself again unless nothing has come for as long as the window."""
        now = self._clock()
        if self._has_arrival:
            self._start_wait(now)
        if now < self._until:
            self._loop.call_soon(self._poll_again)
        else:
            self.is_polling = False

    def _start_wait(self, now: float) -> None:
        """Wait from now on for the side that follows the last sender."""
        self._has_arrival = False
        if self._has_polled:
            self._window.hit()
        self._has_polled = True
        self._window = self.windows[self.sender]
        self._since = now
        self._until = now + self._window.length

"""Busy polling: for a short while after something has arrived, the event loop does not sleep.

Where a core sleeps, and above all in a virtual machine, waking it up takes longer than the work
that it wakes up for. A callback that asks to be called again makes the loop look for events
without waiting for them. How long that goes on is learnt, as KVM learns it for halted processors:
apart for what clients and what upstreams are waited for, since the answer to a request may come
at once and the next request much later, or the other way round.
Knows nothing of connections; `services.py` holds it, and whoever receives bytes calls `note`.
"""

import time
from collections.abc import Callable
from typing import Final

from cmux_proxy.net.stream import Loop

# Who has sent something; it is the other side that is waited for next.
FROM_CLIENT: Final = 0
FROM_UPSTREAM: Final = 1

# A wait that was slept through took longer by this, at most, than it would have taken awake.
WAKE_UP: Final = 100e-6
_STEPS: Final = 8
_MOST_DOUBTS: Final = 255


class Window:
    """How long to poll in one kind of wait: from nothing up to `most` seconds."""

    __slots__ = ("_doubts", "_least", "_most", "_passed_over", "length")

    def __init__(self, most: float) -> None:
        self._most = most
        self._least = most / _STEPS
        self._doubts = 0
        self._passed_over = 0
        self.length = 0.0

    def paid(self) -> None:
        """What was waited for came while the loop was polling."""
        self._doubts >>= 1

    def missed(self, wait: float) -> None:
        """What was waited for came `wait` seconds after the wait began, and the loop slept."""
        if wait > self._most + WAKE_UP:
            self._shrink()
        elif self.length >= self._most:
            # Just out of reach, or so it seems: each time wait longer before trying that again.
            self.length = 0.0
            self._doubts = min(2 * self._doubts + 1, _MOST_DOUBTS)
        elif self._passed_over < self._doubts:
            self._passed_over += 1
        else:
            self._grow()

    def _shrink(self) -> None:
        half = self.length / 2
        self.length = half if half >= self._least else 0.0

    def _grow(self) -> None:
        self.length = min(max(2 * self.length, self._least), self._most)
        if self.length == self._most:
            self._passed_over = 0


class BusyPoll:
    """Keeps one event loop from sleeping for at most `most` seconds after each arrival."""

    __slots__ = (
        "_clock",
        "_has_looked",
        "_has_news",
        "_look_again",
        "_loop",
        "_since",
        "_until",
        "_window",
        "is_polling",
        "sender",
        "windows",
    )

    def __init__(
        self,
        loop: Loop,
        most: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._loop = loop
        # The loop's own clock is too coarse: uvloop's counts milliseconds.
        self._clock = clock
        self.windows = (Window(most), Window(most))
        self.is_polling = False
        self.sender = FROM_CLIENT
        self._window = self.windows[FROM_CLIENT]
        self._has_news = False
        self._has_looked = False
        self._since = clock()
        self._until = 0.0
        self._look_again = self._look

    def note(self, sender: int) -> None:
        """Something has arrived from `sender`."""
        self.sender = sender
        self._has_news = True
        if not self.is_polling:
            self._wake()

    def _wake(self) -> None:
        self.is_polling = True
        self._has_looked = False
        self._window.missed(self._clock() - self._since)
        self._loop.call_soon(self._look_again)

    def _look(self) -> None:
        """Ask to be called again unless nothing has come for as long as the window."""
        now = self._clock()
        if self._has_news:
            self._begin_wait(now)
        if now < self._until:
            self._loop.call_soon(self._look_again)
        else:
            self.is_polling = False

    def _begin_wait(self, now: float) -> None:
        """Wait from now on for whatever the last arrival makes likely."""
        self._has_news = False
        if self._has_looked:
            self._window.paid()
        self._has_looked = True
        self._window = self.windows[self.sender]
        self._since = now
        self._until = now + self._window.length

"""How many dials to one target may be in flight, and how long each may take.

Pure: knows neither sockets nor clocks. A service accepts connections from its backlog, which may
have five entries. When the backlog is full, the system drops connection attempts without a word,
and retries them a second later. So dials start a few at a time, and more with each success.

Where the target is near, on this machine above all, a connection exists at once or meets a full
backlog. There, dials go out in rounds: after a round without loss, the next is twice as large; a
dial that takes longer than `timeout` is given up, and the next round has as many dials as this one
had successes. Where the target is distant, silence means nothing.
"""

from typing import Final

_FIRST_WINDOW: Final = 4
# A target that accepts within this many seconds is near.
_NEAR: Final = 0.001
# How many seconds a near target has to accept; twice as many after each round without success.
_MIN_TIMEOUT: Final = 0.004
_MAX_TIMEOUT: Final = 1.0
# How many seconds pass before a full backlog is tried again; twice as many in the same way.
_MIN_PAUSE: Final = 0.002
_MAX_PAUSE: Final = 0.05


class DialWindow:
    """The window of the dials to one target."""

    __slots__ = ("_in_flight", "_is_near", "_left", "_pause", "_succeeded", "_timeout", "_window")

    def __init__(self, is_near: bool) -> None:
        self._is_near = is_near
        self._window = _FIRST_WINDOW
        self._timeout = _MIN_TIMEOUT
        self._pause = _MIN_PAUSE
        self._in_flight = 0
        # Dials that this round may still start, and those of it that have succeeded.
        self._left = 0
        self._succeeded = 0

    @property
    def timeout(self) -> float | None:
        """How many seconds the next dial may take; None where the target is distant."""
        return self._timeout if self._is_near else None

    def may_start(self) -> bool:
        """Return whether one more dial may start."""
        if not self._is_near:
            return self._in_flight < self._window
        if not self._in_flight:
            self._left = self._window
            self._succeeded = 0
        return self._left > 0

    def record_start(self) -> None:
        """Count a dial that starts."""
        self._in_flight += 1
        self._left -= 1

    def record_end(self) -> None:
        """Count a dial that has ended in a way that says nothing about the backlog."""
        self._in_flight -= 1
        self._left += 1

    def record_success(self, seconds: float) -> None:
        """Count a dial that has succeeded after `seconds`."""
        self._in_flight -= 1
        self._succeeded += 1
        self._window += 1
        self._is_near |= seconds < _NEAR
        self._timeout = min(max(_MIN_TIMEOUT, 2 * seconds), _MAX_TIMEOUT)
        self._pause = _MIN_PAUSE

    def record_timeout(self) -> float:
        """Count a dial that was given up; return after how many seconds the next may start."""
        self._in_flight -= 1
        self._window = max(1, self._succeeded)
        if not self._in_flight and not self._succeeded:
            self._timeout = min(2 * self._timeout, _MAX_TIMEOUT)
            self._pause = min(2 * self._pause, _MAX_PAUSE)
        return self._pause

    def widen(self) -> None:
        """Allow twice as many dials to a distant target, whose silence says nothing yet."""
        if not self._is_near:
            self._window *= 2

"""How many dials to one target may be under way, and how long each may take.

Pure: knows neither sockets nor clocks. A service accepts connections from a queue, which may be as
short as five, and the system drops what finds it full without a word; it is tried again a second
later. So dials begin a few at a time, and more with each that succeeds.

Where the target is near, on this machine above all, a connection exists at once or finds the queue
full. There, dials go out in rounds: a round that succeeds makes the next one twice as large, a dial
that is not answered within `grace` is given up, and the next round is as large as this one has
succeeded. Elsewhere nothing can be told from silence.
"""

from typing import Final

_FIRST_WINDOW: Final = 4
# A target to which a connection exists within so many seconds is near.
_AT_ONCE: Final = 0.001
# A near target has so many seconds to answer, twice as many each time that none answers.
_FIRST_GRACE: Final = 0.004
_LONGEST_GRACE: Final = 1.0
# So many seconds later, a full queue is tried again; the same holds.
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.05


class DialWindow:
    """The pace of the dials to one target."""

    __slots__ = ("_grace", "_is_near", "_left", "_opening", "_pause", "_succeeded", "_window")

    def __init__(self, is_near: bool) -> None:
        self._is_near = is_near
        self._window = _FIRST_WINDOW
        self._grace = _FIRST_GRACE
        self._pause = _FIRST_PAUSE
        # Dials that are under way, that this round may still begin, and of it that have succeeded.
        self._opening = 0
        self._left = 0
        self._succeeded = 0

    @property
    def grace(self) -> float | None:
        """How many seconds the next dial may take; None where silence means nothing."""
        return self._grace if self._is_near else None

    def may_begin(self) -> bool:
        """Return whether one more dial may begin."""
        if not self._is_near:
            return self._opening < self._window
        if not self._opening:
            self._left = self._window
            self._succeeded = 0
        return self._left > 0

    def begun(self) -> None:
        """A dial has begun."""
        self._opening += 1
        self._left -= 1

    def ended(self) -> None:
        """A dial has ended in another way than those below, which tells nothing of the queue."""
        self._opening -= 1
        self._left += 1

    def succeeded(self, took: float) -> None:
        """A dial has succeeded after `took` seconds."""
        self._opening -= 1
        self._succeeded += 1
        self._window += 1
        self._is_near |= took < _AT_ONCE
        self._grace = min(max(_FIRST_GRACE, 2 * took), _LONGEST_GRACE)
        self._pause = _FIRST_PAUSE

    def unanswered(self) -> float:
        """A dial was given up; return after how many seconds the next round may begin."""
        self._opening -= 1
        self._window = max(1, self._succeeded)
        if not self._opening and not self._succeeded:
            self._grace = min(2 * self._grace, _LONGEST_GRACE)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return self._pause

    def widen(self) -> None:
        """Let twice as many be under way to a target that is not near: silence is no sign yet."""
        if not self._is_near:
            self._window *= 2

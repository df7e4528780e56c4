"""How many frames that cost more than they bring a client may send: a burst, and a rate.

Does not know which frames those are, nor what time it is: `server_connection.py` does.
"""


class FloodBudget:
    """`burst` frames at once, and `rate` in a second after that; `now` is in seconds."""

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, burst: int, rate: int) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        # When the last refill was, in seconds; negative before the first.
        self._since = -1.0

    def spend(self, now: float) -> bool:
        """Count one frame; return False if the budget is exceeded."""
        if self._since < 0.0:
            self._since = now
        if self._left == 0:
            self._refill(now)
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def _refill(self, now: float) -> None:
        """Add what the time since the last refill has brought, in whole frames."""
        frames = int((now - self._since) * self._rate)
        if frames > 0:
            self._left = min(self._burst, frames)
            self._since = now

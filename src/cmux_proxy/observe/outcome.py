"""Outcome: how one exchange or tunnel ended."""

import enum
from typing import Final


class Outcome(enum.IntEnum):
    """How an exchange ended; every exchange ends in exactly one of these."""

    COMPLETE = 0  # the whole response was handed to the client
    TUNNELLED = 1  # the connection became a tunnel
    REFUSED = 2  # the proxy responded: the request was not acceptable
    UNAVAILABLE = 3  # the proxy responded: no upstream, or no usable response from it
    BROKEN_OFF = 4  # the upstream failed after its response had begun
    CLIENT_GONE = 5  # the client left first


_COMPLETE: Final = 0


class Tally:
    """Counts the outcomes of one proxy's exchanges."""

    __slots__ = ("_complete", "_others")

    def __init__(self) -> None:
        # Most exchanges are complete, and an attribute is counted up faster than an item of a list.
        self._complete = 0
        self._others = [0] * len(Outcome)

    def add(self, outcome: int) -> None:
        """Count one exchange; takes the number, because members of an enumeration cost more."""
        if outcome == _COMPLETE:
            self._complete += 1
        else:
            self._others[outcome] += 1

    def count(self, outcome: Outcome) -> int:
        """Return how many exchanges ended with this outcome."""
        return self._complete if outcome is Outcome.COMPLETE else self._others[outcome]

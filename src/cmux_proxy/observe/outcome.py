"""Outcome: how one exchange or tunnel ended."""

import enum


class Outcome(enum.IntEnum):
    """How an exchange ended; every exchange ends in exactly one of these."""

    COMPLETE = 0  # the whole response was handed to the client
    TUNNELLED = 1  # the connection became a tunnel
    REFUSED = 2  # the proxy responded: the request was not acceptable
    UNAVAILABLE = 3  # the proxy responded: no upstream, or no usable response from it
    BROKEN_OFF = 4  # the upstream failed after its response had begun
    CLIENT_GONE = 5  # the client left first


class Tally:
    """Counts the outcomes of one proxy's exchanges."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * len(Outcome)

    def add(self, outcome: int) -> None:
        """Count one exchange; takes the number, because members of an enumeration cost more."""
        self._counts[outcome] += 1

    def count(self, outcome: Outcome) -> int:
        """Return how many exchanges ended with this outcome."""
        return self._counts[outcome]

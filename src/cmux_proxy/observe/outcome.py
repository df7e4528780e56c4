"""Outcome: how one exchange or tunnel ended."""

import enum


class Outcome(enum.IntEnum):
    """How an exchange ended; every exchange ends in exactly one of these."""

    COMPLETE = 0  # the whole response was handed to the client
    TUNNELLED = 1  # the connection became a tunnel
    REFUSED = 2  # answered by the proxy: the request was not acceptable
    UNAVAILABLE = 3  # answered by the proxy: no upstream, or no usable answer from it
    BROKEN_OFF = 4  # the upstream failed after the response had begun
    CLIENT_GONE = 5  # the client left first


class Tally:
    """Counts what ended how, for one proxy."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * len(Outcome)

    def add(self, outcome: int) -> None:
        """Count one end; takes the number, since members of an enumeration are dear."""
        self._counts[outcome] += 1

    def count(self, outcome: Outcome) -> int:
        """Return how many exchanges ended so."""
        return self._counts[outcome]

"""Outcome: how one exchange or tunnel ended."""

import enum


class Outcome(enum.Enum):
    """How an exchange ended; every exchange ends in exactly one of these."""

    COMPLETE = "complete"  # the whole response was handed to the client
    TUNNELLED = "tunnelled"  # the connection became a tunnel
    REFUSED = "refused"  # answered by the proxy: the request was not acceptable
    UNAVAILABLE = "unavailable"  # answered by the proxy: no upstream, or no usable answer from it
    BROKEN_OFF = "broken off"  # the upstream failed after the response had begun
    CLIENT_GONE = "client gone"  # the client left first


class Tally:
    """Counts what ended how, for one proxy."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    def add(self, outcome: Outcome) -> None:
        """Count one end."""
        self.counts[outcome] += 1

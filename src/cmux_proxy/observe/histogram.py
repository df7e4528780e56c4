"""Histogram: durations counted by bucket, cheap to add to.

Knows no clock and no format. `observe/traffic_stats.py` reads it, `admin/metrics.py` formats it.
"""

from typing import Final

# The upper bounds of the buckets, in seconds; one more bucket has no bound.
BUCKETS: Final[list[float]] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
]  # fmt: skip
# Most durations fall into the first two buckets, so these are compared without the list.
_FIRST: Final = 0.001
_SECOND: Final = 0.0025


class Histogram:
    """Counts durations by bucket and adds them up, in seconds."""

    __slots__ = ("_buckets", "_first", "_second", "total")

    def __init__(self) -> None:
        self._buckets: list[int] = [0] * (len(BUCKETS) + 1)
        # Counts of the first two buckets that are not in the list yet.
        self._first = 0.0
        self._second = 0.0
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.total += seconds
        if seconds <= _FIRST:
            self._first += 1.0
            return
        if seconds <= _SECOND:
            self._second += 1.0
            return
        index = 2
        while index < len(BUCKETS) and seconds > BUCKETS[index]:
            index += 1
        self._buckets[index] += 1

    def buckets(self) -> list[int]:
        """Return a copy of the count of each bucket; the last one has no bound."""
        self._buckets[0] += int(self._first)
        self._buckets[1] += int(self._second)
        self._first = self._second = 0.0
        return list(self._buckets)

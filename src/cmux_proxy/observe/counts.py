"""What is counted of all exchanges of one worker: numbers only, cheap to add to.

Whoever asks for figures takes a snapshot, which is plain data: it adds up with those of other
workers. Knows no format: `metrics.py` writes them down.
"""

from typing import Any, Final

# The upper bounds of buckets, in seconds; a last one has no bound.
BUCKETS: Final[list[float]] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
]  # fmt: skip

_METHODS: Final = frozenset(
    [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"]
)
OTHER: Final = "other"


class Histogram:
    """How many durations fell into each bucket, and their sum in seconds."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets: list[int] = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        place = 0
        # Most are in the first bucket or near it, so that a search from there is the fastest.
        while place < len(BUCKETS) and seconds > BUCKETS[place]:
            place += 1
        self.buckets[place] += 1
        self.total += seconds

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {"buckets": list(self.buckets), "total": self.total}


class Series:
    """The exchanges of one kind, method and status."""

    __slots__ = ("durations", "first_bytes")

    def __init__(self) -> None:
        self.durations = Histogram()
        self.first_bytes = Histogram()


class Counts:
    """All that is counted."""

    __slots__ = (
        "_series",
        "connects",
        "errors",
        "received",
        "retried",
        "reused",
        "sent",
    )

    def __init__(self) -> None:
        self._series: dict[tuple[str, bytes, int], Series] = {}
        # By status and Proxy-Status error type: the answers of the proxy's own, and breaks.
        self.errors: dict[tuple[int, str], int] = {}
        self.connects = Histogram()
        self.received = 0
        self.sent = 0
        self.reused = 0
        self.retried = 0

    def series(self, kind: str, method: bytes, status: int) -> Series:
        """Return where exchanges of this kind are counted; methods that nobody knows are one."""
        key = (kind, method, status)
        found = self._series.get(key)
        if found is None:
            if method not in _METHODS:
                key = (kind, OTHER.encode(), status)
                found = self._series.get(key)
            if found is None:
                found = self._series[key] = Series()
        return found

    def failed(self, status: int, error: str) -> None:
        """Count an answer of the proxy's own, or one that broke off (its status is then 0)."""
        key = (status, error)
        self.errors[key] = self.errors.get(key, 0) + 1

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, lists and numbers and strings, that JSON can carry."""
        return {
            "series": [
                [
                    kind, method.decode("latin-1"), status,
                    each.durations.snapshot(), each.first_bytes.snapshot(),
                ]
                for (kind, method, status), each in self._series.items()
            ],
            "errors": [[status, error, count] for (status, error), count in self.errors.items()],
            "connects": self.connects.snapshot(),
            "received": self.received,
            "sent": self.sent,
            "reused": self.reused,
            "retried": self.retried,
        }  # fmt: skip

"""What is counted of all exchanges of one worker: numbers only, cheap to add to.

Whoever asks for figures takes a snapshot, which is plain data: it adds up with those of other
workers. Knows no format: `metrics.py` writes them down.

What every exchange adds to is a float, also where it counts: the compiler adds these in registers,
and whole numbers are exact up to 2**53.
"""

from typing import Any, Final

# The upper bounds of buckets, in seconds; a last one has no bound.
BUCKETS: Final[list[float]] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
]  # fmt: skip
# The first two, where so much is counted that to count must not cost.
_QUICK: Final = 0.001
_NEXT: Final = 0.0025

_METHODS: Final = frozenset(
    [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"]
)
OTHER: Final = "other"


class Histogram:
    """How many durations fell into each bucket, and their sum in seconds."""

    __slots__ = ("_buckets", "_next", "_quick", "total")

    def __init__(self) -> None:
        self._buckets: list[int] = [0] * (len(BUCKETS) + 1)
        # How many of the first two buckets are not in the list yet.
        self._quick = 0.0
        self._next = 0.0
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.total += seconds
        if seconds <= _QUICK:
            self._quick += 1.0
            return
        if seconds <= _NEXT:
            self._next += 1.0
            return
        place = 2
        while place < len(BUCKETS) and seconds > BUCKETS[place]:
            place += 1
        self._buckets[place] += 1

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        self._buckets[0] += int(self._quick)
        self._buckets[1] += int(self._next)
        self._quick = self._next = 0.0
        return {"buckets": list(self._buckets), "total": self.total}


class Series:
    """The exchanges of one kind, method and status."""

    __slots__ = ("durations", "first_bytes")

    def __init__(self) -> None:
        self.durations = Histogram()
        self.first_bytes = Histogram()


class Counts:
    """All that is counted."""

    __slots__ = (
        "_last",
        "_last_kind",
        "_last_method",
        "_last_status",
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
        # The one that was asked for last, which mostly is the next one too.
        self._last = Series()
        self._last_kind = ""
        self._last_method = b""
        self._last_status = 0
        # By status and Proxy-Status error type: the answers of the proxy's own, and breaks.
        self.errors: dict[tuple[int, str], int] = {}
        self.connects = Histogram()
        self.received = 0.0
        self.sent = 0.0
        self.reused = 0.0
        self.retried = 0

    def series(self, kind: str, method: bytes, status: int) -> Series:
        """Return where exchanges of this kind are counted; methods that nobody knows are one."""
        if status == self._last_status and method == self._last_method and kind == self._last_kind:
            return self._last
        self._last = self._find(kind, method, status)
        self._last_kind = kind
        self._last_method = method
        self._last_status = status
        return self._last

    def _find(self, kind: str, method: bytes, status: int) -> Series:
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
            "received": int(self.received),
            "sent": int(self.sent),
            "reused": int(self.reused),
            "retried": self.retried,
        }  # fmt: skip

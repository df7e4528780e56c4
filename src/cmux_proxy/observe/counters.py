"""Counters of all exchanges of one worker: numbers only, cheap to add to.

Does not know formats or other workers: `traffic_stats.py` reads the counters as values that add up.

Numbers that every exchange adds to are floats, counts included, because the compiler adds floats
in registers. Whole numbers are exact up to 2**53.
"""

from typing import Final

from cmux_proxy.observe.histogram import Histogram

_METHODS: Final = frozenset(
    [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"]
)
OTHER: Final = "other"


class Series:
    """The exchanges of one kind, method and status."""

    __slots__ = ("durations", "first_bytes")

    def __init__(self) -> None:
        self.durations = Histogram()
        self.first_bytes = Histogram()


class Counters:
    """All counters of one worker."""

    __slots__ = (
        "_last",
        "_last_kind",
        "_last_method",
        "_last_status",
        "_series",
        "connects",
        "errors",
        "goaways",
        "handshakes",
        "received",
        "retried",
        "reused",
        "sent",
    )

    def __init__(self) -> None:
        self._series: dict[tuple[str, bytes, int], Series] = {}
        # The series of the previous exchange, which usually is that of the next one too.
        self._last = Series()
        self._last_kind = ""
        self._last_method = b""
        self._last_status = 0
        # By status and Proxy-Status error type: the proxy's own responses and aborted responses.
        self.errors: dict[tuple[int, str], int] = {}
        # HTTP/2 connections that were ended, by the name of the code of their GOAWAY.
        self.goaways: dict[str, int] = {}
        # TLS handshakes of clients that have failed, by Proxy-Status error type.
        self.handshakes: dict[str, int] = {}
        self.connects = Histogram()
        self.received = 0.0
        self.sent = 0.0
        self.reused = 0.0
        self.retried = 0

    def series(self, kind: str, method: bytes, status: int) -> Series:
        """Return the series of a kind, method and status; all unknown methods share one."""
        if status == self._last_status and method == self._last_method and kind == self._last_kind:
            return self._last
        self._last = self._find(kind, method, status)
        self._last_kind = kind
        self._last_method = method
        self._last_status = status
        return self._last

    def all_series(self) -> dict[tuple[str, bytes, int], Series]:
        """Return every series by kind, method and status."""
        return self._series

    def _find(self, kind: str, method: bytes, status: int) -> Series:
        key = (kind, method, status)
        series = self._series.get(key)
        if series is None:
            if method not in _METHODS:
                key = (kind, OTHER.encode(), status)
                series = self._series.get(key)
            if series is None:
                series = self._series[key] = Series()
        return series

    def failed(self, status: int, error: str) -> None:
        """Count a response of the proxy's own, or an aborted response, whose status is 0."""
        key = (status, error)
        self.errors[key] = self.errors.get(key, 0) + 1

    def goaway(self, code: str) -> None:
        """Count an HTTP/2 connection that was ended with a GOAWAY of that code."""
        self.goaways[code] = self.goaways.get(code, 0) + 1

    def handshake_failed(self, error: str) -> None:
        """Count a TLS handshake of a client that has failed with that error."""
        self.handshakes[error] = self.handshakes.get(error, 0) + 1

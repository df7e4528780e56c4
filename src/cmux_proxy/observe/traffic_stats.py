"""Counters as values: they add up over workers and are carried between processes as JSON.

Does not know processes or sockets. `worker_stats.py` holds these values beside all others of a
worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import add
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from cmux_proxy.observe.counters import Counters, Series
from cmux_proxy.observe.histogram import BUCKETS, Histogram

JsonObject = dict[str, Any]


class _Addable(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


Key = TypeVar("Key")
Value = TypeVar("Value", bound=_Addable)


def add_tables(first: Mapping[Key, Value], second: Mapping[Key, Value]) -> dict[Key, Value]:
    """Return the values of both tables; those that have the same key are added."""
    total = dict(first)
    for key, value in second.items():
        known = total.get(key)
        total[key] = value if known is None else known + value
    return total


@dataclass(frozen=True, slots=True)
class HistogramStats:
    """Durations counted by bucket, as `BUCKETS` bounds them, and their sum in seconds."""

    buckets: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    total: float = 0.0

    @classmethod
    def of(cls, histogram: Histogram) -> Self:
        """Return the present values of a histogram."""
        return cls(tuple(histogram.buckets()), histogram.total)

    def count(self) -> int:
        """Return how many durations were counted."""
        return sum(self.buckets)

    def __add__(self, other: "HistogramStats") -> "HistogramStats":
        buckets = tuple(map(add, self.buckets, other.buckets))
        return HistogramStats(buckets, self.total + other.total)

    def to_json(self) -> JsonObject:
        """Return plain data."""
        return {"buckets": list(self.buckets), "total": self.total}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Return the value that `to_json` gave."""
        return cls(tuple(data["buckets"]), data["total"])


class SeriesKey(NamedTuple):
    """What the exchanges of a series have in common."""

    kind: str
    method: str
    status: int


@dataclass(frozen=True, slots=True)
class SeriesStats:
    """Exchanges of one kind, method and status: how long they took, and until the first byte."""

    durations: HistogramStats
    first_bytes: HistogramStats

    @classmethod
    def of(cls, series: Series) -> Self:
        """Return the present values of a series."""
        return cls(HistogramStats.of(series.durations), HistogramStats.of(series.first_bytes))

    def __add__(self, other: "SeriesStats") -> "SeriesStats":
        return SeriesStats(self.durations + other.durations, self.first_bytes + other.first_bytes)


@dataclass(frozen=True, slots=True)
class TrafficStats:
    """What a worker has counted of all exchanges; bytes are those to upstreams and to clients.

    `errors` are by status and Proxy-Status error type, `goaways` by error code, and `handshakes`,
    those of clients that failed, by Proxy-Status error type.
    """

    series: Mapping[SeriesKey, SeriesStats]
    errors: Mapping[tuple[int, str], int]
    goaways: Mapping[str, int]
    handshakes: Mapping[str, int]
    connects: HistogramStats
    received: int
    sent: int
    reused: int
    retried: int

    @classmethod
    def of(cls, counters: Counters) -> Self:
        """Return the present values of a worker's counters."""
        return cls(
            series={
                SeriesKey(kind, method.decode("latin-1"), status): SeriesStats.of(series)
                for (kind, method, status), series in counters.all_series().items()
            },
            errors=dict(counters.errors),
            goaways=dict(counters.goaways),
            handshakes=dict(counters.handshakes),
            connects=HistogramStats.of(counters.connects),
            received=int(counters.received),
            sent=int(counters.sent),
            reused=int(counters.reused),
            retried=counters.retried,
        )

    def __add__(self, other: "TrafficStats") -> "TrafficStats":
        return TrafficStats(
            series=add_tables(self.series, other.series),
            errors=add_tables(self.errors, other.errors),
            goaways=add_tables(self.goaways, other.goaways),
            handshakes=add_tables(self.handshakes, other.handshakes),
            connects=self.connects + other.connects,
            received=self.received + other.received,
            sent=self.sent + other.sent,
            reused=self.reused + other.reused,
            retried=self.retried + other.retried,
        )

    def to_json(self) -> JsonObject:
        """Return plain data."""
        return {
            "series": [
                [*key, series.durations.to_json(), series.first_bytes.to_json()]
                for key, series in self.series.items()
            ],
            "errors": [[status, error, count] for (status, error), count in self.errors.items()],
            "goaways": dict(self.goaways),
            "handshakes": dict(self.handshakes),
            "connects": self.connects.to_json(),
            "received": self.received,
            "sent": self.sent,
            "reused": self.reused,
            "retried": self.retried,
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Return the value that `to_json` gave."""
        return cls(
            series={
                SeriesKey(*row[:3]): SeriesStats(*map(HistogramStats.from_json, row[3:]))
                for row in data["series"]
            },
            errors={(status, error): count for status, error, count in data["errors"]},
            goaways=data["goaways"],
            handshakes=data["handshakes"],
            connects=HistogramStats.from_json(data["connects"]),
            received=data["received"],
            sent=data["sent"],
            reused=data["reused"],
            retried=data["retried"],
        )

"""WorkerStats: everything that one worker reports of itself, as values that add up.

A worker fills it, the RPC between processes carries it as JSON, and the sum of several is what the
admin listener shows. Does not know sockets, processes or the formats of the admin listener.

Times are seconds since 1970.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Self

from cmux_proxy.observe.port_activity import PortActivity
from cmux_proxy.observe.record_fields import ConnectionFields, ErrorFields
from cmux_proxy.observe.traffic_stats import HistogramStats, JsonObject, TrafficStats, add_tables

PortKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """Which build of the proxy runs, and on which event loop."""

    version: str
    build: str
    loop: str

    def to_json(self) -> JsonObject:
        """Return plain data."""
        return {"version": self.version, "build": self.build, "loop": self.loop}


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """Resources of a process; None where the system does not say (all but Linux)."""

    cpu_seconds: float
    start_time: float
    max_fds: int
    resident_bytes: int | None = None
    open_fds: int | None = None

    def __add__(self, other: "ProcessStats") -> "ProcessStats":
        return ProcessStats(
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            start_time=min(self.start_time, other.start_time),
            max_fds=min(self.max_fds, other.max_fds),
            resident_bytes=_add_known(self.resident_bytes, other.resident_bytes),
            open_fds=_add_known(self.open_fds, other.open_fds),
        )

    def to_json(self) -> JsonObject:
        """Return plain data."""
        return {name: getattr(self, name) for name in ProcessStats.__slots__}


@dataclass(frozen=True, slots=True)
class PortStats:
    """Activity of one port: `requests` and `tunnels` under way, and totals.

    `count` is all requests so far, `errors` are those with a status of 500 or more.
    """

    workspace: str
    requests: int
    tunnels: int
    count: int
    errors: int
    durations: HistogramStats
    received: int
    sent: int
    last_request: float
    last_byte: float

    @classmethod
    def of(cls, port: PortActivity, clock_offset: float) -> Self:
        """Return the present values; the offset makes seconds since 1970 of the port's times."""
        return cls(
            workspace=port.workspace,
            requests=int(port.requests),
            tunnels=port.tunnels,
            count=int(port.count),
            errors=port.errors,
            durations=HistogramStats.of(port.durations),
            received=int(port.received),
            sent=int(port.sent),
            last_request=port.last_request + clock_offset,
            last_byte=port.last_byte + clock_offset,
        )

    def __add__(self, other: "PortStats") -> "PortStats":
        return PortStats(
            workspace=self.workspace or other.workspace,
            requests=self.requests + other.requests,
            tunnels=self.tunnels + other.tunnels,
            count=self.count + other.count,
            errors=self.errors + other.errors,
            durations=self.durations + other.durations,
            received=self.received + other.received,
            sent=self.sent + other.sent,
            last_request=max(self.last_request, other.last_request),
            last_byte=max(self.last_byte, other.last_byte),
        )

    def to_json(self) -> JsonObject:
        """Return plain data."""
        values = {name: getattr(self, name) for name in PortStats.__slots__}
        return {**values, "durations": self.durations.to_json()}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Return the value that `to_json` gave."""
        return cls(**{**data, "durations": HistogramStats.from_json(data["durations"])})


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker, or several together: then `workers` counts them and `pid` is 0.

    `clients`, `upstreams` and `idle_upstreams` are open connections. `http2_connections` are those
    of the clients that speak HTTP/2, `http2_streams` their streams. `tunnels` are by kind and
    `outcomes` by name. `recent` are the last errors, the oldest first. `lost_lines` are lines
    missing in the access log, by reason.
    """

    pid: int
    time: float
    is_draining: bool
    build: BuildInfo
    in_flight: int
    clients: int
    upstreams: int
    idle_upstreams: int
    tunnels: Mapping[str, int]
    outcomes: Mapping[str, int]
    traffic: TrafficStats
    ports: Mapping[PortKey, PortStats]
    process: ProcessStats
    recent: Sequence[ErrorFields] = field(default_factory=list)
    lost_lines: Mapping[str, int] = field(default_factory=dict)
    connections: Sequence[ConnectionFields] = field(default_factory=list)
    http2_connections: int = 0
    http2_streams: int = 0
    workers: int = 1

    def __add__(self, other: "WorkerStats") -> "WorkerStats":
        return WorkerStats(
            pid=0,
            time=max(self.time, other.time),
            is_draining=self.is_draining or other.is_draining,
            build=self.build,
            in_flight=self.in_flight + other.in_flight,
            clients=self.clients + other.clients,
            upstreams=self.upstreams + other.upstreams,
            idle_upstreams=self.idle_upstreams + other.idle_upstreams,
            tunnels=add_tables(self.tunnels, other.tunnels),
            outcomes=add_tables(self.outcomes, other.outcomes),
            traffic=self.traffic + other.traffic,
            ports=add_tables(self.ports, other.ports),
            process=self.process + other.process,
            recent=sorted([*self.recent, *other.recent], key=lambda error: error["time"]),
            lost_lines=add_tables(self.lost_lines, other.lost_lines),
            connections=[*self.connections, *other.connections],
            http2_connections=self.http2_connections + other.http2_connections,
            http2_streams=self.http2_streams + other.http2_streams,
            workers=self.workers + other.workers,
        )

    def without_gauges(self) -> "WorkerStats":
        """Return only what stays true when the worker no longer responds: what it has counted."""
        ports = {key: replace(port, requests=0, tunnels=0) for key, port in self.ports.items()}
        return replace(
            self,
            is_draining=False,
            in_flight=0,
            clients=0,
            upstreams=0,
            idle_upstreams=0,
            tunnels={},
            ports=ports,
            process=replace(self.process, resident_bytes=None, open_fds=None),
            connections=[],
            http2_connections=0,
            http2_streams=0,
            workers=0,
        )

    def to_json(self) -> JsonObject:
        """Return plain data."""
        values = {name: getattr(self, name) for name in WorkerStats.__slots__}
        return {
            **values,
            "build": self.build.to_json(),
            "traffic": self.traffic.to_json(),
            "ports": [[host, port, stats.to_json()] for (host, port), stats in self.ports.items()],
            "process": self.process.to_json(),
            "recent": list(self.recent),
            "connections": list(self.connections),
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Return the value that `to_json` gave."""
        values = {
            **data,
            "build": BuildInfo(**data["build"]),
            "traffic": TrafficStats.from_json(data["traffic"]),
            "ports": {
                (host, port): PortStats.from_json(stats) for host, port, stats in data["ports"]
            },
            "process": ProcessStats(**data["process"]),
        }
        return cls(**values)


def total_of(workers: Sequence[WorkerStats]) -> WorkerStats:
    """Return the sum of the workers' values; there has to be at least one worker."""
    return reduce(add, workers)


def _add_known(first: int | None, second: int | None) -> int | None:
    return second if first is None else first + (second or 0)

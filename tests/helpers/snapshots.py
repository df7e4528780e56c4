"""Statistics of workers that have relayed what a test says, without sockets."""

from typing import Any, Final

from cmux_proxy.observe.counters import Counters
from cmux_proxy.observe.histogram import BUCKETS
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.traffic_stats import HistogramStats, TrafficStats
from cmux_proxy.observe.worker_stats import BuildInfo, PortStats, ProcessStats, WorkerStats
from cmux_proxy.server.snapshot import take_snapshot
from tests.helpers.fakes import World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET /a?secret=1 HTTP/1.1", "Host: a", ROUTE)
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE)

NOW: Final = 1_800_000_000.0


class ObservedWorker:
    """A worker whose exchanges are counted."""

    def __init__(self) -> None:
        self.observer = Observer(True)
        self.world = World(None, self.observer)
        self.world.peer = "192.0.2.7"

    def stats(self, max_connections: int = 0) -> WorkerStats:
        """Return its statistics."""
        return take_snapshot(self.world.services, self.observer, max_connections)


def worker_stats(**values: Any) -> WorkerStats:
    """Return the statistics of a worker that has done nothing, but for the given values."""
    defaults: dict[str, Any] = {
        "pid": 1, "time": NOW, "is_draining": False, "build": BuildInfo("1", "pure", "asyncio"),
        "in_flight": 0, "clients": 0, "upstreams": 0, "idle_upstreams": 0, "tunnels": {},
        "outcomes": {}, "traffic": TrafficStats.of(Counters()), "ports": {},
        "process": ProcessStats(0.0, NOW, 256),
    }  # fmt: skip
    return WorkerStats(**{**defaults, **values})


def port_stats(**values: Any) -> PortStats:
    """Return the activity of a port with one request under way, but for the given values."""
    defaults: dict[str, Any] = {
        "workspace": "", "requests": 1, "tunnels": 0, "count": 3, "errors": 1,
        "durations": HistogramStats((2, *[0] * len(BUCKETS)), 0.001), "received": 10, "sent": 20,
        "last_request": NOW - 1, "last_byte": NOW - 1,
    }  # fmt: skip
    return PortStats(**{**defaults, **values})

"""Snapshot: the present WorkerStats of one worker.

Reads what the relay and the observer keep, and changes nothing. Does not know other workers:
`stats_rpc.py` carries the result to the admin process.
"""

import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from cmux_proxy._build import __version__, build_name
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.record_fields import record_fields
from cmux_proxy.observe.traffic_stats import TrafficStats
from cmux_proxy.observe.worker_stats import BuildInfo, PortStats, ProcessStats, WorkerStats
from cmux_proxy.relay.services import Services
from cmux_proxy.server.connection_limits import descriptor_limits
from cmux_proxy.server.event_loops import io_name, running_loop_name
from cmux_proxy.server.open_connections import Moment, OpenConnections
from cmux_proxy.server.telemetry import STARTED


def take_snapshot(
    services: Services,
    observer: Observer,
    max_connections: int = 0,
    clock: Callable[[], float] = time.time,
) -> WorkerStats:
    """Return the values of a worker, and a list of at most `max_connections` of its connections.

    The list begins with the oldest tunnels, because a list of all connections takes long to make.
    `clock` gives seconds since 1970. It has to be called in the worker's event loop.
    """
    return _Snapshot(services, observer, clock()).take(max_connections)


class _Snapshot:
    """What one snapshot reads, at one moment; `open_connections.py` has the connections."""

    def __init__(self, services: Services, observer: Observer, time: float) -> None:
        self._services = services
        self._observer = observer
        self._time = time
        self._now = observer.now()
        self._open = OpenConnections(services, Moment(time, self._now, services.ticker.now))
        records = [exchange.record() for exchange in self._open.exchanges()]
        self._under_way = [record for record in records if record is not None]

    def take(self, max_connections: int) -> WorkerStats:
        """Return the values of the worker."""
        services, tunnels = self._services, self._open.tunnels
        for tunnel in tunnels:
            tunnel.note_activity()
        places = len(services.pool) + len(tunnels)
        places += sum(exchange.has_upstream() for exchange in self._open.exchanges())
        # Several exchanges share a connection over HTTP/2.
        surplus, idle_surplus = services.pool.count_surplus()
        return WorkerStats(
            pid=os.getpid(),
            time=self._time,
            is_draining=services.registry.is_stopping(),
            build=BuildInfo(
                __version__, build_name(), io_name(running_loop_name(), services.has_native_streams)
            ),
            in_flight=len(self._under_way),
            clients=self._open.count(),
            upstreams=places - surplus,
            idle_upstreams=len(services.pool) - idle_surplus,
            tunnels=Counter(tunnel.record.kind for tunnel in tunnels if tunnel.record is not None),
            outcomes={outcome.name.lower(): services.tally.count(outcome) for outcome in Outcome},
            traffic=self._traffic(),
            ports=self._ports(),
            recent=[
                {**record_fields(record), "time": self._epoch(record.ended)}
                for record in self._observer.recent
            ],
            connections=self._open.listed(max_connections),
            http2_connections=self._open.count_http2(),
            http2_streams=self._open.count_streams(),
            process=_process(),
        )

    def _traffic(self) -> TrafficStats:
        """Return the counters, with the bytes of exchanges and tunnels that have not ended."""
        traffic = TrafficStats.of(self._observer.counts)
        moved = [tunnel.moved() for tunnel in self._open.tunnels]
        moved += [(record.received, record.sent) for record in self._under_way]
        return replace(
            traffic,
            received=traffic.received + sum(received for received, _ in moved),
            sent=traffic.sent + sum(sent for _, sent in moved),
        )

    def _ports(self) -> dict[tuple[str, int], PortStats]:
        offset = self._time - self._services.ticker.now
        return {
            target: PortStats.of(port, offset)
            for target, port in self._observer.ports.all().items()
        }

    def _epoch(self, at: float) -> float:
        """Return a time of the records' clock in seconds since 1970."""
        return self._time - (self._now - at)


def _process() -> ProcessStats:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    resident_bytes = open_fds = None
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as statm:
            resident_bytes = int(statm.read().split()[1]) * resource.getpagesize()
        open_fds = len(os.listdir("/proc/self/fd")) - 1
    return ProcessStats(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        start_time=STARTED,
        max_fds=descriptor_limits()[0],
        resident_bytes=resident_bytes,
        open_fds=open_fds,
    )

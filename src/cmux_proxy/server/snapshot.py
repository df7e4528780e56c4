"""Snapshot: the present WorkerStats of one worker.

Reads what the relay and the observer keep, and changes nothing. Does not know other workers:
`stats_rpc.py` carries the result to the admin process.
"""

import heapq
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from cmux_proxy._build import __version__, build_name
from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.record import Record
from cmux_proxy.observe.record_fields import ConnectionFields, connection_fields, record_fields
from cmux_proxy.observe.traffic_stats import TrafficStats
from cmux_proxy.observe.worker_stats import BuildInfo, PortStats, ProcessStats, WorkerStats
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.tunnel import Tunnel
from cmux_proxy.server.connection_limits import descriptor_limits
from cmux_proxy.server.event_loops import io_name, running_loop_name
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
    """What one snapshot reads: the connections at one moment, by the clocks that they use."""

    def __init__(self, services: Services, observer: Observer, time: float) -> None:
        self._services = services
        self._observer = observer
        self._time = time
        # The records' clock and the event loop's clock.
        self._now = observer.now()
        self._loop_now = services.ticker.now
        # Without lingering closes, whose exchanges are over: neither the count nor the list of
        # connections has them. The registry knows connections by their deadlines only.
        self._clients = [
            client for client in services.registry.clients if isinstance(client, Http1Connection)
        ]
        self._tunnels = [
            tunnel for tunnel in services.registry.tunnels if isinstance(tunnel, Tunnel)
        ]

    def take(self, max_connections: int) -> WorkerStats:
        """Return the values of the worker."""
        services, tunnels = self._services, self._tunnels
        for tunnel in tunnels:
            tunnel.note_activity()
        under_way = self._under_way()
        exchanges = [client.exchange for client in self._clients]
        upstreams = sum(one.has_upstream() for one in exchanges if one is not None)
        return WorkerStats(
            pid=os.getpid(),
            time=self._time,
            is_draining=services.registry.is_draining,
            build=BuildInfo(
                __version__, build_name(), io_name(running_loop_name(), services.has_native_streams)
            ),
            in_flight=len(under_way),
            clients=len(self._clients) + len(tunnels),
            upstreams=len(services.pool) + upstreams + len(tunnels),
            idle_upstreams=len(services.pool),
            tunnels=Counter(tunnel.record.kind for tunnel in tunnels if tunnel.record is not None),
            outcomes={outcome.name.lower(): services.tally.count(outcome) for outcome in Outcome},
            traffic=self._traffic(under_way),
            ports=self._ports(),
            recent=[
                {**record_fields(record), "time": self._epoch(record.ended)}
                for record in self._observer.recent
            ],
            connections=self._connections(max_connections) if max_connections else [],
            process=_process(),
        )

    def _under_way(self) -> list[Record]:
        records = [_record_in_progress(client) for client in self._clients]
        return [record for record in records if record is not None]

    def _traffic(self, under_way: list[Record]) -> TrafficStats:
        """Return the counters, with the bytes of exchanges and tunnels that have not ended."""
        traffic = TrafficStats.of(self._observer.counts)
        moved = [tunnel.moved() for tunnel in self._tunnels]
        moved += [(record.received, record.sent) for record in under_way]
        return replace(
            traffic,
            received=traffic.received + sum(received for received, _ in moved),
            sent=traffic.sent + sum(sent for _, sent in moved),
        )

    def _ports(self) -> dict[tuple[str, int], PortStats]:
        offset = self._time - self._loop_now
        return {
            target: PortStats.of(port, offset)
            for target, port in self._observer.ports.all().items()
        }

    def _connections(self, count: int) -> list[ConnectionFields]:
        oldest = heapq.nsmallest(count, self._tunnels, key=_started)
        listed = [
            self._tunnel(tunnel, tunnel.record) for tunnel in oldest if tunnel.record is not None
        ]
        return listed + [self._client(client) for client in self._clients[: count - len(listed)]]

    def _client(self, client: Http1Connection) -> ConnectionFields:
        since = self._time - (self._loop_now - client.since)
        record = _record_in_progress(client)
        if record is None:
            return {"state": "idle", "since": since, "client": client.address() or None}
        return connection_fields("request", since, record, self._now)

    def _tunnel(self, tunnel: Tunnel, record: Record) -> ConnectionFields:
        received, sent = tunnel.moved()
        fields = connection_fields("tunnel", self._epoch(record.started), record, self._now)
        fields["bytes_in"] += received
        fields["bytes_out"] += sent
        return fields

    def _epoch(self, at: float) -> float:
        """Return a time of the records' clock in seconds since 1970."""
        return self._time - (self._now - at)


def _record_in_progress(client: Http1Connection) -> Record | None:
    return None if client.exchange is None else client.exchange.record()


def _started(tunnel: Tunnel) -> float:
    return 0.0 if tunnel.record is None else tunnel.record.started


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

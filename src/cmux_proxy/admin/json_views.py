"""WorkerStats -> the JSON of /activity and /connections.

`docs/reference/admin.schema.json` is its schema. Does not know HTTP or the dashboard, whose JSON
`overview.py` makes.
"""

from collections.abc import Collection

from cmux_proxy.observe.traffic_stats import JsonObject
from cmux_proxy.observe.worker_stats import PortStats, WorkerStats


def activity(stats: WorkerStats) -> JsonObject:
    """Return the activity of the proxy and of each port; times are in seconds since 1970."""
    ports = sorted(stats.ports.items(), key=lambda item: (item[0][1], item[0][0]))
    return {
        "time": stats.time,
        "draining": stats.is_draining,
        "requests": stats.in_flight,
        "tunnels": sum(stats.tunnels.values()),
        **_times(stats.ports.values(), stats.time),
        "ports": [_port(host, port, entry, stats.time) for (host, port), entry in ports],
    }


def connections(stats: WorkerStats) -> JsonObject:
    """Return the open connections of clients, the oldest first."""
    oldest_first = sorted(stats.connections, key=lambda connection: connection["since"])
    return {"time": stats.time, "connections": oldest_first}


def _port(host: str, port: int, stats: PortStats, now: float) -> JsonObject:
    return {
        "host": host,
        "port": port,
        "workspace": stats.workspace or None,
        "requests": stats.requests,
        "tunnels": stats.tunnels,
        "total_requests": stats.count,
        "total_errors": stats.errors,
        "bytes_in": stats.received,
        "bytes_out": stats.sent,
        **_times([stats], now),
    }


def _times(ports: Collection[PortStats], now: float) -> JsonObject:
    """Return when the last request and the last byte came; null where there was none."""
    if not ports:
        return {"last_request": None, "last_byte": None, "idle_seconds": None}
    last_byte = max(port.last_byte for port in ports)
    return {
        "last_request": max(port.last_request for port in ports),
        "last_byte": last_byte,
        "idle_seconds": max(0.0, round(now - last_byte, 3)),
    }

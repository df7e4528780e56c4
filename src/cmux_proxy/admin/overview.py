"""WorkerStats and what listens on this machine -> the JSON of /events, which the dashboard shows.

Does not know HTTP. `port_rows.py` makes the rows of ports, `event_stream.py` sends the result.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from cmux_proxy.admin.json_views import activity
from cmux_proxy.admin.port_rows import PortRow, port_rows
from cmux_proxy.admin.reachability import Reachability
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.observe.histogram import BUCKETS
from cmux_proxy.observe.record_fields import ConnectionFields, ErrorFields
from cmux_proxy.observe.traffic_stats import HistogramStats, JsonObject
from cmux_proxy.observe.worker_stats import PortStats, WorkerStats

_TUNNEL: Final = (
    "since", "client", "kind", "path", "port", "workspace", "upstream", "bytes_in", "bytes_out",
)  # fmt: skip
_ERROR: Final = ("time", "kind", "method", "path", "status", "error", "port", "workspace")
# Errors that have these fields in common are shown as one.
_GROUPED_BY: Final = _ERROR[1:]


class ListLimits(NamedTuple):
    """The longest lists of an event, which is sent every second and shown on one page."""

    max_ports: int = 500
    max_tunnels: int = 200
    max_errors: int = 50


DEFAULT_LIMITS: Final = ListLimits()


def overview(
    stats: WorkerStats,
    sockets: Sequence[ListeningPort],
    reachability: Reachability,
    limits: ListLimits = DEFAULT_LIMITS,
) -> JsonObject:
    """Return what the dashboard shows: what listens, its activity, and the last errors.

    Times are in seconds since 1970; `bounds` are those of the buckets in `answers`, in seconds.
    """
    rows = port_rows(stats.ports, sockets, reachability)
    shown = _cut(rows, limits.max_ports)
    totals = activity(stats)
    del totals["ports"]
    return {
        **totals,
        "workers": stats.workers,
        "build": stats.build.to_json(),
        "clients": stats.clients,
        "bounds": BUCKETS,
        "proxy": _proxy(reachability),
        "ports": [row.to_json() for row in shown],
        "more_ports": len(rows) - len(shown),
        "all": _all(stats.ports.values()),
        "errors": _errors(stats.recent)[: limits.max_errors],
        "open_tunnels": _tunnels(stats.connections)[: limits.max_tunnels],
    }


def _proxy(reachability: Reachability) -> JsonObject:
    addresses = reachability.addresses
    return {
        "addresses": [str(address) for address in addresses],
        "local_port": reachability.local_port(),
        "any_port": next((address.port for address in addresses if address.port), None),
        "suffixes": list(reachability.suffixes),
    }


def _cut(rows: list[PortRow], count: int) -> list[PortRow]:
    """Return at most `count` rows: ports that listen first, then those with the last requests."""
    if len(rows) <= count:
        return rows
    ranked = sorted(rows, key=lambda row: (not row.listens, -_last_request(row)))
    kept = {id(row) for row in ranked[:count]}
    return [row for row in rows if id(row) in kept]


def _last_request(row: PortRow) -> float:
    return 0.0 if row.stats is None else row.stats.last_request


def _all(ports: Iterable[PortStats]) -> JsonObject:
    """Return the totals of all ports, also of those that are not shown."""
    ports = list(ports)
    durations = sum((port.durations for port in ports), HistogramStats())
    return {
        "total_requests": sum(port.count for port in ports),
        "total_errors": sum(port.errors for port in ports),
        "answers": list(durations.buckets),
    }


def _errors(recent: Iterable[ErrorFields]) -> list[JsonObject]:
    """Return errors, the newest first; equal ones that follow each other are one, with a count."""
    newest_first = sorted(recent, key=lambda error: -error["time"])
    groups = [list(group) for _, group in groupby(newest_first, key=_group_of)]
    return [{**_pick(group[0], _ERROR), "count": len(group)} for group in groups]


def _group_of(error: ErrorFields) -> list[object]:
    return list(_pick(error, _GROUPED_BY).values())


def _tunnels(connections: Iterable[ConnectionFields]) -> list[JsonObject]:
    """Return the open tunnels, the oldest first."""
    tunnels = [connection for connection in connections if connection["state"] == "tunnel"]
    tunnels.sort(key=lambda tunnel: tunnel["since"])
    return [_pick(tunnel, _TUNNEL) for tunnel in tunnels]


def _pick(fields: Mapping[str, object], names: Iterable[str]) -> JsonObject:
    return {name: fields[name] for name in names}

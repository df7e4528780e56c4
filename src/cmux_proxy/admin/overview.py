"""What the dashboard shows, as plain data: each port once, with all that is known of it.

What listens and what was asked for are put together by the target that leads there.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from cmux_proxy.admin.aggregate import Snapshot
from cmux_proxy.admin.json_views import activity
from cmux_proxy.admin.reachability import Reachability, is_here, is_isolated
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.observe.counters import BUCKETS
from cmux_proxy.observe.record import shorten

# So much is sent once a second; a page of which people see everything has no room for more.
MOST_PORTS: Final = 500
MOST_TUNNELS: Final = 200
MOST_ERRORS: Final = 50
MAX_COMMAND: Final = 255

_ASKED: Final = (
    "requests", "tunnels", "total_requests", "total_errors", "bytes_in", "bytes_out",
    "last_request",
)  # fmt: skip
_TUNNEL: Final = (
    "since", "client", "kind", "path", "port", "workspace", "upstream", "bytes_in", "bytes_out",
)  # fmt: skip
_ERROR: Final = ("time", "kind", "method", "path", "status", "error", "port", "workspace")
_SAME: Final = _ERROR[1:]


def overview(told: Snapshot, found: Sequence[ListeningPort], reach: Reachability) -> Snapshot:
    """Return what the dashboard shows: what listens, what goes on there, and what went wrong.

    Times are seconds since 1970; `bounds` are those of the buckets in `answers`, in seconds.
    """
    rows = _rows(told, found, reach)
    shown = _cut(rows)
    total = activity(told)
    del total["ports"]
    return {
        **total,
        "workers": told["workers"],
        "build": told["build"],
        "clients": told["clients"],
        "bounds": BUCKETS,
        "proxy": _proxy(reach),
        "ports": shown,
        "more_ports": len(rows) - len(shown),
        "all": _all(told["ports"]),
        "errors": _errors(told["recent"]),
        "open_tunnels": _tunnels(told["connections"]),
    }


def _proxy(reach: Reachability) -> Snapshot:
    return {
        "addresses": [str(address) for address in reach.addresses],
        "local_port": reach.local_port(),
        "any_port": next((one.port for one in reach.addresses if one.port), None),
        "suffixes": list(reach.suffixes),
    }


def _rows(told: Snapshot, found: Sequence[ListeningPort], reach: Reachability) -> list[Snapshot]:
    """Return a row for each target that something is known of, in a stable order."""
    rows: dict[tuple[str, int], Snapshot] = {}
    for each in found:
        host = reach.target_host(each)
        row = rows.setdefault(
            (host or f"{each.address} {each.workspace or ''}", each.port),
            _row(host or each.address, each.port, each.workspace),
        )
        _listens(row, each, reach)
        row["reached"] = host is not None
    latency = {(entry["host"], entry["port"]): entry["answers"] for entry in told["ports"]}
    for entry in activity(told)["ports"]:
        key = (entry["host"], entry["port"])
        if key not in rows:
            rows[key] = _row(*key, entry["workspace"])
            _look_for(rows[key], found, reach)
        _asked(rows[key], entry, latency[key]["buckets"])
    for row in rows.values():
        is_linked = row["reached"] and row["own"] is None
        row["label"] = (
            reach.label(row["host"], row["port"], row["workspace"]) if is_linked else None
        )
    return sorted(rows.values(), key=lambda row: (row["port"], row["host"]))


def _row(host: str, port: int, workspace: str | None) -> Snapshot:
    """Return a row of which nothing else is known; whether it listens is None if nobody knows."""
    return {
        "host": host,
        "port": port,
        "workspace": workspace,
        "isolated": False,
        "listens": False if is_here(host) else None,
        "reached": True,
        "own": None,
        "at": [],
        "asked": None,
    }


def _listens(row: Snapshot, each: ListeningPort, reach: Reachability) -> None:
    """Note that something listens; the same socket in several processes is one place."""
    row["listens"] = True
    row["isolated"] = row["isolated"] or is_isolated(each)
    row["own"] = row["own"] or reach.owner(each)
    command = None if each.command is None else shorten(each.command, MAX_COMMAND)
    place = {"address": each.address, "pid": each.pid, "command": command}
    if all(one["address"] != each.address or one["pid"] is None for one in row["at"]):
        row["at"].append(place)


def _look_for(row: Snapshot, found: Iterable[ListeningPort], reach: Reachability) -> None:
    """Note what listens on all addresses, and therefore on this one too."""
    for each in found:
        is_there = each.workspace is None and each.covers(row["host"])
        if is_there and each.port == row["port"] and is_here(row["host"]):
            _listens(row, each, reach)


def _asked(row: Snapshot, entry: Snapshot, buckets: Sequence[int]) -> None:
    row["asked"] = {**{name: entry[name] for name in _ASKED}, "answers": buckets}
    # A name says more than the number that an address stands for.
    if not row["isolated"]:
        row["workspace"] = entry["workspace"] or row["workspace"]


def _cut(rows: list[Snapshot]) -> list[Snapshot]:
    """Leave out what nobody listens on any more, if there is too much, and then the last ones."""
    if len(rows) <= MOST_PORTS:
        return rows
    heard = sorted(rows, key=lambda row: (not row["listens"], -_last_request(row)))
    kept = {id(row) for row in heard[:MOST_PORTS]}
    return [row for row in rows if id(row) in kept]


def _last_request(row: Snapshot) -> float:
    return 0.0 if row["asked"] is None else float(row["asked"]["last_request"])


def _all(entries: Sequence[Snapshot]) -> Snapshot:
    """Return the figures of all ports together."""
    buckets = [0] * (len(BUCKETS) + 1)
    for entry in entries:
        buckets = [a + b for a, b in zip(buckets, entry["answers"]["buckets"], strict=True)]
    return {
        "total_requests": sum(entry["count"] for entry in entries),
        "total_errors": sum(entry["errors"] for entry in entries),
        "answers": buckets,
    }


def _errors(recent: Sequence[Snapshot]) -> list[Snapshot]:
    """Return the last errors, the newest first; the same again and again is one, with a count."""
    newest = sorted(recent, key=lambda each: -float(each["time"]))
    grouped = [list(same) for _, same in groupby(newest, key=_same)]
    return [
        {**{name: same[0][name] for name in _ERROR}, "count": len(same)}
        for same in grouped[:MOST_ERRORS]
    ]


def _same(each: Snapshot) -> list[Any]:
    return [each[name] for name in _SAME]


def _tunnels(connections: Sequence[Snapshot]) -> list[Snapshot]:
    """Return the open tunnels, the oldest first, and not all if there are many."""
    tunnels = [one for one in connections if one["state"] == "tunnel"]
    oldest = sorted(tunnels, key=lambda one: float(one["since"]))[:MOST_TUNNELS]
    return [{name: one[name] for name in _TUNNEL} for one in oldest]

"""Several workers' snapshots -> one: numbers add up, lists follow each other."""

from collections.abc import Sequence
from typing import Any

Snapshot = dict[str, Any]


def merged(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return the figures of all workers together; there has to be one at least."""
    first = snapshots[0]
    return {
        "time": max(each["time"] for each in snapshots),
        "workers": sum("is_absent" not in each for each in snapshots),
        "is_draining": any(each["is_draining"] for each in snapshots),
        "build": first["build"],
        **{name: sum(each[name] for each in snapshots) for name in _SUMS},
        "tunnels": _added(each["tunnels"] for each in snapshots),
        "outcomes": _added(each["outcomes"] for each in snapshots),
        "lost_lines": _added(each["lost_lines"] for each in snapshots),
        "counts": _counts([each["counts"] for each in snapshots]),
        "ports": _ports(snapshots),
        "recent": sorted(
            (each for one in snapshots for each in one["recent"]), key=lambda each: each["time"]
        ),
        "process": _process([each["process"] for each in snapshots]),
        "connections": [each for one in snapshots for each in one.get("connections", [])],
    }


_SUMS = ("in_flight", "clients", "upstreams", "idle_upstreams")


def _added(tables: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for table in tables:
        for name, count in table.items():
            total[name] = total.get(name, 0) + count
    return total


def _counts(several: Sequence[Snapshot]) -> Snapshot:
    series: dict[tuple[Any, ...], list[Snapshot]] = {}
    errors: dict[tuple[Any, ...], int] = {}
    for each in several:
        for *key, durations, first_bytes in each["series"]:
            known = series.setdefault(tuple(key), [_empty(durations), _empty(durations)])
            add(known[0], durations)
            add(known[1], first_bytes)
        for *key, count in each["errors"]:
            errors[tuple(key)] = errors.get(tuple(key), 0) + count
    connects = _empty(several[0]["connects"])
    for each in several:
        add(connects, each["connects"])
    return {
        "series": [[*key, *both] for key, both in sorted(series.items())],
        "errors": [[*key, count] for key, count in sorted(errors.items())],
        "connects": connects,
        **{name: sum(each[name] for each in several) for name in _COUNTERS},
    }


_COUNTERS = ("received", "sent", "reused", "retried")


def _empty(like: Snapshot) -> Snapshot:
    return {"buckets": [0] * len(like["buckets"]), "total": 0.0}


def add(total: Snapshot, more: Snapshot) -> None:
    """Add one histogram to another."""
    total["buckets"] = [a + b for a, b in zip(total["buckets"], more["buckets"], strict=True)]
    total["total"] += more["total"]


def _ports(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Return what goes on at each port, in the order of ports; times as seconds since 1970."""
    known: dict[tuple[str, int], Snapshot] = {}
    for one in snapshots:
        for host, port, told in one["ports"]:
            entry = _entry(host, port, told, one["time"])
            before = known.setdefault((host, port), entry)
            if before is not entry:
                _add_port(before, entry)
    return sorted(known.values(), key=lambda entry: (entry["port"], entry["host"]))


def _entry(host: str, port: int, told: Snapshot, now: float) -> Snapshot:
    times = {name: now - told[name] for name in ("last_request", "last_byte")}
    return {"host": host, "port": port, **told, **times}


def _add_port(total: Snapshot, more: Snapshot) -> None:
    for name in ("requests", "tunnels", "count", "errors", "received", "sent"):
        total[name] += more[name]
    for name in ("last_request", "last_byte"):
        total[name] = max(total[name], more[name])
    total["workspace"] = total["workspace"] or more["workspace"]
    answers = dict(total["answers"])
    add(answers, more["answers"])
    total["answers"] = answers


def _process(several: Sequence[Snapshot]) -> Snapshot:
    names = {name for each in several for name in each}
    total = {name: sum(each.get(name, 0) for each in several) for name in names}
    return {
        **total,
        "start_time": min(each["start_time"] for each in several),
        "max_fds": min(each["max_fds"] for each in several),
    }

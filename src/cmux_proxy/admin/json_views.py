"""A merged snapshot -> what the admin listener answers, as plain data for JSON."""

from collections.abc import Sequence

from cmux_proxy.admin.aggregate import Snapshot


def activity(told: Snapshot) -> Snapshot:
    """Return what goes on, in all and at each port; times as seconds since 1970."""
    ports = [_port(entry, told["time"]) for entry in told["ports"]]
    return {
        "time": told["time"],
        "draining": told["is_draining"],
        "requests": told["in_flight"],
        "tunnels": sum(told["tunnels"].values()),
        **_times(told["ports"], told["time"]),
        "ports": ports,
    }


def _times(entries: Sequence[Snapshot], now: float) -> Snapshot:
    """Return when something was heard of last; null where nothing was."""
    if not entries:
        return {"last_request": None, "last_byte": None, "idle_seconds": None}
    last_byte = max(entry["last_byte"] for entry in entries)
    return {
        "last_request": max(entry["last_request"] for entry in entries),
        "last_byte": last_byte,
        "idle_seconds": max(0.0, round(now - last_byte, 3)),
    }


def _port(entry: Snapshot, now: float) -> Snapshot:
    return {
        "host": entry["host"],
        "port": entry["port"],
        "workspace": entry["workspace"] or None,
        "requests": entry["requests"],
        "tunnels": entry["tunnels"],
        "total_requests": entry["count"],
        "total_errors": entry["errors"],
        "bytes_in": entry["received"],
        "bytes_out": entry["sent"],
        **_times([entry], now),
    }


def connections(told: Snapshot) -> Snapshot:
    """Return who is connected, the oldest first."""
    each = sorted(told["connections"], key=lambda one: float(one["since"]))
    return {"time": told["time"], "connections": each}

"""What one worker tells of itself: plain data, which adds up with that of other workers.

Reads what the relay keeps and changes nothing. Times are seconds since 1970.
"""

import asyncio
import heapq
import os
import resource
import sys
import time
from collections import Counter
from typing import Any, Final

from cmux_proxy._build import __version__, build_name
from cmux_proxy.downstream.http1_connection import ClientConnection
from cmux_proxy.observe.access_log import as_fields
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.record import Record
from cmux_proxy.relay.services import Context
from cmux_proxy.relay.tunnel import Tunnel
from cmux_proxy.server.connection_limits import descriptor_limits

Snapshot = dict[str, Any]

_STARTED: Final = time.time()


def snapshot(context: Context, observer: Observer, most: int = 0) -> Snapshot:
    """Return the figures of a worker, and a list of at most so many of its connections.

    Tunnels come first, the oldest of them, since to tell of all takes its time.
    """
    now = observer.clock()
    clients = [one for one in context.clients if isinstance(one, ClientConnection)]
    tunnels = [one for one in context.tunnels if isinstance(one, Tunnel)]
    under_way = [record for one in clients if (record := one.under_way(now)) is not None]
    for tunnel in tunnels:
        tunnel.note_activity()
    told: Snapshot = {
        "pid": os.getpid(),
        "time": time.time(),
        "is_draining": context.is_draining,
        "build": {"version": __version__, "build": build_name(), "loop": _loop_name()},
        "in_flight": len(under_way),
        "clients": len(context.clients) + len(tunnels),
        "upstreams": len(context.pool) + _with_upstream(clients) + len(tunnels),
        "idle_upstreams": len(context.pool),
        "tunnels": dict(Counter(one.record.kind for one in tunnels if one.record is not None)),
        "outcomes": {each.name.lower(): context.tally.count(each) for each in Outcome},
        "counts": _with_live(observer, under_way, tunnels),
        "ports": observer.ports.snapshot(context.ticker.now),
        "recent": [
            {"time": _epoch(each.ended, now), **as_fields(each)} for each in observer.recent
        ],
        # Whoever writes an access log fills this in.
        "lost_lines": {},
        "process": _process(),
    }
    if most:
        told["connections"] = _each(clients, tunnels, context, now, most)
    return told


def _loop_name() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def _with_upstream(clients: list[ClientConnection]) -> int:
    return sum(one.has_upstream() for one in clients)


def _with_live(observer: Observer, under_way: list[Record], tunnels: list[Tunnel]) -> Snapshot:
    """Return what is counted, with the bytes of what has not ended."""
    counts = observer.counts.snapshot()
    moved = [tunnel.moved() for tunnel in tunnels]
    counts["received"] += sum(each.received for each in under_way)
    counts["received"] += sum(received for received, _ in moved)
    counts["sent"] += sum(each.sent for each in under_way) + sum(sent for _, sent in moved)
    return counts


def _each(
    clients: list[ClientConnection], tunnels: list[Tunnel], context: Context, now: float, most: int
) -> list[Snapshot]:
    oldest = heapq.nsmallest(most, tunnels, key=_started)
    told = [_tunnel(one, one.record, now) for one in oldest if one.record is not None]
    for client in clients[: most - len(told)]:
        since = _epoch(client.since, context.ticker.now)
        record = client.under_way(now)
        if record is None:
            told.append({"state": "idle", "since": since, "client": client.address() or None})
        else:
            told.append({"state": "request", "since": since, **_fields(record, now)})
    return told


def _started(tunnel: Tunnel) -> float:
    return 0.0 if tunnel.record is None else tunnel.record.started


def _tunnel(tunnel: Tunnel, record: Record, now: float) -> Snapshot:
    received, sent = tunnel.moved()
    fields = _fields(record, now)
    fields["bytes_in"] += received
    fields["bytes_out"] += sent
    return {"state": "tunnel", "since": _epoch(record.started, now), **fields}


def _fields(record: Record, now: float) -> Snapshot:
    """Return what is known of an exchange that has not ended."""
    fields = as_fields(record)
    del fields["error"]
    return {**fields, "status": record.status or None, "seconds": round(now - record.started, 6)}


def _epoch(at: float, now: float) -> float:
    """Return a time of a monotonic clock, at which it is `now`, in seconds since 1970."""
    return time.time() - (now - at)


def _process() -> Snapshot:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told: Snapshot = {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "start_time": _STARTED,
        "max_fds": descriptor_limits()[0],
    }
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as statm:
            told["resident_bytes"] = int(statm.read().split()[1]) * resource.getpagesize()
        told["open_fds"] = len(os.listdir("/proc/self/fd")) - 1
    return told

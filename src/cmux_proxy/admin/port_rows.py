"""The dashboard's rows: what listens on this machine, joined with the activity of each port.

Both are joined by the target at which the proxy reaches them. Does not know how sockets are found
or how rows are displayed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cmux_proxy.admin.reachability import Reachability, is_isolated, is_local
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.observe.record import shorten
from cmux_proxy.observe.traffic_stats import JsonObject
from cmux_proxy.observe.worker_stats import PortKey, PortStats

MAX_COMMAND: Final = 255


@dataclass(slots=True)
class PortRow:
    """One target: `listens` is None where it is on another machine, which is not examined.

    `own` is "proxy" or "admin" for the proxy's own listeners, `label` the first label of a host
    that leads to the target. `sockets` are those that listen there, and `stats` is None where no
    request has been sent there.
    """

    host: str
    port: int
    workspace: str | None
    listens: bool | None
    is_isolated: bool = False
    is_reached: bool = True
    own: str | None = None
    label: str | None = None
    sockets: list[JsonObject] = field(default_factory=list)
    stats: PortStats | None = None

    def add_socket(self, socket: ListeningPort, reachability: Reachability) -> None:
        """Note that a socket listens; one that several processes share is listed once."""
        self.listens = True
        self.is_isolated = self.is_isolated or is_isolated(socket)
        self.own = self.own or reachability.owner(socket)
        command = None if socket.command is None else shorten(socket.command, MAX_COMMAND)
        entry = {"address": socket.address, "pid": socket.pid, "command": command}
        named = [known["address"] for known in self.sockets if known["pid"] is not None]
        if socket.address not in named:
            self.sockets.append(entry)

    def add_stats(self, stats: PortStats) -> None:
        """Note the activity; a workspace's name says more than the number in its address."""
        self.stats = stats
        if not self.is_isolated:
            self.workspace = stats.workspace or self.workspace

    def to_json(self) -> JsonObject:
        """Return plain data."""
        return {
            "host": self.host,
            "port": self.port,
            "workspace": self.workspace,
            "isolated": self.is_isolated,
            "listens": self.listens,
            "reached": self.is_reached,
            "own": self.own,
            "label": self.label,
            "at": self.sockets,
            "asked": None if self.stats is None else _activity(self.stats),
        }


def port_rows(
    ports: Mapping[PortKey, PortStats], sockets: Sequence[ListeningPort], reachability: Reachability
) -> list[PortRow]:
    """Return a row for each port that listens or that requests were sent to, by port and host."""
    rows = _listening_rows(sockets, reachability)
    for (host, port), stats in ports.items():
        row = rows.get((host, port))
        if row is None:
            row = rows[host, port] = _row(host, port, stats.workspace or None)
            _add_wildcards(row, sockets, reachability)
        row.add_stats(stats)
    for row in rows.values():
        if row.is_reached and row.own is None:
            row.label = reachability.label(row.host, row.port, row.workspace)
    return sorted(rows.values(), key=lambda row: (row.port, row.host))


def _listening_rows(
    sockets: Iterable[ListeningPort], reachability: Reachability
) -> dict[PortKey, PortRow]:
    """Return a row for each target that listens; targets out of reach are keyed by address."""
    rows: dict[PortKey, PortRow] = {}
    for socket in sockets:
        host = reachability.target_host(socket)
        key = (host or f"{socket.address} {socket.workspace or ''}", socket.port)
        row = rows.get(key)
        if row is None:
            row = rows[key] = _row(host or socket.address, socket.port, socket.workspace)
        row.add_socket(socket, reachability)
        row.is_reached = host is not None
    return rows


def _row(host: str, port: int, workspace: str | None) -> PortRow:
    return PortRow(host, port, workspace, listens=False if is_local(host) else None)


def _add_wildcards(
    row: PortRow, sockets: Iterable[ListeningPort], reachability: Reachability
) -> None:
    """Add the sockets that listen on all addresses, and therefore on the row's address too."""
    for socket in sockets:
        covers_row = socket.workspace is None and socket.covers(row.host)
        if covers_row and socket.port == row.port and is_local(row.host):
            row.add_socket(socket, reachability)


def _activity(stats: PortStats) -> JsonObject:
    return {
        "requests": stats.requests,
        "tunnels": stats.tunnels,
        "total_requests": stats.count,
        "total_errors": stats.errors,
        "bytes_in": stats.received,
        "bytes_out": stats.sent,
        "last_request": stats.last_request,
        "answers": list(stats.durations.buckets),
    }

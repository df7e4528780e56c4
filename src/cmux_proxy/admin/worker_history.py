"""Remembers what workers have told: no counter falls because one is busy, or has died.

Whoever reads counters takes a smaller one for a new beginning, and all that it shows for growth.
"""

from collections.abc import Sequence
from typing import Final

from cmux_proxy.admin.aggregate import Snapshot

# Of so many that do not answer: a worker that dies is replaced, and its successor may die too.
MOST_ABSENT: Final = 100

_NOW: Final = ("in_flight", "clients", "upstreams", "idle_upstreams")
_PROCESS_NOW: Final = ("resident_bytes", "open_fds")


class WorkerHistory:
    """The last snapshot of every worker, by process id."""

    def __init__(self) -> None:
        self._present: dict[int, Snapshot] = {}
        self._absent: dict[int, Snapshot] = {}

    def complete(self, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
        """Return them, and what those had counted that do not answer, or not any more."""
        here = {told["pid"]: told for told in snapshots}
        for pid in here:
            self._absent.pop(pid, None)
        for pid in self._present.keys() - here.keys():
            self._absent[pid] = _counted(self._present[pid])
        # Who is connected is asked for seldom, may be long, and is of no use later.
        self._present = {pid: {**told, "connections": []} for pid, told in here.items()}
        while len(self._absent) > MOST_ABSENT:
            del self._absent[next(iter(self._absent))]
        return [*snapshots, *self._absent.values()]


def _counted(told: Snapshot) -> Snapshot:
    """Return a snapshot without what was true at its moment only."""
    process = {name: each for name, each in told["process"].items() if name not in _PROCESS_NOW}
    ports = [
        [host, port, {**each, "requests": 0, "tunnels": 0}] for host, port, each in told["ports"]
    ]
    return {
        **told,
        **dict.fromkeys(_NOW, 0),
        "is_absent": True,
        "is_draining": False,
        "tunnels": {},
        "ports": ports,
        "process": process,
    }

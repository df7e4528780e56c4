"""Resident memory and descriptors of the processes of a proxy, from Linux's /proc."""

import asyncio
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_RESIDENT: Final = re.compile(r"VmRSS:\s+([0-9]+) kB")
_POLL_INTERVAL: Final = 0.25
# Idle upstream connections are kept for 4 seconds, lingering ones for 5.
_SETTLED_WITHIN: Final = 30.0
# After this time, all timers of the proxy have expired.
REST: Final = 6.0


@dataclass(frozen=True)
class Footprint:
    """Memory and descriptors of all processes together; `descriptors` are counts by type."""

    pids: tuple[int, ...]
    resident: int
    descriptors: dict[str, int]

    @property
    def sockets(self) -> int:
        """The number of sockets."""
        return self.descriptors.get("socket", 0)

    def data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "processes": len(self.pids),
            "resident": self.resident,
            "descriptors": self.descriptors,
        }


def footprint(pid: int) -> Footprint:
    """Return the footprint of a proxy and its workers."""
    pids = (pid, *_children(pid))
    counts: Counter[str] = Counter()
    for process in pids:
        counts.update(_descriptors(process))
    return Footprint(pids, sum(map(resident, pids)), dict(sorted(counts.items())))


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    match = _RESIDENT.search(Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) * 1024 if match else 0


async def settled(pid: int, sockets: int, rest: float = REST) -> Footprint:
    """Return the footprint after `rest` seconds, and with `sockets` sockets or at a timeout."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SETTLED_WITHIN
    await asyncio.sleep(rest)
    now = footprint(pid)
    while now.sockets != sockets and loop.time() < deadline:
        await asyncio.sleep(_POLL_INTERVAL)
        now = footprint(pid)
    return now


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _descriptors(pid: int) -> Counter[str]:
    """Count descriptors by type: socket, pipe, anon_inode, file."""
    counts: Counter[str] = Counter()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(entry.path)
            counts["file" if target.startswith("/") else target.partition(":")[0]] += 1
        except FileNotFoundError:
            continue
    return counts

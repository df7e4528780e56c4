"""What the processes of a proxy hold: resident memory and descriptors, by kind (Linux's /proc)."""

import asyncio
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_RESIDENT: Final = re.compile(r"VmRSS:\s+([0-9]+) kB")
_LOOKS_EVERY: Final = 0.25
# Idle upstream connections are kept for 4 seconds, lingering ones for 5.
_SETTLED_WITHIN: Final = 30.0
# After that, nothing that is timed is left.
REST: Final = 6.0


@dataclass(frozen=True)
class Footprint:
    """What all processes hold together; `descriptors` says how many of each kind."""

    pids: tuple[int, ...]
    resident: int
    descriptors: dict[str, int]

    @property
    def sockets(self) -> int:
        """How many sockets there are."""
        return self.descriptors.get("socket", 0)

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "processes": len(self.pids),
            "resident": self.resident,
            "descriptors": self.descriptors,
        }


def footprint(pid: int) -> Footprint:
    """Return what a proxy and its workers hold."""
    pids = (pid, *_children(pid))
    kinds: Counter[str] = Counter()
    for each in pids:
        kinds.update(_kinds(each))
    return Footprint(pids, sum(map(resident, pids)), dict(sorted(kinds.items())))


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    match = _RESIDENT.search(Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) * 1024 if match else 0


async def settled(pid: int, sockets: int, rest: float = REST) -> Footprint:
    """Return what is held after so many seconds, and once there are so many sockets, or at last."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SETTLED_WITHIN
    await asyncio.sleep(rest)
    now = footprint(pid)
    while now.sockets != sockets and loop.time() < deadline:
        await asyncio.sleep(_LOOKS_EVERY)
        now = footprint(pid)
    return now


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _kinds(pid: int) -> Counter[str]:
    """Count descriptors by what they are: socket, pipe, anon_inode, file."""
    kinds: Counter[str] = Counter()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(entry.path)
            kinds["file" if target.startswith("/") else target.partition(":")[0]] += 1
        except FileNotFoundError:
            continue
    return kinds

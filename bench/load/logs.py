"""The access log of a proxy under load: how many lines it has got.

A proxy that writes its lines later, or drops some, would seem to cost less.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from bench.load.commands import access_log
from bench.load.loads import Load
from bench.load.processes import Process
from bench.load.programs import PROXIES

_COMPLETE_AFTER = 2.0
_PAUSE = 0.005
_BLOCK = 1 << 20


@dataclass
class AccessLog:
    """A file of lines that grows, and how far it has been read."""

    path: Path
    position: int

    @classmethod
    def of(cls, load: Load, proxy: Process) -> "AccessLog | None":
        """Return the log of a proxy, with what it has now as read; None if it logs nothing."""
        if load.scenario.logs is None or PROXIES[proxy.name].is_unlogged:
            return None
        file = access_log(load.directory, proxy.port)
        path = file if file.exists() else proxy.log  # HAProxy logs to its output
        return cls(path, path.stat().st_size)

    def await_lines(self, count: int) -> int:
        """Wait until there are as many more lines, for at most two seconds; return how many."""
        lines = 0
        deadline = time.monotonic() + _COMPLETE_AFTER
        while (lines := lines + self._read()) < count and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return lines

    def _read(self) -> int:
        """Return the number of lines that have ended since the last call."""
        lines = 0
        with self.path.open("rb") as file:
            file.seek(self.position)
            while block := file.read(_BLOCK):
                lines += block.count(b"\n")
            self.position = file.tell()
        return lines

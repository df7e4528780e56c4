"""What the threads of a process have used of the CPU (from Linux's /proc).

Knows process ids only; `processes` has the processes.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")
_NANOSECOND = 1e-9
_SLEEPS = "voluntary_ctxt_switches:"


@dataclass(frozen=True)
class ThreadUsage:
    """The seconds that a thread ran, and was runnable while another ran, and its sleeps."""

    ran: float = 0.0
    waited: float = 0.0
    sleeps: int = 0


@dataclass(frozen=True)
class Usage:
    """The usage of each thread by its id, and the CPU ticks of the process in user and kernel."""

    threads: dict[int, ThreadUsage]
    user: float
    system: float

    def since(self, earlier: "Usage") -> "CpuUsage":
        """Return what was used between two readings, by the threads of the later one."""
        before = [earlier.threads.get(thread, ThreadUsage()) for thread in self.threads]
        pairs = list(zip(self.threads.values(), before, strict=True))
        user, system = self.user - earlier.user, self.system - earlier.system
        # Ticks are exact enough only where the kernel has no statistics of its scheduler.
        total = sum(now.ran - then.ran for now, then in pairs) or user + system
        share = user / (user + system) if user + system else 0.5
        return CpuUsage(
            total=total,
            user=total * share,
            system=total * (1 - share),
            waited=sum(now.waited - then.waited for now, then in pairs),
            sleeps=sum(now.sleeps - then.sleeps for now, then in pairs),
        )


@dataclass(frozen=True)
class CpuUsage:
    """CPU seconds, seconds of waiting for the CPU, and sleeps: waits for an event or a lock.

    The total is exact, from the scheduler; its parts are sampled.
    """

    total: float
    user: float
    system: float
    waited: float
    sleeps: int


def usage_of(pid: int) -> Usage:
    """Return what a process has used since its start; threads that have ended do not count."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    ticks = stat.rpartition(")")[2].split()[11:13]
    user, system = (int(count) * _SECONDS_PER_TICK for count in ticks)
    threads = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            threads[int(task.name)] = _thread_usage(task)
        except OSError:  # the thread has just ended
            continue
    return Usage(threads, user, system)


def _thread_usage(task: Path) -> ThreadUsage:
    sleeps = sleeps_in((task / "status").read_text())
    try:
        ran, waited = (task / "schedstat").read_text().split()[:2]
    except FileNotFoundError:  # the kernel has no statistics of its scheduler
        return ThreadUsage(sleeps=sleeps)
    return ThreadUsage(int(ran) * _NANOSECOND, int(waited) * _NANOSECOND, sleeps)


def sleeps_in(status: str) -> int:
    """Return the voluntary context switches in the text of a thread's `status`."""
    for line in status.splitlines():
        if line.startswith(_SLEEPS):
            return int(line.removeprefix(_SLEEPS))
    return 0

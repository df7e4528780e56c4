"""Child processes pinned to cores, and their CPU time and memory (from Linux's /proc)."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")
_NANOSECOND = 1e-9
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 5.0
# Folders of servers that are not always on PATH, and that of `make bench-full`.
_MORE_PATHS = (
    "/usr/local/sbin", "/usr/sbin", "/sbin", str(Path(__file__).parents[2] / ".venv-bench/bin"),
)  # fmt: skip
_POLL = 0.002


class BenchError(Exception):
    """A measurement is impossible or invalid; the text is one line with the reason."""


@dataclass(frozen=True)
class Cores:
    """The core of the proxies, and those of all other processes; the same if there is only one."""

    proxy: frozenset[int]
    load: frozenset[int]

    @classmethod
    def available(cls) -> "Cores":
        """Return the first core for the proxies, and the others for the load."""
        first, *others = sorted(os.sched_getaffinity(0))
        return cls(frozenset([first]), frozenset(others or [first]))


@dataclass(frozen=True)
class CpuTime:
    """Seconds on a CPU. The total is exact, from the scheduler; its parts are sampled."""

    total: float
    user: float
    system: float

    def since(self, earlier: "CpuTime") -> "CpuTime":
        """Return the CPU time between two readings."""
        total = self.total - earlier.total
        user, system = self.user - earlier.user, self.system - earlier.system
        share = user / (user + system) if user + system else 0.5
        return CpuTime(total, total * share, total * (1 - share))


def find_program(name: str) -> str | None:
    """Return the path of a program, or None."""
    paths = (os.environ.get("PATH", os.defpath), *_MORE_PATHS)
    return shutil.which(name, path=os.pathsep.join(paths))


def free_port() -> int:
    """Return a free port of the loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Run children that are started inside the block on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Process:
    """A server on a port of the loopback, which runs on its cores until the end of a `with`."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, cores: frozenset[int], directory: Path
    ) -> None:
        self.name = name
        self.port = port
        self.listening_after = 0.0  # seconds from exec on
        self._log = directory / f"{name}-{port}.log"
        self._started = time.monotonic()
        with self._log.open("wb") as log, pinned(cores):
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self) -> "Process":
        try:
            self._wait_until_listening()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def pause(self) -> None:
        """Stop the process until `resume`."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process."""
        self._child.send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._child.pid

    def check(self) -> None:
        """Raise BenchError if the process has ended."""
        status = self._child.poll()
        if status is not None:
            raise BenchError(f"ended with status {status}: {self.last_lines()}")

    def printed(self) -> list[str]:
        """Return the lines that the process has printed."""
        return self._log.read_text(errors="replace").strip().splitlines()

    def last_lines(self) -> str:
        """Return the last lines that the process has printed."""
        return " | ".join(self.printed()[-3:]) or "it printed nothing"

    def end(self, timeout: float) -> int:
        """Stop the process; return its status, which is -9 if it had to be killed."""
        self._stop(timeout)
        return self._child.returncode

    def cpu_time(self) -> CpuTime:
        """Return the CPU time of the process."""
        stat = Path(f"/proc/{self._child.pid}/stat").read_text()
        ticks = stat.rpartition(")")[2].split()[11:13]
        user, system = (int(count) * _SECONDS_PER_TICK for count in ticks)
        return CpuTime(self._schedstat(0) or user + system, user, system)

    def waited(self) -> float:
        """Return the seconds in which the process was runnable and another process ran."""
        return self._schedstat(1)

    def rss_mb(self) -> float:
        """Return the resident memory, in megabytes."""
        for line in Path(f"/proc/{self._child.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise BenchError("has ended")

    def _schedstat(self, column: int) -> float:
        """Return the seconds that all threads ran (column 0) or waited (1), or 0 if unknown."""
        try:
            tasks = list(Path(f"/proc/{self._child.pid}/task").glob("*/schedstat"))
            return sum(int(task.read_text().split()[column]) for task in tasks) * _NANOSECOND
        except OSError:
            return 0.0

    def _wait_until_listening(self) -> None:
        deadline = self._started + _START_TIMEOUT
        while time.monotonic() < deadline:
            self.check()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(_POLL)
            else:
                self.listening_after = time.monotonic() - self._started
                return
        raise BenchError(f"does not listen on port {self.port}: {self.last_lines()}")

    def _stop(self, timeout: float = _STOP_TIMEOUT) -> None:
        self._child.terminate()
        self.resume()
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

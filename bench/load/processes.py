"""Child processes pinned to cores, and their memory (from Linux's /proc).

`usage` reads their CPU time.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load.usage import Usage, usage_of

_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 5.0
# The folder of `make bench-full`, whose programs are newer than those of Debian.
_NEWER = str(Path(__file__).parents[2] / ".venv-bench/bin")
# Folders of servers that are not always on PATH.
_MORE_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_POLL = 0.002
_MOST_READ = 10_000  # of a log; a proxy may log all requests there
_OURS = "cmux-proxy"


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

    def shared(self) -> "Cores":
        """Return the core of the proxies for the load too."""
        return Cores(self.proxy, self.proxy)


def find_program(name: str) -> str | None:
    """Return the path of a program, or None."""
    paths = (_NEWER, os.environ.get("PATH", os.defpath), *_MORE_PATHS)
    return shutil.which(name, path=os.pathsep.join(paths))


def free_port() -> int:
    """Return a free port of the loopback."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different free ports of the loopback."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


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
        self.log = directory / f"{name}-{port}.log"
        self._started = time.monotonic()
        with self.log.open("wb") as log, pinned(cores):
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
        return self.log.read_text(errors="replace").strip().splitlines()

    def start_line(self) -> str:
        """Return the line with which a cmux-proxy says what it is, or nothing."""
        with self.log.open(errors="replace") as log:
            first = log.read(_MOST_READ).splitlines()
        return next((line for line in first if line.startswith(f"{_OURS} ")), "")

    def last_lines(self) -> str:
        """Return the last lines that the process has printed."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _MOST_READ))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it printed nothing"

    def end(self, timeout: float) -> int:
        """Stop the process; return its status, which is -9 if it had to be killed."""
        self._stop(timeout)
        return self._child.returncode

    def usage(self) -> Usage:
        """Return the CPU time, the waits and the sleeps of the process."""
        return usage_of(self._child.pid)

    def rss_mb(self) -> float:
        """Return the resident memory, in megabytes."""
        return self._memory("VmRSS:")

    def peak_mb(self) -> float:
        """Return the most resident memory since `restart_peak`, in megabytes."""
        return self._memory("VmHWM:")

    def restart_peak(self) -> float:
        """Let the peak of the resident memory start at what it is now, and return that."""
        Path(f"/proc/{self._child.pid}/clear_refs").write_text("5")
        return self.rss_mb()

    def _memory(self, name: str) -> float:
        for line in Path(f"/proc/{self._child.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024 / 1e6
        raise BenchError("has ended")

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

"""A slot for one process: its sockets, and the processes that serve them, one after the other.

The sockets stay open in the supervisor too, so that connections which a dead process has not
accepted wait for the next one. Does not know other slots, or what a process does.
"""

import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final

from cmux_proxy.server.fork import fork_process

# Seconds until a process is restarted: doubled each time, reset after a long life.
FIRST_RESTART_DELAY: Final = 0.1
MAX_RESTART_DELAY: Final = 10.0
LONG_LIFE: Final = 10.0
# Seconds until the next attempt where the system cannot create a process.
MAX_FORK_RETRY_DELAY: Final = 1.0

_READ_SIZE: Final = 64
_log = logging.getLogger("cmux_proxy")

# Called in a new process with its end of the lifeline; the process exits when it returns.
Work = Callable[[socket.socket], None]
# Creates a process that calls a function and exits; returns its id.
Fork = Callable[[Callable[[], None]], int]


class ProcessSlot:
    """A slot for a process; `exit_status` is that of the latest process that has ended."""

    def __init__(
        self, name: str, sockets: Sequence[socket.socket], fork: Fork = fork_process
    ) -> None:
        self.name = name
        self.sockets = sockets
        self.exit_status = 0
        self.is_accepting = False
        # When a process of this slot last sent a heartbeat; it may have been replaced since.
        self.last_heartbeat = -math.inf
        # When to start the next process; None while there is one.
        self.next_start: float | None = 0.0
        self._fork = fork
        self._pid = 0
        self._lifeline: socket.socket | None = None
        self._has_lifeline_ended = False
        self._was_killed = False
        self._has_logged_shortage = False
        self._started_at = 0.0
        self._next_delay = FIRST_RESTART_DELAY

    @property
    def is_empty(self) -> bool:
        """Whether there is no process."""
        return not self._pid

    def start(self, work: Work, now: float) -> None:
        """Start a process that calls `work`; schedule a retry where the system cannot."""
        self._started_at = now
        try:
            lifeline, worker_end = socket.socketpair()
        except OSError as error:
            self._retry_start(error, now)
            return

        def begin() -> None:
            lifeline.close()
            work(worker_end)

        try:
            self._pid = self._fork(begin)
        except OSError as error:
            lifeline.close()
            self._retry_start(error, now)
        else:
            self._lifeline = lifeline
            self._has_lifeline_ended = False
            self._has_logged_shortage = False
            self.next_start = None
        finally:
            worker_end.close()

    def _retry_start(self, error: OSError, now: float) -> None:
        """Schedule another attempt; log the first failure only."""
        self.next_start = now + min(self._next_delay, MAX_FORK_RETRY_DELAY)
        self._next_delay = min(2 * self._next_delay, MAX_RESTART_DELAY)
        if not self._has_logged_shortage:
            self._has_logged_shortage = True
            _log.warning("%s cannot start: %s; retrying until it can", self.name, error.strerror)

    def lifeline_fd(self) -> int | None:
        """Return the descriptor that is readable after a heartbeat, and once at the end."""
        if self._lifeline is None or self._has_lifeline_ended:
            return None
        return self._lifeline.fileno()

    def read_lifeline(self, now: float) -> None:
        """Read heartbeats; the first one means that the process accepts connections."""
        if self._lifeline is None:
            return
        if self._lifeline.recv(_READ_SIZE):
            self.is_accepting = True
            self.last_heartbeat = now
        else:
            self._has_lifeline_ended = True
            self.is_accepting = False

    def reap(self, now: float, restarts: bool) -> None:
        """Check whether the process has ended; if so, log it and schedule the next start."""
        if not self._pid:
            return
        pid, wait_status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return
        code = os.waitstatus_to_exitcode(wait_status)
        self.exit_status = 128 - code if code < 0 else code
        self._pid = 0
        self.close_lifeline()
        delay = self._schedule_restart(now)
        if restarts or (code and not self._was_killed):
            restart = f"; the next one starts in {delay:.1f} s" if restarts else ""
            _log.warning("%s (pid %d) %s%s", self.name, pid, _describe_exit(code), restart)

    def send_signal(self, number: int) -> None:
        """Send the process a signal, if there is a process."""
        if self._pid:
            os.kill(self._pid, number)

    def kill(self) -> None:
        """Kill the process; its end is not logged unless it is restarted."""
        self._was_killed = True
        self.send_signal(signal.SIGKILL)

    def close_lifeline(self) -> None:
        """Close the lifeline; a process at its other end drains."""
        self.is_accepting = False
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None

    def close_sockets(self) -> None:
        """Close the sockets; the addresses are free when the process closes them too."""
        for sock in self.sockets:
            sock.close()

    def _schedule_restart(self, now: float) -> float:
        """Schedule the next start, each time after twice the delay; return the delay."""
        has_lived_long = now - self._started_at >= LONG_LIFE
        delay = FIRST_RESTART_DELAY if has_lived_long else self._next_delay
        self._next_delay = min(2 * delay, MAX_RESTART_DELAY)
        self.next_start = now + delay
        return delay


def _describe_exit(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code} ({signal.strsignal(-code)})"
    return f"ended with status {code}"

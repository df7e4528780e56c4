"""One worker's place: its sockets, and the process that serves them, one after the other.

The sockets stay open here too, so that connections which a dead process has not accepted wait for
the next one. Knows nothing of other slots, nor of what a worker does.
"""

import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final

FIRST_DELAY: Final = 0.1
MOST_DELAY: Final = 10.0
# Where the system has nothing left for another process, it may have again within so many seconds.
SHORT_DELAY: Final = 1.0
# What a process has lived for, in seconds, when its end has nothing to do with its start.
LONG_LIFE: Final = 10.0

_FAILURE: Final = 1
_AT_ONCE: Final = 64
_log = logging.getLogger("cmux_proxy")

# What a new process does with its end of the lifeline, before it exits.
Work = Callable[[socket.socket], None]


class Slot:
    """A place for a worker; `status` is what the last process that ended there exited with."""

    def __init__(self, name: str, sockets: Sequence[socket.socket]) -> None:
        self.name = name
        self.sockets = sockets
        self.status = 0
        self.is_accepting = False
        # When a process here has last said something; it may be another one by now.
        self.heard_at = -math.inf
        # When the next process is due; None while there is one.
        self.starts_at: float | None = 0.0
        self._pid = 0
        self._lifeline: socket.socket | None = None
        self._is_deaf = False
        self._is_killed = False
        self._is_short = False
        self._started_at = 0.0
        self._next_delay = FIRST_DELAY

    @property
    def is_empty(self) -> bool:
        """Whether there is no process."""
        return not self._pid

    def start(self, work: Work, now: float) -> None:
        """Start a process that does `work`; where there can be none, try again later."""
        self._started_at = now
        try:
            mine, its = socket.socketpair()
        except OSError as error:
            self._report_shortage(error, now)
            return

        def begin() -> None:
            mine.close()
            work(its)

        try:
            self._pid = fork(begin)
        except OSError as error:
            mine.close()
            self._report_shortage(error, now)
        else:
            self._lifeline = mine
            self._is_deaf = False
            self._is_short = False
            self.starts_at = None
        finally:
            its.close()

    def _report_shortage(self, error: OSError, now: float) -> None:
        """Try again soon; say so once."""
        self.starts_at = now + min(self._next_delay, SHORT_DELAY)
        self._next_delay = min(2 * self._next_delay, MOST_DELAY)
        if not self._is_short:
            self._is_short = True
            _log.warning("%s cannot start: %s; tried again until it can", self.name, error.strerror)

    def awaited(self) -> int | None:
        """Return the descriptor that can be read when the process says something, or has ended."""
        if self._lifeline is None or self._is_deaf:
            return None
        return self._lifeline.fileno()

    def hear(self, now: float) -> None:
        """Take what has come from the process: that it accepts, and later that it still does."""
        if self._lifeline is None:
            return
        if self._lifeline.recv(_AT_ONCE):
            self.is_accepting = True
            self.heard_at = now
        else:
            self._is_deaf = True
            self.is_accepting = False

    def reap(self, now: float, restarts: bool) -> None:
        """See whether the process has ended; if so, say so, and put the next one off."""
        if not self._pid:
            return
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        self.status = 128 - code if code < 0 else code
        self._pid = 0
        self.hang_up()
        delay = self._put_off(now)
        if restarts or (code and not self._is_killed):
            how = _tell(code) + (f"; the next one starts in {delay:.1f} s" if restarts else "")
            _log.warning("%s (pid %d) %s", self.name, pid, how)

    def signal(self, number: int) -> None:
        """Send the process a signal, if there is one."""
        if self._pid:
            os.kill(self._pid, number)

    def kill(self) -> None:
        """End the process at once; nobody has to be told of it."""
        self._is_killed = True
        self.signal(signal.SIGKILL)

    def hang_up(self) -> None:
        """End the lifeline; a process at its other end drains."""
        self.is_accepting = False
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None

    def close(self) -> None:
        """Let go of the sockets; the addresses are free when the process does so too."""
        for sock in self.sockets:
            sock.close()

    def _put_off(self, now: float) -> float:
        """Have the next process start later, each time twice as late; return how late."""
        is_old = now - self._started_at >= LONG_LIFE
        delay = FIRST_DELAY if is_old else self._next_delay
        self._next_delay = min(2 * delay, MOST_DELAY)
        self.starts_at = now + delay
        return delay


def fork(work: Callable[[], None]) -> int:
    """Return the id of a new process that does `work` and exits: with 0, or 1 if that raised."""
    _flush()
    pid = os.fork()
    if pid:
        return pid
    status = _FAILURE
    try:
        work()
        status = 0
    except BaseException:
        _log.exception("the worker has failed")
    finally:
        _flush()
        # Nothing that the parent has left to do at its end is to be done here.
        os._exit(status)


def _flush() -> None:
    """Write what is buffered, so that it is not written by two processes."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue  # there is none, nobody reads it, or it is closed


def _tell(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code} ({signal.strsignal(-code)})"
    return f"ended with status {code}"

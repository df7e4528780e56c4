"""A process slot: its process, its lifeline, and when the next process starts."""

import errno
import logging
import math
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from cmux_proxy.server.slot import ProcessSlot
from tests.helpers.proxies import environment
from tests.helpers.timing import LATER, SOON


class Programs:
    """A slot that starts Python programs instead of forks."""

    def __init__(self) -> None:
        self.slot = ProcessSlot("worker 2", [], self._spawn)
        self.pids: list[int] = []
        self.error: OSError | None = None
        self._program = ""

    def start(self, program: str, now: float = 0.0) -> None:
        """Start a process that runs a Python program."""
        self._program = program
        self.slot.start(lambda _lifeline: None, now)

    def _spawn(self, _work: Callable[[], None]) -> int:
        if self.error is not None:
            raise self.error
        command = [sys.executable, "-c", self._program]
        self.pids.append(os.posix_spawn(sys.executable, command, environment()))
        return self.pids[-1]

    def wait(self, now: float, restarts: bool = True) -> None:
        """Wait until the process has ended, and have the slot reap it."""
        os.waitid(os.P_PID, self.pids[-1], os.WEXITED | os.WNOWAIT)
        self.slot.reap(now, restarts)

    def run_for(self, seconds: float, now: float = 0.0) -> float:
        """Run a process that seems to live so long; return the delay of the next one."""
        self.start("", now)
        self.wait(now + seconds)
        assert self.slot.next_start is not None
        return round(self.slot.next_start - now - seconds, 6)

    def close(self) -> None:
        """End the process that is left."""
        if not self.slot.is_empty:
            self.slot.kill()
            self.wait(0.0)


@pytest.fixture
def programs() -> Iterator[Programs]:
    started = Programs()
    yield started
    started.close()


FOR_EVER = "import signal; signal.pause()"


def test_an_empty_slot_starts_at_once_and_ignores_all_else() -> None:
    slot = ProcessSlot("worker 1", [])
    assert (slot.is_empty, slot.next_start, slot.lifeline_fd(), slot.exit_status) == (
        True,
        0.0,
        None,
        0,
    )
    slot.send_signal(signal.SIGKILL)
    slot.read_lifeline(1.0)
    slot.reap(0.0, restarts=True)
    slot.close_lifeline()
    assert (slot.is_empty, slot.next_start) == (True, 0.0)


def test_no_start_is_scheduled_while_there_is_a_process(programs: Programs) -> None:
    programs.start(FOR_EVER)
    programs.slot.reap(1.0, restarts=True)
    assert (programs.slot.is_empty, programs.slot.next_start) == (False, None)


@pytest.mark.parametrize(
    ("program", "status", "text"),
    [
        ("raise SystemExit(0)", 0, "ended with status 0"),
        ("raise SystemExit(3)", 3, "ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", 137, "was ended by signal 9 (Killed)"),
        ("import os; os.kill(os.getpid(), 15)", 143, "was ended by signal 15 (Terminated)"),
    ],
)
def test_an_exit_is_logged_as_one_line_and_its_status_stays(
    program: str, status: int, text: str, programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    programs.start(program)
    programs.wait(1.0)
    assert (programs.slot.is_empty, programs.slot.exit_status) == (True, status)
    assert caplog.messages == [
        f"worker 2 (pid {programs.pids[-1]}) {text}; the next one starts in 0.1 s"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_without_restarts_only_failures_are_logged(
    programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    programs.start("")
    programs.wait(1.0, restarts=False)
    assert caplog.messages == []
    programs.start("raise SystemExit(3)")
    programs.wait(1.0, restarts=False)
    assert caplog.messages == [f"worker 2 (pid {programs.pids[-1]}) ended with status 3"]


def test_a_killed_process_is_not_logged(
    programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    programs.start(FOR_EVER)
    programs.slot.kill()
    programs.wait(1.0, restarts=False)
    assert (programs.slot.exit_status, caplog.messages) == (137, [])


def test_the_restart_delay_doubles_up_to_a_maximum(programs: Programs) -> None:
    delays = [programs.run_for(0.0) for _ in range(9)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_the_restart_delay_is_reset_after_a_long_life(programs: Programs) -> None:
    delays = [programs.run_for(seconds) for seconds in (0.0, 9.9, 10.0, 0.0)]
    assert delays == [0.1, 0.2, 0.1, 0.2]


def test_the_start_is_retried_where_the_system_cannot_fork(
    programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    programs.error = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    programs.slot.start(lambda _lifeline: None, 5.0)
    assert (programs.slot.is_empty, programs.slot.next_start, programs.slot.lifeline_fd()) == (
        True,
        5.1,
        None,
    )
    reason = os.strerror(errno.EAGAIN)
    # Retried often, because it may be possible soon, but logged once.
    for _ in range(8):
        assert programs.slot.next_start is not None
        programs.slot.start(lambda _lifeline: None, programs.slot.next_start)
    assert programs.slot.next_start == pytest.approx(5.1 + 0.2 + 0.4 + 0.8 + 5 * 1.0)
    line = f"worker 2 cannot start: {reason}; retrying until it can"
    assert caplog.messages == [line]


def test_the_start_is_retried_where_no_descriptor_is_left(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", fails)
        programs.slot.start(lambda _lifeline: None, 5.0)
    assert (programs.slot.is_empty, programs.slot.next_start, programs.slot.lifeline_fd()) == (
        True,
        5.1,
        None,
    )
    assert "Too many open files" in caplog.text
    programs.start("")
    assert programs.slot.next_start is None


# The lifeline


def is_readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def slot_of_this_process(
    monkeypatch: pytest.MonkeyPatch, heartbeat: bytes
) -> tuple[ProcessSlot, socket.socket]:
    """Return a slot whose process is this one, which has sent a heartbeat, and its lifeline."""
    lifelines: list[socket.socket] = []

    def call(work: Callable[[], None]) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "close", lambda _self: None)
            work()
        return os.getpid()

    def work(lifeline: socket.socket) -> None:
        lifeline.sendall(heartbeat)
        lifelines.append(lifeline.dup())

    slot = ProcessSlot("worker 1", [], call)
    slot.start(work, 0.0)
    return slot, lifelines[0]


def test_a_process_accepts_after_its_first_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    slot, lifeline = slot_of_this_process(monkeypatch, b"\0")
    with lifeline:
        descriptor = slot.lifeline_fd()
        assert descriptor is not None
        assert is_readable(descriptor, 0)
        assert not slot.is_accepting
        slot.read_lifeline(7.0)
        assert (slot.is_accepting, slot.lifeline_fd(), slot.last_heartbeat) == (
            True,
            descriptor,
            7.0,
        )
        assert not is_readable(descriptor, 0)
        slot.close_lifeline()
        assert not slot.is_accepting
        assert lifeline.recv(1) == b""


def test_the_end_of_a_process_that_never_accepted_is_read_once(programs: Programs) -> None:
    programs.start("")
    descriptor = programs.slot.lifeline_fd()
    assert descriptor is not None
    assert is_readable(descriptor, SOON)
    programs.slot.read_lifeline(7.0)
    assert (programs.slot.is_accepting, programs.slot.lifeline_fd()) == (False, None)
    assert programs.slot.last_heartbeat == -math.inf


def test_closing_the_sockets_frees_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("", 0)) as second:
        ProcessSlot("worker 1", [first, second]).close_sockets()
        assert first.fileno() == second.fileno() == -1


# Forking

FORK = """
import atexit, os, sys
from cmux_proxy.server.fork import fork_process
atexit.register(print, "the end")
print("once", end=" ")
def work():
    print("in the worker")
    {work}
print(os.waitstatus_to_exitcode(os.waitpid(fork_process(work), 0)[1]))
"""


@pytest.mark.parametrize(
    ("work", "status", "complaint"),
    [
        ("pass", 0, ""),
        ("raise SystemExit(0)", 1, "SystemExit"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("sys.stderr.close(); sys.stderr = None", 0, ""),
    ],
)
def test_a_forked_process_does_its_work_and_skips_the_parents_cleanup(
    work: str, status: int, complaint: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK.format(work=work)], capture_output=True, text=True,
        env=environment(PYTHONUNBUFFERED=""), timeout=LATER,
    )  # fmt: skip
    assert done.stdout == f"once in the worker\n{status}\nthe end\n"
    assert complaint in done.stderr
    assert done.returncode == 0

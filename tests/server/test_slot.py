"""One worker's place: the process in it, its lifeline, its end, and when the next one is due."""

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

from cmux_proxy.server import slot as places
from cmux_proxy.server.slot import Slot
from tests.helpers.proxies import environment
from tests.helpers.timing import LATER, SOON


class Place:
    """A slot in which programs are started in place of forks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slot = Slot("worker 2", [])
        self.pids: list[int] = []
        self._monkeypatch = monkeypatch

    def starts(self, program: str, now: float = 0.0) -> None:
        """Start a process that runs a Python program."""

        def spawn(_work: Callable[[], None]) -> int:
            command = [sys.executable, "-c", program]
            self.pids.append(os.posix_spawn(sys.executable, command, environment()))
            return self.pids[-1]

        self._monkeypatch.setattr(places, "fork", spawn)
        self.slot.start(lambda _lifeline: None, now)

    def ends(self, now: float, restarts: bool = True) -> None:
        """Wait until the process has ended, and have the slot see it."""
        os.waitid(os.P_PID, self.pids[-1], os.WEXITED | os.WNOWAIT)
        self.slot.reap(now, restarts)

    def lives(self, seconds: float, now: float = 0.0) -> float:
        """Have a process that lives so long; return how much later the next one is due."""
        self.starts("", now)
        self.ends(now + seconds)
        assert self.slot.starts_at is not None
        return round(self.slot.starts_at - now - seconds, 6)

    def close(self) -> None:
        """End what is left."""
        if not self.slot.is_empty:
            self.slot.kill()
            self.ends(0.0)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    one = Place(monkeypatch)
    yield one
    one.close()


FOR_EVER = "import signal; signal.pause()"


def test_an_empty_slot_is_due_at_once_and_nothing_can_be_done_to_it() -> None:
    slot = Slot("worker 1", [])
    assert (slot.is_empty, slot.starts_at, slot.awaited(), slot.status) == (True, 0.0, None, 0)
    slot.signal(signal.SIGKILL)
    slot.hear(1.0)
    slot.reap(0.0, restarts=True)
    slot.hang_up()
    assert (slot.is_empty, slot.starts_at) == (True, 0.0)


def test_while_there_is_a_process_no_other_is_due(place: Place) -> None:
    place.starts(FOR_EVER)
    place.slot.reap(1.0, restarts=True)
    assert (place.slot.is_empty, place.slot.starts_at) == (False, None)


@pytest.mark.parametrize(
    ("program", "status", "text"),
    [
        ("raise SystemExit(0)", 0, "ended with status 0"),
        ("raise SystemExit(3)", 3, "ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", 137, "was ended by signal 9 (Killed)"),
        ("import os; os.kill(os.getpid(), 15)", 143, "was ended by signal 15 (Terminated)"),
    ],
)
def test_an_end_is_one_line_and_leaves_its_status(
    program: str, status: int, text: str, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.starts(program)
    place.ends(1.0)
    assert (place.slot.is_empty, place.slot.status) == (True, status)
    assert caplog.messages == [
        f"worker 2 (pid {place.pids[-1]}) {text}; the next one starts in 0.1 s"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_at_the_end_of_all_only_what_goes_wrong_is_told(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.starts("")
    place.ends(1.0, restarts=False)
    assert caplog.messages == []
    place.starts("raise SystemExit(3)")
    place.ends(1.0, restarts=False)
    assert caplog.messages == [f"worker 2 (pid {place.pids[-1]}) ended with status 3"]


def test_whom_the_supervisor_kills_is_not_told(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.starts(FOR_EVER)
    place.slot.kill()
    place.ends(1.0, restarts=False)
    assert (place.slot.status, caplog.messages) == (137, [])


def test_the_next_one_is_due_twice_as_late_each_time_up_to_a_limit(place: Place) -> None:
    delays = [place.lives(0.0) for _ in range(9)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_after_a_long_life_it_is_due_as_soon_as_at_first(place: Place) -> None:
    delays = [place.lives(seconds) for seconds in (0.0, 9.9, 10.0, 0.0)]
    assert delays == [0.1, 0.2, 0.1, 0.2]


def test_where_there_can_be_no_process_it_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_work: Callable[[], None]) -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(places, "fork", fails)
    place.slot.start(lambda _lifeline: None, 5.0)
    assert (place.slot.is_empty, place.slot.starts_at, place.slot.awaited()) == (True, 5.1, None)
    reason = os.strerror(errno.EAGAIN)
    # Often, since nobody knows when it can; but said once.
    for _ in range(8):
        assert place.slot.starts_at is not None
        place.slot.start(lambda _lifeline: None, place.slot.starts_at)
    assert place.slot.starts_at == pytest.approx(5.1 + 0.2 + 0.4 + 0.8 + 5 * 1.0)
    line = f"worker 2 cannot start: {reason}; tried again until it can"
    assert caplog.messages == [line]


def test_where_there_is_no_descriptor_it_is_tried_again_too(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", fails)
        place.slot.start(lambda _lifeline: None, 5.0)
    assert (place.slot.is_empty, place.slot.starts_at, place.slot.awaited()) == (True, 5.1, None)
    assert "Too many open files" in caplog.text
    place.starts("")
    assert place.slot.starts_at is None


# The lifeline


def is_readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def real(monkeypatch: pytest.MonkeyPatch, says: bytes) -> tuple[Slot, list[socket.socket]]:
    """Return a slot whose process is this one, in which it says something and goes on."""
    kept: list[socket.socket] = []

    def pretend(work: Callable[[], None]) -> int:
        monkeypatch.setattr(socket.socket, "close", lambda _self: None)
        work()
        monkeypatch.undo()
        return os.getpid()

    def work(lifeline: socket.socket) -> None:
        lifeline.sendall(says)
        kept.append(lifeline.dup())

    slot = Slot("worker 1", [])
    monkeypatch.setattr(places, "fork", pretend)
    slot.start(work, 0.0)
    return slot, kept


def test_it_accepts_once_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    slot, [lifeline] = real(monkeypatch, b"\0")
    with lifeline:
        awaited = slot.awaited()
        assert awaited is not None
        assert is_readable(awaited, 0)
        assert not slot.is_accepting
        slot.hear(7.0)
        assert (slot.is_accepting, slot.awaited(), slot.heard_at) == (True, awaited, 7.0)
        assert not is_readable(awaited, 0)
        slot.hang_up()
        assert not slot.is_accepting
        assert lifeline.recv(1) == b""


def test_a_process_that_ends_before_it_accepts_is_heard_once(place: Place) -> None:
    place.starts("")
    awaited = place.slot.awaited()
    assert awaited is not None
    assert is_readable(awaited, SOON)
    place.slot.hear(7.0)
    assert (place.slot.is_accepting, place.slot.awaited()) == (False, None)
    assert place.slot.heard_at == -math.inf


def test_closing_it_closes_the_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        Slot("worker 1", [one, other]).close()
        assert one.fileno() == other.fileno() == -1


# Forking

FORK = """
import atexit, os, sys
from cmux_proxy.server.slot import fork
atexit.register(print, "the end")
print("once", end=" ")
def work():
    print("in the worker")
    {work}
print(os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1]))
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
def test_a_forked_process_does_its_work_and_nothing_of_its_parents(
    work: str, status: int, complaint: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK.format(work=work)], capture_output=True, text=True,
        env=environment(PYTHONUNBUFFERED=""), timeout=LATER,
    )  # fmt: skip
    assert done.stdout == f"once in the worker\n{status}\nthe end\n"
    assert complaint in done.stderr
    assert done.returncode == 0

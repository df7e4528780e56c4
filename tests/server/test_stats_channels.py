"""The sockets over which the admin process reaches the workers: who has which end of them."""

import contextlib
import os
import socket
from collections.abc import Callable

from cmux_proxy.server.stats_channels import Channels


def in_a_process(work: Callable[[], bool]) -> int:
    """Do something in a process of its own; return its id. Its status says whether it was right."""
    pid = os.fork()
    if not pid:
        os._exit(0 if work() else 1)
    return pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_each_worker_hears_what_is_sent_at_its_own_end() -> None:
    channels = Channels(2)

    def hears(number: int) -> Callable[[], bool]:
        def work() -> bool:
            own = channels.take_worker(number)
            own.setblocking(True)
            return own.recv(10) == b"for %d" % number

        return work

    workers = [in_a_process(hears(number)) for number in (1, 2)]
    for number, end in enumerate(channels.take_admin(), start=1):
        end.send(b"for %d" % number)
        end.close()
    assert [status_of(pid) for pid in workers] == [0, 0]


def test_who_takes_the_place_of_a_dead_worker_finds_what_was_sent_meanwhile() -> None:
    channels = Channels(1)
    assert status_of(in_a_process(lambda: channels.take_worker(1).fileno() > 0)) == 0

    def asks() -> bool:
        [end] = channels.take_admin()
        return end.send(b"hello") == 5

    assert status_of(in_a_process(asks)) == 0
    assert status_of(in_a_process(lambda: channels.take_worker(1).recv(10) == b"hello")) == 0
    channels.close()


def test_nobody_waits_for_a_worker_that_has_ended_once_it_is_let_go() -> None:
    channels = Channels(2)
    ours, its = socket.socketpair()

    def works() -> bool:
        ours.close()
        own = channels.take_worker(2)
        its.send(b"taken")
        return its.recv(1) == b"" and own.fileno() > 0

    worker = in_a_process(works)
    its.close()

    # What the admin process has, while the supervisor lets go.
    kept = [os.dup(admin.fileno()) for admin, _ in channels._pairs]
    channels.close()
    first, second = (socket.socket(fileno=number) for number in kept)
    ours.recv(5)
    assert _is_refused(first)
    assert not _is_refused(second)
    ours.close()
    assert status_of(worker) == 0
    assert _is_refused(second)
    for sock in (first, second):
        sock.close()


def _is_refused(end: socket.socket) -> bool:
    try:
        end.send(b"?")
    except ConnectionRefusedError:
        return True
    return False


def test_who_sends_more_than_is_taken_does_not_wait() -> None:
    channels = Channels(1)
    [(admin, worker)] = channels._pairs
    with contextlib.suppress(BlockingIOError):
        while True:
            admin.send(b"?")
    assert worker.recv(10) == b"?"
    channels.close()

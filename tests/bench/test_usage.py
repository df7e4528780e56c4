"""What threads have used between two readings."""

import os
import sys
import threading

import pytest

from bench.load.usage import ThreadUsage, Usage, sleeps_in, usage_of

STATUS = "Name:\tproxy\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t7\n"


def test_sleeps_are_the_voluntary_switches() -> None:
    assert sleeps_in(STATUS) == 12
    assert sleeps_in("Name:\tproxy\n") == 0


def test_a_thread_counts_from_the_first_reading_on() -> None:
    before = Usage({1: ThreadUsage(10.0, 1.0, 100)}, user=4.0, system=6.0)
    after = Usage({1: ThreadUsage(13.0, 1.5, 110)}, user=5.0, system=8.0)
    used = after.since(before)
    assert (used.total, used.waited, used.sleeps) == (3.0, 0.5, 10)
    assert used.user == pytest.approx(1.0)
    assert used.system == pytest.approx(2.0)


def test_a_new_thread_counts_and_one_that_has_ended_does_not() -> None:
    before = Usage({1: ThreadUsage(10.0, 0.0, 100), 2: ThreadUsage(50.0, 5.0, 999)}, 30.0, 30.0)
    after = Usage({1: ThreadUsage(11.0, 0.0, 101), 3: ThreadUsage(2.0, 0.25, 5)}, 32.0, 31.0)
    used = after.since(before)
    assert (used.total, used.waited, used.sleeps) == (3.0, 0.25, 6)


def test_ticks_count_where_the_scheduler_has_no_statistics() -> None:
    used = Usage({1: ThreadUsage()}, 3.0, 1.0).since(Usage({1: ThreadUsage()}, 1.0, 1.0))
    assert (used.total, used.user, used.system) == (2.0, 2.0, 0.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_thread_that_waits_sleeps_once_for_each_wait() -> None:
    asked, answered = threading.Semaphore(0), threading.Semaphore(0)

    def answer() -> None:
        for _ in range(100):
            asked.acquire()
            answered.release()

    thread = threading.Thread(target=answer, daemon=True)
    before = usage_of(os.getpid())
    thread.start()
    for _ in range(99):
        asked.release()
        answered.acquire()
    used = usage_of(os.getpid()).since(before)
    asked.release()
    thread.join()
    assert used.sleeps >= 99
    assert used.total > 0

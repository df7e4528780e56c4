"""The supervisor: what is started, what is told, and what a run of programs looks like."""

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmux_proxy.server import supervisor
from cmux_proxy.server.notify import Notifier
from tests.helpers.proxies import ProxyProcess, environment


def nothing(*_: object) -> None:
    """Stand for what a process would do."""


# Programs that supervise something else than proxies

PROGRAM = """
import logging, os, signal, socket, sys
from cmux_proxy.server.binding import bind_shared
from cmux_proxy.server.notify import Notifier
from cmux_proxy.server.supervisor import Supervisor
from cmux_proxy.config.proxy_config import Address

logging.basicConfig(format="%(message)s")
marker = sys.argv[1]

def lives(sockets, lifeline):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT])
    lifeline.send(b"x")
    lifeline.recv(1)

def ends(status):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(status))

def work(sockets, lifeline):
    {work}

def accepting():
    print("cmux-proxy is told", flush=True)
    {told}

groups = bind_shared([Address("127.0.0.1", 0)], {workers})
jobs = [(group, work) for group in groups]
status = Supervisor(jobs, Notifier()).run(accepting)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
sys.exit(status)
"""


@contextlib.asynccontextmanager
async def program(
    work: str, marker: str = "", workers: int = 2, told: str = ""
) -> AsyncIterator[ProxyProcess]:
    """Run a program that supervises workers which do `work`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM.format(work=work, workers=workers, told=told), marker),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    one = ProxyProcess(process)
    try:
        yield one
    finally:
        one.kill()
        await one.ended()


async def test_workers_that_crash_at_once_are_started_later_and_later() -> None:
    async with program("os._exit(3)") as one:
        lines = [await one.complaint() for _ in range(8)]
        for number in (1, 2):
            mine = [line for line in lines if line.startswith(f"worker {number} ")]
            delays = [re.findall(r"status 3; .* in ([0-9.]+) s$", line) for line in mine]
            assert delays == [["0.1"], ["0.2"], ["0.4"], ["0.8"]][: len(delays)]
            assert len(delays) >= 3
        # Meanwhile the supervisor sleeps.
        await one.rests()
        one.signal()
        status, _errors = await one.ended()
        assert status == 3


async def test_a_worker_begins_with_signals_blocked_so_that_none_is_too_early() -> None:
    work = "os._exit(8 if signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []) else 9)"
    async with program(work, workers=1) as one:
        assert "ended with status 8" in await one.complaint()


async def test_who_does_not_accept_is_waited_for(tmp_path: Path) -> None:
    work = "os.path.exists(marker) and lives(sockets, lifeline); open(marker, 'x').close()"
    async with program(work, str(tmp_path / "marker"), workers=1) as one:
        assert "ended with status 0" in await one.complaint()
        await one.started()
        assert one.announced == ["cmux-proxy is told"]
        one.signal()
        assert (await one.ended())[0] == 128 + signal.SIGTERM


async def test_the_worst_status_is_that_of_the_run_and_the_signals_are_given_back() -> None:
    async with program("ends(os.getpid() % 5 + 3); lives(sockets, lifeline)") as one:
        await one.started()
        worst = max(pid % 5 + 3 for pid in one.workers())
        one.signal()
        status, errors = await one.ended()
        assert status == worst
        assert errors.count("ended with status ") == 2
        assert "next" not in errors


async def test_a_second_signal_ends_workers_that_do_not_react() -> None:
    work = "signal.signal(signal.SIGTERM, signal.SIG_IGN); lives(sockets, lifeline)"
    async with program(work) as one:
        await one.started()
        one.signal(signal.SIGTERM)
        await one.rests()
        assert len(one.workers()) == 2
        one.signal(signal.SIGINT)
        assert await one.ended() == (128 + signal.SIGINT, "")


async def test_an_error_of_the_caller_ends_the_workers_too() -> None:
    async with program("lives(sockets, lifeline)", told="1 / 0") as one:
        status, errors = await one.ended()
        # The workers have the pipe too, so its end says that they have gone.
        assert status == 1
        assert "ZeroDivisionError" in errors


def test_the_time_to_wait_is_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    one = supervisor.Supervisor([([], nothing), ([], nothing)], Notifier())
    monkeypatch.setattr("time.monotonic", lambda: 10.0)
    first, second = one._slots
    first.starts_at, second.starts_at = 10.0101, None
    assert one._patience() == 11
    first.starts_at = 9.0
    assert one._patience() == 0
    first.starts_at = None
    assert one._patience() is None


def test_the_watchdog_is_waited_for_also_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    one = supervisor.Supervisor([([], nothing)], Notifier("", 4.0))
    monkeypatch.setattr("time.monotonic", lambda: 10.0)
    [slot] = one._slots
    slot.starts_at = 15.0
    assert one._patience() == 5000
    one._watchdog.start(10.0)
    assert one._patience() == 2000
    one._is_stopping = True
    assert one._patience() == 2000
    # Late, because a worker is silent: only news can change that.
    monkeypatch.setattr("time.monotonic", lambda: 13.0)
    assert one._patience() is None

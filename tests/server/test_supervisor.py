"""The supervisor: starts, restarts, signals, and its poll timeout."""

import asyncio
import contextlib
import math
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmux_proxy.server.notify import Notifier, Watchdog
from cmux_proxy.server.slot import ProcessSlot
from cmux_proxy.server.supervisor import poll_timeout
from tests.helpers.proxies import ProxyProcess, environment

# Programs that supervise other workers than proxies

PROGRAM = """
import logging, os, signal, socket, sys
from cmux_proxy.server.binding import bind_worker_sockets
from cmux_proxy.server.notify import Notifier
from cmux_proxy.server.supervisor import Job, Supervisor
from cmux_proxy.config.address import Address

logging.basicConfig(format="%(message)s")
marker = sys.argv[1]

def serve(sockets, lifeline):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT])
    lifeline.send(b"x")
    lifeline.recv(1)

def exit_with(status):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(status))

def work(sockets, lifeline):
    {work}

def on_accepting():
    print("cmux-proxy accepts", flush=True)
    {then}

groups = bind_worker_sockets([Address("127.0.0.1", 0)], {workers})
jobs = [Job(group, work) for group in groups]
status = Supervisor(jobs, Notifier()).run(on_accepting)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
sys.exit(status)
"""


@contextlib.asynccontextmanager
async def program(
    work: str, marker: str = "", workers: int = 2, then: str = ""
) -> AsyncIterator[ProxyProcess]:
    """Run a program that supervises workers that run `work`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM.format(work=work, workers=workers, then=then), marker),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    supervisor = ProxyProcess(process)
    try:
        yield supervisor
    finally:
        supervisor.kill()
        await supervisor.ended()


async def test_workers_that_crash_at_once_are_restarted_with_growing_delays() -> None:
    async with program("os._exit(3)") as supervisor:
        lines = [await supervisor.error_line() for _ in range(8)]
        for number in (1, 2):
            own = [line for line in lines if line.startswith(f"worker {number} ")]
            delays = [re.findall(r"status 3; .* in ([0-9.]+) s$", line) for line in own]
            assert delays == [["0.1"], ["0.2"], ["0.4"], ["0.8"]][: len(delays)]
            assert len(delays) >= 3
        # Meanwhile the supervisor sleeps.
        await supervisor.wait_until_asleep()
        supervisor.signal()
        status, _errors = await supervisor.ended()
        assert status == 3


async def test_a_worker_starts_with_signals_blocked() -> None:
    work = "os._exit(8 if signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []) else 9)"
    async with program(work, workers=1) as supervisor:
        assert "ended with status 8" in await supervisor.error_line()


async def test_the_supervisor_waits_for_workers_that_do_not_accept_yet(tmp_path: Path) -> None:
    work = "os.path.exists(marker) and serve(sockets, lifeline); open(marker, 'x').close()"
    async with program(work, str(tmp_path / "marker"), workers=1) as supervisor:
        assert "ended with status 0" in await supervisor.error_line()
        await supervisor.started()
        assert supervisor.announced == ["cmux-proxy accepts"]
        supervisor.signal()
        assert (await supervisor.ended())[0] == 128 + signal.SIGTERM


async def test_run_returns_the_worst_status_and_restores_signal_handlers() -> None:
    async with program("exit_with(os.getpid() % 5 + 3); serve(sockets, lifeline)") as supervisor:
        await supervisor.started()
        worst = max(pid % 5 + 3 for pid in supervisor.workers())
        supervisor.signal()
        status, errors = await supervisor.ended()
        assert status == worst
        assert errors.count("ended with status ") == 2
        assert "next" not in errors


async def test_a_second_signal_kills_workers_that_do_not_react() -> None:
    work = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve(sockets, lifeline)"
    async with program(work) as supervisor:
        await supervisor.started()
        supervisor.signal(signal.SIGTERM)
        await supervisor.wait_until_asleep()
        assert len(supervisor.workers()) == 2
        supervisor.signal(signal.SIGINT)
        assert await supervisor.ended() == (128 + signal.SIGINT, "")


async def test_an_error_in_the_callback_ends_the_workers_too() -> None:
    async with program("serve(sockets, lifeline)", then="1 / 0") as supervisor:
        status, errors = await supervisor.ended()
        # The workers have the pipe too, so its end means that they have ended.
        assert status == 1
        assert "ZeroDivisionError" in errors


NEVER = math.inf


def starting_at(*times: float | None) -> list[ProcessSlot]:
    """Return slots whose next processes start at these times."""
    slots = [ProcessSlot("worker", []) for _ in times]
    for slot, time in zip(slots, times, strict=True):
        slot.next_start = time
    return slots


@pytest.mark.parametrize(
    ("times", "timeout"),
    [((10.0101, None), 11), ((9.0, None), 0), ((None, None), None)],
    ids=["rounded up", "overdue", "nothing to start"],
)
def test_the_poll_timeout_ends_at_the_next_start(
    times: tuple[float | None, ...], timeout: int | None
) -> None:
    watchdog = Watchdog(Notifier())
    assert poll_timeout(10.0, starting_at(*times), watchdog, NEVER) == timeout


def test_the_poll_timeout_ends_when_processes_are_killed() -> None:
    assert poll_timeout(10.0, [], Watchdog(Notifier()), 12.0) == 2000


def test_the_poll_timeout_ends_when_the_watchdog_is_due() -> None:
    watchdog = Watchdog(Notifier("", 4.0))
    slots = starting_at(15.0)
    assert poll_timeout(10.0, slots, watchdog, NEVER) == 5000
    watchdog.start(10.0)
    assert poll_timeout(10.0, slots, watchdog, NEVER) == 2000
    # No slot starts while the supervisor stops.
    assert poll_timeout(10.0, [], watchdog, NEVER) == 2000
    # Overdue because a worker sends no heartbeat, so only a heartbeat can change it.
    assert poll_timeout(13.0, [], watchdog, NEVER) is None

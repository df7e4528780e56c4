"""Notifications to systemd: ready, alive and stopping, of one process and of several."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.helpers.loops import loop_settings
from tests.helpers.proxies import environment, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.systemd import Systemd
from tests.helpers.timing import MS, later, soon
from tests.helpers.wire import Wire, WireListener

# The watchdog's timeout in microseconds and in seconds; long enough for a busy machine.
PERIOD = int(400_000 * MS * 1000)
SECONDS = PERIOD / 1e6

one_and_two_workers = pytest.mark.parametrize("workers", ["1", "2"])


def watchdog_variables(systemd: Systemd, period: int = PERIOD) -> dict[str, str]:
    return {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": str(period)}


@one_and_two_workers
async def test_it_notifies_ready_alive_and_stopping(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", workers)
        async with proxy_process(loop_name, *flags, variables=watchdog_variables(systemd)) as proxy:
            status = f"STATUS=listening on 127.0.0.1:{proxy.port}"
            assert await systemd.receive() == ["READY=1", status]
            with await Wire.to("127.0.0.1", proxy.port) as client:
                await is_served(client)
            for _ in range(3):
                assert await systemd.receive() == ["WATCHDOG=1"]
            await proxy.stop()
        # On a busy machine the watchdog is notified once more during the drain.
        lines = [line for line in systemd.received() if line != "WATCHDOG=1"]
        assert lines == ["STOPPING=1", "STATUS=draining"]


@one_and_two_workers
async def test_without_a_watchdog_it_notifies_ready_and_stopping_only(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    with Systemd.at(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": systemd.address}
        flags = ("--workers", workers)
        async with proxy_process(loop_name, *flags, variables=variables) as proxy:
            await proxy.stop()
        names = [line.partition("=")[0] for line in systemd.received()]
        assert names == ["READY", "STATUS", "STOPPING", "STATUS"]


async def test_a_hung_worker_stops_the_notifications_of_the_supervisor(
    loop_name: str, tmp_path: Path
) -> None:
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", "2")
        async with proxy_process(loop_name, *flags, variables=watchdog_variables(systemd)) as proxy:
            await systemd.receive()
            assert await systemd.receive() == ["WATCHDOG=1"]
            stuck = proxy.workers()[0]
            os.kill(stuck, signal.SIGSTOP)
            # After this time systemd would end it.
            await systemd.receive_nothing(2 * SECONDS)
            # It does not spin meanwhile, although the notification is overdue.
            await proxy.wait_until_asleep()
            os.kill(stuck, signal.SIGCONT)
            assert await systemd.receive() == ["WATCHDOG=1"]
            await proxy.stop()


async def test_a_replaced_worker_does_not_count(loop_name: str, tmp_path: Path) -> None:
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", "2")
        async with proxy_process(loop_name, *flags, variables=watchdog_variables(systemd)) as proxy:
            await systemd.receive()
            os.kill(proxy.workers()[0], signal.SIGKILL)
            assert "the next one starts in" in await proxy.error_line()
            for _ in range(3):
                assert await systemd.receive() == ["WATCHDOG=1"]
            await proxy.stop()


async def test_it_notifies_the_watchdog_while_it_drains(loop_name: str, tmp_path: Path) -> None:
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", "2", "--drain-timeout", "1h")
        async with proxy_process(loop_name, *flags, variables=watchdog_variables(systemd)) as proxy:
            upstream = WireListener()
            with await Wire.to("127.0.0.1", proxy.port) as client:
                route = f"X-Cmux-Port-Internal: {upstream.port}"
                await client.send(head("GET / HTTP/1.1", "Host: a", route))
                with await soon(upstream.accept()) as pending:
                    proxy.signal()
                    while "STOPPING=1" not in await systemd.receive():
                        pass
                    for _ in range(3):
                        assert await systemd.receive() == ["WATCHDOG=1"]
                    await pending.send(head("HTTP/1.1 204 No Content"))
                    assert (await soon(client.receive_all())).startswith(b"HTTP/1.1 204 ")
            upstream.close()
            await proxy.drains()


STUCK = """
import asyncio, sys, time
from cmux_proxy import Config, run
def on_start(_addresses, _loop):
    asyncio.get_running_loop().add_reader(0, time.sleep, 3600)
run(Config(listen=["127.0.0.1:0"], **{settings!r}), on_start)
"""


async def test_a_hung_event_loop_sends_no_notifications(loop_name: str, tmp_path: Path) -> None:
    with Systemd.at(tmp_path) as systemd:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", STUCK.format(settings=loop_settings(loop_name))),
            stdin=asyncio.subprocess.PIPE,
            env=environment(**watchdog_variables(systemd)),
        )
        try:
            assert (await systemd.receive())[0] == "READY=1"
            for _ in range(2):
                assert await systemd.receive() == ["WATCHDOG=1"]
            assert process.stdin is not None
            process.stdin.write(b"now")
            await systemd.receive_nothing(2 * SECONDS)
        finally:
            process.kill()
            await later(process.communicate())

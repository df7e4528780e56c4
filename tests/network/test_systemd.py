"""A service of systemd: ready, alive and stopping, as one process and as several."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.helpers.proxies import environment, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.systemd import Systemd
from tests.helpers.timing import MS, later, soon
from tests.helpers.wire import Wire, WireListener

# Long enough for a machine that is busy, in microseconds and in seconds.
PERIOD = int(400_000 * MS * 1000)
SECONDS = PERIOD / 1e6

both = pytest.mark.parametrize("workers", ["1", "2"])


def asked(systemd: Systemd, period: int = PERIOD) -> dict[str, str]:
    return {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": str(period)}


@both
async def test_it_says_that_it_is_ready_alive_and_stopping(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", workers)
        async with proxy_process(loop_name, *flags, variables=asked(systemd)) as proxy:
            status = f"STATUS=listening on 127.0.0.1:{proxy.port}"
            assert await systemd.receive() == ["READY=1", status]
            with await Wire.to("127.0.0.1", proxy.port) as client:
                await is_served(client)
            for _ in range(3):
                assert await systemd.receive() == ["WATCHDOG=1"]
            await proxy.stop()
        # On a busy machine it is said once more amid the drain that all is well.
        rest = [line for line in systemd.received() if line != "WATCHDOG=1"]
        assert rest == ["STOPPING=1", "STATUS=draining"]


@both
async def test_without_a_watchdog_it_says_no_more_than_it_has_to(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    with Systemd.at(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": systemd.address}
        flags = ("--workers", workers)
        async with proxy_process(loop_name, *flags, variables=variables) as proxy:
            await proxy.stop()
        names = [line.partition("=")[0] for line in systemd.received()]
        assert names == ["READY", "STATUS", "STOPPING", "STATUS"]


async def test_a_worker_that_hangs_keeps_the_supervisor_from_saying_that_all_is_well(
    loop_name: str, tmp_path: Path
) -> None:
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", "2")
        async with proxy_process(loop_name, *flags, variables=asked(systemd)) as proxy:
            await systemd.receive()
            assert await systemd.receive() == ["WATCHDOG=1"]
            stuck = proxy.workers()[0]
            os.kill(stuck, signal.SIGSTOP)
            # After so long a silence systemd would end it.
            await systemd.receive_nothing(2 * SECONDS)
            # It does not spin meanwhile, although it is late.
            await proxy.rests()
            os.kill(stuck, signal.SIGCONT)
            assert await systemd.receive() == ["WATCHDOG=1"]
            await proxy.stop()


async def test_a_worker_that_was_replaced_does_not_count(loop_name: str, tmp_path: Path) -> None:
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", "2")
        async with proxy_process(loop_name, *flags, variables=asked(systemd)) as proxy:
            await systemd.receive()
            os.kill(proxy.workers()[0], signal.SIGKILL)
            assert "the next one starts in" in await proxy.complaint()
            for _ in range(3):
                assert await systemd.receive() == ["WATCHDOG=1"]
            await proxy.stop()


async def test_it_is_alive_while_it_drains(loop_name: str, tmp_path: Path) -> None:
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", "2", "--drain-timeout", "1h")
        async with proxy_process(loop_name, *flags, variables=asked(systemd)) as proxy:
            upstream = WireListener()
            with await Wire.to("127.0.0.1", proxy.port) as client:
                route = f"X-Cmux-Port-Internal: {upstream.port}"
                await client.send(head("GET / HTTP/1.1", "Host: a", route))
                with await soon(upstream.accept()) as asked_for:
                    proxy.signal()
                    while "STOPPING=1" not in await systemd.receive():
                        pass
                    for _ in range(3):
                        assert await systemd.receive() == ["WATCHDOG=1"]
                    await asked_for.send(head("HTTP/1.1 204 No Content"))
                    assert (await soon(client.receive_all())).startswith(b"HTTP/1.1 204 ")
            upstream.close()
            await proxy.drains()


STUCK = """
import asyncio, sys, time
from cmux_proxy import Config, run
def told(_addresses, _loop):
    asyncio.get_running_loop().add_reader(0, time.sleep, 3600)
run(Config(listen=["127.0.0.1:0"], loop={loop!r}), told)
"""


async def test_an_event_loop_that_hangs_says_nothing(loop_name: str, tmp_path: Path) -> None:
    with Systemd.at(tmp_path) as systemd:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", STUCK.format(loop=loop_name)),
            stdin=asyncio.subprocess.PIPE,
            env=environment(**asked(systemd)),
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

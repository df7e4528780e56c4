"""A service that restarts under load, and a worker that is killed under load."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import pytest

from cmux_proxy import Proxy
from tests.helpers.loops import descriptors
from tests.helpers.messages import Reader
from tests.helpers.origins import origin
from tests.helpers.proxies import ProxyProcess, local_config, proxy_process
from tests.helpers.timing import LATER, later
from tests.helpers.wire import closed_port
from tests.network.faults.content import expect_response, usual_response
from tests.network.faults.harness import Harness, harness

CLIENTS: Final = 24
RESTARTS: Final = 5
# This many responses arrive between two restarts, and this many requests fail during a restart.
RESPONSES: Final = 100


class Load:
    """Clients that repeat requests; `results` counts the statuses, and "cut" for a cut."""

    def __init__(self, on: Harness) -> None:
        self._on = on
        self._has_result = asyncio.Event()
        self.results: Counter[int | str] = Counter()
        self.lost: set[int] = set()

    async def repeat_requests(self) -> None:
        """Send requests over one connection after the other, until the proxy closes each."""
        while True:
            async with self._on.client() as reader:
                port = reader.wire.sock.getsockname()[1]
                try:
                    while True:
                        self._note(await self._request(reader))
                except (ConnectionError, EOFError):
                    self.lost.add(port)
                    self._note("cut")

    async def wait_for(self, count: int, *results: int | str) -> None:
        """Wait until `count` more requests have had one of these results."""
        expected = count + self._count(results)
        await self.until(lambda: self._count(results) >= expected)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true; check it after each result."""
        async with asyncio.timeout(LATER):
            while not condition():
                self._has_result.clear()
                await self._has_result.wait()

    def _count(self, results: Sequence[int | str]) -> int:
        return sum(self.results[result] for result in results)

    def _note(self, result: int | str) -> None:
        self.results[result] += 1
        self._has_result.set()

    async def _request(self, reader: Reader) -> int:
        """Send a request; fail unless the response belongs to it or is a 502."""
        mark = self._on.mark()
        await reader.wire.send(self._on.request(f"GET /usual/{mark}"))
        response = await later(reader.response())
        if response.status == 502:
            proxy_status = response.field("proxy-status") or ""
            assert proxy_status.startswith("cmux-proxy; error=connection_")
        else:
            expect_response(response, usual_response(mark))
        return response.status


@contextlib.asynccontextmanager
async def loaded(on: Harness) -> AsyncIterator[Load]:
    """Run clients that repeat requests for as long as the block."""
    load = Load(on)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.repeat_requests()) for _ in range(CLIENTS)]
        yield load
        for task in tasks:
            task.cancel()


async def test_clients_of_a_service_that_restarts_get_their_own_responses() -> None:
    with closed_port() as port:
        async with Proxy(local_config()) as proxy:
            on = Harness(proxy.addresses[0].port)
            await assert_restarts_are_survived(on, port)


async def assert_restarts_are_survived(on: Harness, port: int) -> None:
    async with origin(on.serve, port=port) as on.service:
        pass
    async with loaded(on) as load:
        for _ in range(RESTARTS):
            async with origin(on.serve, port=port) as on.service:
                await load.wait_for(RESPONSES, 200)
            await load.wait_for(RESPONSES, 502, "cut")
        async with origin(on.serve, port=port) as on.service:
            await load.wait_for(RESPONSES, 200)
            await on.serves()


def served_by(pid: int, port: int) -> set[int]:
    """Return the ports of the clients whose connections a process has accepted."""
    matches = (re.fullmatch(r"socket:\[([0-9]+)\]", target) for target in descriptors(pid).values())
    inodes = {match[1] for match in matches if match is not None}
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    ours = [row for row in rows if row[9] in inodes and row[1].endswith(f":{port:04X}")]
    return {int(row[2].rpartition(":")[2], 16) for row in ours if row[3] == "01"}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_worker_that_is_killed_under_load_loses_only_its_own_clients(
    loop_name: str,
) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy, harness(proxy.port) as on:
        async with loaded(on) as load:
            for _ in range(3):
                # All connections are accepted, so the worker of each client is known.
                await load.until(lambda: all_served(proxy))
                await load.wait_for(RESPONSES, 200)
                victim = proxy.workers()[0]
                lost = served_by(victim, proxy.port)
                load.lost.clear()
                os.kill(victim, signal.SIGKILL)
                assert f"(pid {victim}) was ended by signal 9" in await proxy.error_line()
                await load.wait_for(10 * RESPONSES, 200)
                assert load.lost == lost
            await load.until(lambda: all_served(proxy))
        await on.serves()
        await proxy.stop()


def all_served(proxy: ProxyProcess) -> bool:
    """Return whether the two workers together serve all clients."""
    shares = [len(served_by(pid, proxy.port)) for pid in proxy.workers()]
    return len(shares) == 2 and sum(shares) == CLIENTS

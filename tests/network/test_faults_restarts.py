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
from tests.network.faults.content import is_this, usual_answer
from tests.network.faults.ground import Ground, ground

CLIENTS: Final = 24
RESTARTS: Final = 5
# So many answers come between two restarts, and so many requests fail during one.
ANSWERS: Final = 100


class Load:
    """Clients who ask again and again; `done` counts how that ends, by status, or as "cut"."""

    def __init__(self, on: Ground) -> None:
        self._on = on
        self._something = asyncio.Event()
        self.done: Counter[int | str] = Counter()
        self.lost: set[int] = set()

    async def ask(self) -> None:
        """Use one connection after the other for as long as the proxy keeps it."""
        while True:
            async with self._on.client() as reader:
                port = reader.wire.sock.getsockname()[1]
                try:
                    while True:
                        self._note(await self._once(reader))
                except (ConnectionError, EOFError):
                    self.lost.add(port)
                    self._note("cut")

    async def come(self, count: int, *kinds: int | str) -> None:
        """Wait until so many more requests have ended in one of these ways."""
        wanted = count + self._ended(kinds)
        await self.until(lambda: self._ended(kinds) >= wanted)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until that is so."""
        async with asyncio.timeout(LATER):
            while not is_so():
                self._something.clear()
                await self._something.wait()

    def _ended(self, kinds: Sequence[int | str]) -> int:
        return sum(self.done[kind] for kind in kinds)

    def _note(self, kind: int | str) -> None:
        self.done[kind] += 1
        self._something.set()

    async def _once(self, reader: Reader) -> int:
        """Ask; fail unless the answer is the own one or a 502."""
        mark = self._on.mark()
        await reader.wire.send(self._on.request(f"GET /usual/{mark}"))
        got = await later(reader.response())
        if got.status == 502:
            assert (got.field("proxy-status") or "").startswith("cmux-proxy; error=connection_")
        else:
            is_this(got, usual_answer(mark))
        return got.status


@contextlib.asynccontextmanager
async def loaded(on: Ground) -> AsyncIterator[Load]:
    """Have clients ask meanwhile."""
    load = Load(on)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.ask()) for _ in range(CLIENTS)]
        yield load
        for task in tasks:
            task.cancel()


async def test_a_service_that_restarts_is_served_again_and_nobody_gets_anothers_bytes() -> None:
    with closed_port() as port:
        async with Proxy(local_config()) as proxy:
            on = Ground(proxy.addresses[0].port)
            await assert_restarts_are_survived(on, port)


async def assert_restarts_are_survived(on: Ground, port: int) -> None:
    async with origin(on.serve, port=port) as on.service:
        pass
    async with loaded(on) as load:
        for _ in range(RESTARTS):
            async with origin(on.serve, port=port) as on.service:
                await load.come(ANSWERS, 200)
            await load.come(ANSWERS, 502, "cut")
        async with origin(on.serve, port=port) as on.service:
            await load.come(ANSWERS, 200)
            await on.serves()


def served_by(pid: int, port: int) -> set[int]:
    """Return the ports of the clients that a process has accepted."""
    found = (re.fullmatch(r"socket:\[([0-9]+)\]", what) for what in descriptors(pid).values())
    inodes = {match[1] for match in found if match is not None}
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    ours = [row for row in rows if row[9] in inodes and row[1].endswith(f":{port:04X}")]
    return {int(row[2].rpartition(":")[2], 16) for row in ours if row[3] == "01"}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_worker_that_is_killed_under_load_takes_nobody_elses_client_along(
    loop_name: str,
) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy, ground(proxy.port) as on:
        async with loaded(on) as load:
            for _ in range(3):
                # Nobody waits to be accepted, so that it is known whose client each is.
                await load.until(lambda: all_served(proxy))
                await load.come(ANSWERS, 200)
                victim = proxy.workers()[0]
                theirs = served_by(victim, proxy.port)
                load.lost.clear()
                os.kill(victim, signal.SIGKILL)
                assert f"(pid {victim}) was ended by signal 9" in await proxy.error_line()
                await load.come(10 * ANSWERS, 200)
                assert load.lost == theirs
            await load.until(lambda: all_served(proxy))
        await on.serves()
        await proxy.stop()


def all_served(proxy: ProxyProcess) -> bool:
    """Return whether two workers have all clients between them."""
    shares = [len(served_by(pid, proxy.port)) for pid in proxy.workers()]
    return len(shares) == 2 and sum(shares) == CLIENTS

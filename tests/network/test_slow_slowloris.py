"""Clients by the hundred that never finish a head: everybody else is served as ever.

`python -m bench.slowloris` tells what they do to the others' latency.
"""

import asyncio
import contextlib
import os
import random
import sys
from typing import Final

import pytest

from tests.helpers.messages import Reader
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.timing import MS
from tests.network.faults.ground import Ground, ground
from tests.network.mixed_load.memory import footprint, passing, settled_footprint

SLOW: Final = 500
HEAD_TIMEOUT: Final = 1500 * MS
EVERY: Final = 200 * MS
# Each slow client is told twice at least that its time is up.
TOLD: Final = 2 * SLOW
REQUESTS: Final = 2000
AT_ONCE: Final = 8
# A byte takes some 60 us; with hundreds of others to look at for each, it would take much more.
MOST_CPU_PER_BYTE: Final = 1000e-6
MOST_GROWTH: Final = 16 * 1024 * 1024


class Crowd:
    """The slow clients; how many bytes they have sent, and how often they were told."""

    def __init__(self, on: Ground) -> None:
        self._on = on
        self.sent = 0
        self.told = 0
        self.has_enough = asyncio.Event()

    async def join(self) -> None:
        """Send a head byte by byte, and again from the beginning when the time is up."""
        head = self._on.request("GET /usual/never", f"Padding: {'x' * 10_000}")
        await asyncio.sleep(random.random() * EVERY)
        while True:
            async with self._on.client() as reader:
                sending = asyncio.get_running_loop().create_task(self._send(reader, head))
                try:
                    assert (await reader.response()).status == 408
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
            self.told += 1
            if self.told >= TOLD:
                self.has_enough.set()

    async def _send(self, reader: Reader, head: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            for at in range(len(head)):
                await reader.wire.send(head[at : at + 1])
                self.sent += 1
                await asyncio.sleep(EVERY)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_everybody_else_is_served_beside_clients_that_never_finish_a_head(
    loop_name: str,
) -> None:
    flags = ("--head-timeout", f"{HEAD_TIMEOUT}s")
    async with proxy_process(loop_name, *flags) as proxy:
        before = footprint(proxy)
        async with ground(proxy.port) as on:
            crowd = Crowd(on)
            async with asyncio.TaskGroup() as group:
                slow = [group.create_task(crowd.join()) for _ in range(SLOW)]
                await crowd.has_enough.wait()
                per_byte = cpu(proxy) / crowd.sent
                async with asyncio.TaskGroup() as others:
                    for _ in range(AT_ONCE):
                        others.create_task(ask(on, REQUESTS // AT_ONCE))
                for task in slow:
                    task.cancel()
        after = await settled_footprint(proxy, before)
        print(f"{1e6 * per_byte:.0f} us of CPU time for a byte; before: {before}; after: {after}")
        assert per_byte < MOST_CPU_PER_BYTE
        assert passing(after.descriptors, before.descriptors) == before.descriptors
        assert after.peak < before.resident + MOST_GROWTH
        await proxy.wait_until_asleep()
        await proxy.stop()


async def ask(on: Ground, count: int) -> None:
    """Ask one usual request after the other; fail unless each gets its own answer."""
    async with on.client() as reader:
        for _ in range(count):
            await on.ask(reader)


def cpu(proxy: ProxyProcess) -> float:
    """Return how many seconds of CPU time a proxy has taken."""
    with open(f"/proc/{proxy.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

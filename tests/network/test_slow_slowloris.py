"""Hundreds of clients that never complete a head do not affect other clients.

`python -m bench.slowloris` measures the latency of the other clients.
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
from tests.network.faults.harness import Harness, harness
from tests.network.mixed_load.memory import footprint, settled_footprint, without_splice_pipe

SLOW: Final = 500
HEAD_TIMEOUT: Final = 1500 * MS
BYTE_INTERVAL: Final = 200 * MS
# Each slow client gets 408 at least twice on average.
MIN_TIMEOUTS: Final = 2 * SLOW
REQUESTS: Final = 2000
AT_ONCE: Final = 8
# A byte takes about 60 us; it would take much more if the proxy checked all connections for each.
MAX_CPU_PER_BYTE: Final = 1000e-6
MAX_GROWTH: Final = 16 * 1024 * 1024


class SlowClients:
    """Slow clients; `sent` counts their bytes, `timed_out` how often they got 408."""

    def __init__(self, on: Harness) -> None:
        self._on = on
        self.sent = 0
        self.timed_out = 0
        self.has_enough = asyncio.Event()

    async def connect(self) -> None:
        """Send a head byte by byte, and start again after each 408."""
        head = self._on.request("GET /usual/never", f"Padding: {'x' * 10_000}")
        await asyncio.sleep(random.random() * BYTE_INTERVAL)
        while True:
            async with self._on.client() as reader:
                sending = asyncio.get_running_loop().create_task(self._send(reader, head))
                try:
                    assert (await reader.response()).status == 408
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
            self.timed_out += 1
            if self.timed_out >= MIN_TIMEOUTS:
                self.has_enough.set()

    async def _send(self, reader: Reader, head: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            for at in range(len(head)):
                await reader.wire.send(head[at : at + 1])
                self.sent += 1
                await asyncio.sleep(BYTE_INTERVAL)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_other_clients_are_served_while_slow_clients_never_complete_a_head(
    loop_name: str,
) -> None:
    flags = ("--head-timeout", f"{HEAD_TIMEOUT}s")
    async with proxy_process(loop_name, *flags) as proxy:
        before = footprint(proxy)
        async with harness(proxy.port) as on:
            slow_clients = SlowClients(on)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(slow_clients.connect()) for _ in range(SLOW)]
                await slow_clients.has_enough.wait()
                per_byte = cpu_time(proxy) / slow_clients.sent
                async with asyncio.TaskGroup() as others:
                    for _ in range(AT_ONCE):
                        others.create_task(repeat_requests(on, REQUESTS // AT_ONCE))
                for task in tasks:
                    task.cancel()
        after = await settled_footprint(proxy, before)
        print(f"{1e6 * per_byte:.0f} us of CPU time for a byte; before: {before}; after: {after}")
        assert per_byte < MAX_CPU_PER_BYTE
        assert without_splice_pipe(after.descriptors, before.descriptors) == before.descriptors
        assert after.peak < before.resident + MAX_GROWTH
        await proxy.wait_until_asleep()
        await proxy.stop()


async def repeat_requests(on: Harness, count: int) -> None:
    """Send usual requests in sequence; fail unless each gets its own response."""
    async with on.client() as reader:
        for _ in range(count):
            await on.exchange(reader)


def cpu_time(proxy: ProxyProcess) -> float:
    """Return the CPU time of a proxy in seconds."""
    with open(f"/proc/{proxy.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""Many concurrent clients get exactly their own responses, and leave nothing behind.

CMUX_LOAD_SECONDS is the duration (5), CMUX_LOAD_SEED selects another mixture.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

import pytest

from tests.helpers.proxies import proxy_process
from tests.helpers.timing import soon
from tests.helpers.wire import WireListener, closed_port
from tests.network.mixed_load.client import Client
from tests.network.mixed_load.memory import footprint, settled_footprint, without_splice_pipe
from tests.network.mixed_load.upstream import Upstream
from tests.network.mixed_load.world import World

CLIENTS: Final = 64
UPSTREAMS: Final = 6
SECONDS: Final = float(os.environ.get("CMUX_LOAD_SECONDS", "5"))
SEED: Final = os.environ.get("CMUX_LOAD_SEED", "cmux")
MAX_GROWTH: Final = 32 * 1024 * 1024


@contextlib.asynccontextmanager
async def world(proxy_port: int) -> AsyncIterator[World]:
    """Run the upstreams."""
    loop = asyncio.get_running_loop()
    listeners = [WireListener() for _ in range(UPSTREAMS)]
    with closed_port() as closed:
        load = World(proxy_port, [listener.port for listener in listeners], closed)
        tasks = [loop.create_task(Upstream(load, listener).serve()) for listener in listeners]
        try:
            yield load
        finally:
            for task in tasks:
                task.cancel()
            await soon(asyncio.gather(*tasks, return_exceptions=True))
            for listener in listeners:
                listener.close()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 180)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_many_concurrent_clients_get_their_own_responses_and_leave_nothing_behind(
    loop_name: str,
) -> None:
    async with proxy_process(loop_name) as proxy, world(proxy.port) as load:
        before = after = footprint(proxy)
        until = asyncio.get_running_loop().time() + SECONDS
        await asyncio.gather(*(Client(load, number, SEED).run(until) for number in range(CLIENTS)))
        # If the proxy has died, its exit status and its standard error show why.
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            after = await settled_footprint(proxy, before)
            proxy.signal()
        status, errors = await proxy.ended()
    print(f"{load.done.total()} done, {load.problem_count} problems, {dict(load.done)}")
    print(f"before: {before}; after: {after}")
    report = "\n".join([f"exit status {status}", errors, *load.problems])
    assert (status, errors, load.problem_count) == (0, "", 0), report
    assert without_splice_pipe(after.descriptors, before.descriptors) == before.descriptors
    assert after.resident < before.resident + MAX_GROWTH

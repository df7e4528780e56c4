"""The same faults, observed from outside a proxy process.

After the faults, the process has the same descriptors and about the same memory as before, sleeps,
serves the next client, and logs nothing.
"""

import sys
from collections.abc import Mapping
from typing import Final

import pytest

from tests.helpers.proxies import proxy_process
from tests.helpers.timing import MS
from tests.network.faults.harness import Fault, harness
from tests.network.faults.table import CLIENT_FAULTS, UPSTREAM_FAULTS
from tests.network.mixed_load.memory import footprint, settled_footprint, without_splice_pipe

MAX_GROWTH: Final = 8 * 1024 * 1024
TIMEOUT: Final = 800 * MS
FLAGS: Final = {
    "head": "--head-timeout",
    "body": "--body-timeout",
    "response": "--response-timeout",
    "response_idle": "--response-idle-timeout",
}
ALL: Final = {
    **{f"an upstream that {name}": fault for name, fault in UPSTREAM_FAULTS.items()},
    **{f"a client that {name}": fault for name, fault in CLIENT_FAULTS.items()},
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def test_all_faults_at_once_leave_nothing_behind(loop_name: str) -> None:
    # Faults that need a timeout are left out, because a busy machine would miss the timeouts.
    # Faults that close idle connections come last, because the others send requests that must not
    # be retried.
    faults = {
        name: fault
        for name, fault in ALL.items()
        if not fault.is_exclusive and fault.timeout is None
    }
    await met(
        loop_name,
        {name: fault for name, fault in faults.items() if not fault.closes_idle},
        {name: fault for name, fault in faults.items() if fault.closes_idle},
        times=2,
    )


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALL)
async def test_a_fault_leaves_nothing_behind(loop_name: str, fault: str) -> None:
    await met(loop_name, {fault: ALL[fault]})


async def met(loop_name: str, *groups: Mapping[str, Fault], times: int | None = None) -> None:
    faults = [fault for group in groups for fault in group.values()]
    timeouts = {fault.timeout for fault in faults if fault.timeout is not None}
    flags = [text for name in timeouts for text in (FLAGS[name], f"{TIMEOUT}s")]
    async with proxy_process(loop_name, *flags) as proxy:
        before = footprint(proxy)
        async with harness(proxy.port) as on:
            for group in groups:
                await on.run(group, times)
        # The service has closed, so the pool is empty too.
        after = await settled_footprint(proxy, before)
        print(f"before: {before}; after: {after}")
        assert without_splice_pipe(after.descriptors, before.descriptors) == before.descriptors
        assert after.resident < before.resident + MAX_GROWTH
        await proxy.wait_until_asleep()
        await proxy.stop()

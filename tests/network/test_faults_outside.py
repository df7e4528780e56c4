"""The same faults as seen from outside: a proxy process that has met them has the descriptors and
about the memory that it had before, sleeps, serves the next client, and has nothing to complain
about."""

import sys
from collections.abc import Mapping
from typing import Final

import pytest

from tests.helpers.proxies import proxy_process
from tests.helpers.timing import MS
from tests.network.faults.ground import Fault, ground
from tests.network.faults.table import OF_CLIENTS, OF_UPSTREAMS
from tests.network.mixed_load.memory import footprint, passing, settled_footprint

MOST_GROWTH: Final = 8 * 1024 * 1024
PATIENCE: Final = 800 * MS
FLAGS: Final = {
    "head": "--head-timeout",
    "body": "--body-timeout",
    "response": "--response-timeout",
    "response_idle": "--response-idle-timeout",
}
ALL: Final = {
    **{f"an upstream that {name}": fault for name, fault in OF_UPSTREAMS.items()},
    **{f"a client that {name}": fault for name, fault in OF_CLIENTS.items()},
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def test_a_process_that_has_met_all_faults_at_once_is_as_it_was(loop_name: str) -> None:
    # Without deadlines, since a busy machine would miss them with so much at once; and those that
    # end idle connections after the others, who send what may not be sent again.
    together = {
        name: fault for name, fault in ALL.items() if not fault.is_alone and fault.timeout is None
    }
    await met(
        loop_name,
        {name: fault for name, fault in together.items() if not fault.ends_idle},
        {name: fault for name, fault in together.items() if fault.ends_idle},
        times=2,
    )


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALL)
async def test_a_process_is_as_it_was_after(loop_name: str, fault: str) -> None:
    await met(loop_name, {fault: ALL[fault]})


async def met(loop_name: str, *groups: Mapping[str, Fault], times: int | None = None) -> None:
    faults = [fault for group in groups for fault in group.values()]
    timeouts = {fault.timeout for fault in faults if fault.timeout is not None}
    flags = [text for name in timeouts for text in (FLAGS[name], f"{PATIENCE}s")]
    async with proxy_process(loop_name, *flags) as proxy:
        before = footprint(proxy)
        async with ground(proxy.port) as on:
            for group in groups:
                await on.meets(group, times)
        # With the service gone, nothing is left in the pool either.
        after = await settled_footprint(proxy, before)
        print(f"before: {before}; after: {after}")
        assert passing(after.descriptors, before.descriptors) == before.descriptors
        assert after.resident < before.resident + MOST_GROWTH
        await proxy.wait_until_asleep()
        await proxy.stop()

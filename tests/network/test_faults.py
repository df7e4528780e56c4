"""A proxy meets a fault repeatedly while other clients send requests.

The other clients notice nothing. No object, task or descriptor remains.
"""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from cmux_proxy import Proxy, Timeouts
from tests.helpers.leftovers import live_objects
from tests.helpers.proxies import local_config
from tests.helpers.timing import MS
from tests.network.faults.harness import Fault, harness
from tests.network.faults.table import CLIENT_FAULTS, UPSTREAM_FAULTS

TIMEOUT = 800 * MS


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def fault_names(faults: dict[str, Fault]) -> list[Any]:
    """Return the names; those of faults that wait for a timeout are marked as slow."""
    return [
        pytest.param(name, marks=pytest.mark.slow if fault.timeout else ())
        for name, fault in faults.items()
    ]


@pytest.mark.parametrize("fault", fault_names(UPSTREAM_FAULTS))
async def test_fault_of_an_upstream(fault: str) -> None:
    await run(fault, UPSTREAM_FAULTS[fault])


@pytest.mark.parametrize("fault", fault_names(CLIENT_FAULTS))
async def test_fault_of_a_client(fault: str) -> None:
    await run(fault, CLIENT_FAULTS[fault])


async def run(name: str, fault: Fault) -> None:
    before = live_objects()
    timeouts = Timeouts(**({fault.timeout: TIMEOUT} if fault.timeout else {}))
    async with (
        Proxy(local_config(timeouts=timeouts)) as proxy,
        harness(proxy.addresses[0].port) as on,
    ):
        await on.run({name: fault})
    # The event loop reports the last closed connections in its next turns.
    for _ in range(3):
        await asyncio.sleep(0)
    assert live_objects() == before

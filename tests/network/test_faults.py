"""One proxy meets a fault again and again while others go on; they notice nothing, and nothing of
it is left: no object, no task, no descriptor."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from cmux_proxy import Proxy, Timeouts
from tests.helpers.leftovers import left
from tests.helpers.proxies import local_config
from tests.helpers.timing import MS
from tests.network.faults.ground import Fault, ground
from tests.network.faults.table import OF_CLIENTS, OF_UPSTREAMS

PATIENCE = 800 * MS


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def each(faults: dict[str, Fault]) -> list[Any]:
    """Return the names; to wait until a deadline has passed takes long."""
    return [
        pytest.param(name, marks=pytest.mark.slow if fault.timeout else ())
        for name, fault in faults.items()
    ]


@pytest.mark.parametrize("fault", each(OF_UPSTREAMS))
async def test_an_upstream_that(fault: str) -> None:
    await meets(fault, OF_UPSTREAMS[fault])


@pytest.mark.parametrize("fault", each(OF_CLIENTS))
async def test_a_client_that(fault: str) -> None:
    await meets(fault, OF_CLIENTS[fault])


async def meets(name: str, fault: Fault) -> None:
    before = left()
    timeouts = Timeouts(**({fault.timeout: PATIENCE} if fault.timeout else {}))
    async with (
        Proxy(local_config(timeouts=timeouts)) as proxy,
        ground(proxy.addresses[0].port) as on,
    ):
        await on.meets({name: fault})
    # The event loop tells what was closed last.
    for _ in range(3):
        await asyncio.sleep(0)
    assert left() == before

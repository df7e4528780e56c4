"""A hundred streams on one connection, to thirty services in three workspaces, half of them reset.

CMUX_LOAD_STREAMS is the number of streams of the slow test, CMUX_LOAD_SEED selects another mixture.
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from cmux_proxy import Observability, Proxy, workspace_ip
from tests.helpers.h2_load import Load, Service, Upstream, plans
from tests.helpers.h2_peer import H2Peer, settle
from tests.helpers.leftovers import live_objects
from tests.helpers.origins import origin
from tests.helpers.proxies import local_config, proxy_process
from tests.helpers.timing import later
from tests.helpers.wire import closed_port
from tests.network.mixed_load.memory import footprint, settled_footprint, without_splice_pipe

AT_ONCE: Final = 100
WORKSPACES: Final = ("ws-1", "ws-2", "ws-3")
PORTS: Final = 10
SEED: Final = os.environ.get("CMUX_LOAD_SEED", "cmux")
SLOW_STREAMS: Final = int(os.environ.get("CMUX_LOAD_STREAMS", "5000"))


@contextlib.asynccontextmanager
async def services(problems: list[str]) -> AsyncIterator[list[Upstream]]:
    """Run services on the same ports in all workspaces."""
    async with contextlib.AsyncExitStack() as stack:
        ports = [stack.enter_context(closed_port()) for _ in range(PORTS)]
        upstreams = [Upstream(name, port) for name in WORKSPACES for port in ports]
        for each in upstreams:
            service = origin(Service(each, problems), workspace_ip(each.workspace), each.port)
            await stack.enter_async_context(service)
        yield upstreams


async def play(port: int, count: int) -> None:
    """Open so many streams, and fail unless each of them is complete or reset as planned."""
    problems: list[str] = []
    async with services(problems) as upstreams:
        with await H2Peer.to(port) as peer:
            await peer.step()
            load = Load(peer, problems)
            await load.run(plans(SEED, count, upstreams), AT_ONCE)
            assert problems == []
            assert load.complete + load.aborted == count
            # Short ones may be complete before their client resets them.
            assert load.aborted > count // 3
            await settle(peer)
            # What was sent on streams that were reset is given back to the connection too.
            assert peer.h2.outbound_flow_control_window > 3 << 18


def is_quiet(proxy: Proxy) -> bool:
    """Return whether no stream and no connection in use is left."""
    registry, stats = proxy.services.registry, proxy.stats(AT_ONCE)
    return not (
        len(registry) or registry.streams or registry.tunnels or stats.clients
        or stats.http2_connections or stats.http2_streams or any(stats.tunnels.values())
        or stats.upstreams != stats.idle_upstreams
    )  # fmt: skip


async def until_quiet(proxy: Proxy) -> None:
    """Let the loop turn until the proxy has seen all ends."""
    quiet = False
    while not quiet:
        await asyncio.sleep(0)
        quiet = is_quiet(proxy)


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_every_byte_is_its_own_and_nothing_is_left(without_collector: None) -> None:
    before = live_objects()
    config = local_config(observability=Observability(admin="127.0.0.1:0"))
    async with Proxy(config) as proxy:
        await play(proxy.addresses[0].port, 3 * AT_ONCE)
        await later(until_quiet(proxy))
    left = live_objects() - before
    gc.collect()
    # A connection refers to its engine and back; streams and exchanges need no collector.
    assert set(left) <= {"Http2Connection"}
    assert live_objects() == before


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_thousands_of_streams_leave_no_descriptor_behind(loop_name: str) -> None:
    async with proxy_process(loop_name) as proxy:
        before = footprint(proxy)
        await play(proxy.port, SLOW_STREAMS)
        after = await settled_footprint(proxy, before)
        await proxy.stop()
    print(f"before: {before}; after: {after}")
    assert without_splice_pipe(after.descriptors, before.descriptors) == before.descriptors
    assert after.resident < before.resident + 32 * 1024 * 1024

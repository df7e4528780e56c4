"""Busy polling with real sockets: exchanges work as usual, and the loop sleeps afterwards."""

import asyncio
from typing import Any

from cmux_proxy.net.busy_poll import BusyPoll, Window
from tests.helpers.proxies import local_config, proxy_process
from tests.helpers.script import Peer, Stage, get, head, stage
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

MAX_POLL = 0.01
REQUEST = head("GET / HTTP/1.1", "Host: a")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def windows_of(on: Stage) -> tuple[Window, Window]:
    """Return how long to poll for either side."""
    busy_poll = on.proxy.services.busy_poll
    loop: Any = asyncio.get_running_loop()
    windows = loop.busy_poll_windows if busy_poll is None else busy_poll.windows
    assert windows is not None
    return windows


async def wait_until_asleep(busy_poll: BusyPoll) -> None:
    """Wait until the loop does not poll any more."""
    while True:
        if not busy_poll.is_polling:
            return
        await asyncio.sleep(0)


async def exchange(client: Peer, upstream: Peer) -> None:
    """Exchange a request and its response."""
    await client.says(get())
    await upstream.gets(REQUEST)
    await upstream.says(OK)
    await client.gets(OK)


async def test_requests_are_served_while_the_loop_polls_and_then_it_sleeps() -> None:
    async with stage(local_config(busy_poll=MAX_POLL)) as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        # A wait shorter than MAX_POLL starts polling; on loopback, some waits are.
        while not any(window.length for window in windows_of(on)):
            await exchange(client, upstream)
        for _ in range(20):
            await exchange(client, upstream)
        busy_poll: BusyPoll | None = on.proxy.services.busy_poll
        # The native loop polls without callbacks; that it sleeps shows from outside, below.
        if busy_poll is not None:
            await soon(wait_until_asleep(busy_poll))
            for _ in range(100):
                await asyncio.sleep(0)
                assert not busy_poll.is_polling
        await exchange(client, upstream)


async def test_a_tunnel_works_while_the_loop_polls() -> None:
    async with stage(local_config(busy_poll=MAX_POLL)) as on:
        client, upstream = await on.tunnel()
        for number in range(50):
            await client.says(b"ping %d" % number)
            await upstream.gets(b"ping %d" % number)
            await upstream.says(b"pong %d" % number)
            await client.gets(b"pong %d" % number)
        client.ends()
        await upstream.gets_end()
        upstream.ends()
        await client.gets_end()


async def test_a_process_that_has_polled_sleeps_when_idle(loop_name: str) -> None:
    async with proxy_process(loop_name, "--busy-poll", "10ms") as proxy:
        wire = await Wire.to("127.0.0.1", proxy.port)
        for _ in range(20):
            await wire.send(REQUEST)
            assert (await soon(wire.receive())).startswith(b"HTTP/1.1 400 ")
        await proxy.wait_until_asleep()
        wire.close()
        await proxy.stop()


async def test_a_process_handles_a_signal_while_it_polls(loop_name: str) -> None:
    async with proxy_process(loop_name, "--busy-poll", "10ms") as proxy:
        wire = await Wire.to("127.0.0.1", proxy.port)
        for _ in range(20):
            await wire.send(REQUEST)
            assert (await soon(wire.receive())).startswith(b"HTTP/1.1 400 ")
        await proxy.stop()
        assert await soon(wire.receive()) == b""
        wire.close()

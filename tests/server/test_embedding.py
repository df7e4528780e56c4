"""Proxies in the loops of programs: several, in threads, one after the other, in loops that end."""

import asyncio
import contextlib
import gc
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from unittest import mock

import pytest

from cmux_proxy import Config, Proxy
from cmux_proxy.net import backends
from tests.helpers.loops import FACTORIES, descriptors, loop_settings
from tests.helpers.proxies import embedding_program
from tests.helpers.script import get, head, stage
from tests.helpers.timing import SOON, later, soon
from tests.helpers.wire import Wire

pytestmark = pytest.mark.hosting

T = TypeVar("T")
REQUEST = head("GET / HTTP/1.1", "Host: a")
LOCAL = Config(listen=["127.0.0.1:0"])


async def test_several_proxies_of_a_loop_end_in_any_order() -> None:
    async with stage() as first, stage() as second, stage() as third:
        client, upstream = await second.tunnel()
        for on in (first, second, third):
            await on.serves()
        await soon(first.proxy.close())
        await third.serves()
        await soon(third.proxy.drain())
        await second.serves()
        async with stage() as fourth:
            await fourth.serves()
        await client.says(b"still here")
        await upstream.gets(b"still here")


async def test_a_proxy_drains_while_another_one_of_its_loop_serves() -> None:
    async with stage() as draining, stage() as serving:
        client, upstream = await draining.pair(get())
        await upstream.gets_head()
        drain = asyncio.get_running_loop().create_task(draining.proxy.drain(3600.0))
        await serving.serves()
        assert not drain.done()
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets_end()
        client.closes()
        await soon(drain)
        await serving.serves()


async def test_proxies_come_and_go_in_a_loop() -> None:
    for _ in range(10):
        async with stage() as on:
            _client, _upstream = await on.tunnel()
            await on.serves()


async def test_a_loop_in_debug_mode_has_nothing_to_complain_of() -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 3600.0
    async with stage() as on:
        _client, _upstream = await on.tunnel()
        await on.serves()
    loop.set_debug(False)


async def test_proxies_serve_in_threads_with_loops_of_their_own(loop_name: str) -> None:
    async def serve() -> None:
        async with Proxy(LOCAL) as proxy:
            stop = asyncio.Event()
            stops.append((asyncio.get_running_loop(), stop))
            main.call_soon_threadsafe(ports.put_nowait, proxy.addresses[0].port)
            await stop.wait()
            await proxy.drain()

    def run() -> None:
        with asyncio.Runner(loop_factory=FACTORIES[loop_name]) as runner:
            runner.run(serve())

    main = asyncio.get_running_loop()
    ports: asyncio.Queue[int] = asyncio.Queue()
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    async with stage() as here:
        for _ in threads:
            with await Wire.to("127.0.0.1", await later(ports.get())) as client:
                await client.send(REQUEST)
                assert (await soon(client.receive())).startswith(b"HTTP/1.1 400 ")
        await here.serves()
        for loop, stop in stops:
            loop.call_soon_threadsafe(stop.set)
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await here.serves()


# Loops that do not run, or have ended


def run_in(loop: asyncio.AbstractEventLoop, loop_name: str, main: Coroutine[Any, Any, T]) -> T:
    """Run in a loop for a while, with the streams of its name."""
    has_native = not loop_settings(loop_name)["no_native_io"]
    with mock.patch.object(backends, "HAS_NATIVE", has_native):
        return loop.run_until_complete(main)


async def exchange(client: socket.socket) -> bytes:
    """Send a request; return the start of the response."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, REQUEST)
    return (await soon(loop.sock_recv(client, 65536)))[:12]


def test_a_loop_that_rests_serves_when_it_runs_again(loop_name: str) -> None:
    loop, proxy = FACTORIES[loop_name](), Proxy(LOCAL)
    run_in(loop, loop_name, proxy.start())
    address = ("127.0.0.1", proxy.addresses[0].port)
    with socket.create_connection(address) as client:
        client.setblocking(False)
        assert run_in(loop, loop_name, exchange(client)) == b"HTTP/1.1 400"
        client.send(REQUEST)
        with socket.create_connection(address) as second:
            second.setblocking(False)
            assert run_in(loop, loop_name, exchange(second)) == b"HTTP/1.1 400"
            assert client.recv(12) == b"HTTP/1.1 400"
    run_in(loop, loop_name, proxy.close())
    loop.close()


def leave(loop_name: str, then: Callable[[Proxy], object]) -> None:
    """Close a loop whose proxy has a client, and is not closed."""
    loop, proxy = FACTORIES[loop_name](), Proxy(LOCAL)
    run_in(loop, loop_name, proxy.start())
    with socket.create_connection(("127.0.0.1", proxy.addresses[0].port)) as client:
        client.setblocking(False)
        assert run_in(loop, loop_name, exchange(client)) == b"HTTP/1.1 400"
        loop.close()
        if not loop_settings(loop_name)["no_native_io"]:
            client.settimeout(SOON)
            while client.recv(65536):
                pass
        then(proxy)


def test_a_loop_that_closes_leaves_nothing_of_its_proxy_behind(loop_name: str) -> None:
    # What the loop opens for the life of the process.
    FACTORIES[loop_name]().close()
    gc.collect()
    before = descriptors()
    with warnings.catch_warnings():
        # asyncio warns of transports that were not closed.
        warnings.simplefilter("ignore", ResourceWarning)
        leave(loop_name, lambda _proxy: None)
        gc.collect()
    assert descriptors() == before


def test_a_proxy_may_be_closed_after_its_loop(loop_name: str) -> None:
    if loop_settings(loop_name)["no_native_io"]:
        pytest.skip("transports of asyncio and uvloop need their loop")
    FACTORIES[loop_name]().close()
    gc.collect()
    before = descriptors()
    leave(loop_name, lambda proxy: asyncio.run(proxy.close()))
    assert descriptors() == before


# A program

PROGRAM = """
import asyncio, signal
from cmux_proxy import Config, Proxy
from cmux_proxy.server.event_loops import loop_factory
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = Config(listen=["127.0.0.1:0"], no_native_io={no_native_io})
    async with Proxy(config) as first, Proxy(config) as second:
        print(first.addresses[0].port, second.addresses[0].port, flush=True)
        await stop.wait()
        await asyncio.gather(first.drain(), second.drain())
with asyncio.Runner(loop_factory=loop_factory({loop!r})) as runner:
    runner.run(main())
print("drained")
"""


async def test_a_program_serves_and_drains_with_its_own_handler_of_signals(loop_name: str) -> None:
    async with embedding_program(PROGRAM.format(**loop_settings(loop_name))) as process:
        assert process.stdout is not None
        with contextlib.ExitStack() as stack:
            for port in (await later(process.stdout.readline())).split():
                client = stack.enter_context(await Wire.to("127.0.0.1", int(port)))
                await client.send(REQUEST)
                assert (await soon(client.receive())).startswith(b"HTTP/1.1 400 ")
            process.send_signal(signal.SIGTERM)
            out, errors = await later(process.communicate())
    assert (process.returncode, out, errors) == (0, b"drained\n", b"")

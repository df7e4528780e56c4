"""Proxy, as an embedder uses it: started, drained and closed in the embedder's loop."""

import asyncio
import contextlib
import errno
import signal
import socket
from typing import Any

import pytest

from cmux_proxy import Address, ListenError, Proxy, Router, RouteRefused, Target, Timeouts
from cmux_proxy.server import proxy as module
from cmux_proxy.server.binding import bind
from cmux_proxy.server.connection_limits import ConnectionLimits
from cmux_proxy.server.listener import Listener
from tests.helpers.proxies import local_config
from tests.helpers.script import get, head, stage
from tests.helpers.timing import MS, soon
from tests.helpers.wire import Wire, WireListener

NEVER = 3600.0


async def status_line(wire: Wire) -> bytes:
    """Send a request without a route; return the start of the response."""
    await wire.send(head("GET / HTTP/1.1", "Host: a"))
    return (await soon(wire.receive()))[:12]


def begin_drain(proxy: Proxy, timeout: float | None = NEVER) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(proxy.drain(timeout))


# Starting


def test_a_proxy_may_be_created_outside_of_a_loop_and_has_no_addresses_yet() -> None:
    assert Proxy().addresses == []


async def test_the_block_serves_and_its_end_closes() -> None:
    async with Proxy(local_config(listen=["127.0.0.1:0", "127.0.0.2:0"])) as proxy:
        assert [address.host for address in proxy.addresses] == ["127.0.0.1", "127.0.0.2"]
        for address in proxy.addresses:
            with await Wire.to(address.host, address.port) as wire:
                assert await status_line(wire) == b"HTTP/1.1 400"
    for address in proxy.addresses:
        with pytest.raises(ConnectionRefusedError):
            await Wire.to(address.host, address.port)


async def test_an_error_in_the_block_is_raised_and_the_proxy_is_closed() -> None:
    proxy = Proxy(local_config())
    with pytest.raises(ZeroDivisionError):
        async with proxy:
            _ = 1 // 0
    with pytest.raises(ConnectionRefusedError):
        await Wire.to("127.0.0.1", proxy.addresses[0].port)


async def test_a_second_start_is_refused_even_after_the_end_and_the_first_continues() -> None:
    async with Proxy(local_config()) as proxy:
        with pytest.raises(RuntimeError, match="started already"):
            await proxy.start()
        with await Wire.to("127.0.0.1", proxy.addresses[0].port) as wire:
            assert await status_line(wire) == b"HTTP/1.1 400"
    with pytest.raises(RuntimeError, match="started already"):
        await proxy.start()


async def test_an_address_in_use_leaves_nothing_bound_and_start_may_be_retried() -> None:
    # No other program takes a free port of this address meanwhile.
    with contextlib.closing(WireListener("127.0.0.99")) as taken:
        proxy = Proxy(local_config(listen=["127.0.0.1:0", f"127.0.0.99:{taken.port}"]))
        with pytest.raises(ListenError) as caught:
            await proxy.start()
        assert caught.value.address == f"127.0.0.99:{taken.port}"
        assert proxy.addresses == []
    async with proxy:
        assert proxy.addresses[1].port == taken.port


async def test_given_sockets_are_served_and_finally_closed() -> None:
    with (
        bind([Address("127.0.0.1", 0)])[0] as first,
        socket.create_server(("127.0.0.2", 0)) as second,
    ):
        proxy = Proxy(local_config(listen=["192.0.2.1:80"]))
        await proxy.start([first, second])
        names = [(address.host, address.port) for address in proxy.addresses]
        assert names == [first.getsockname(), second.getsockname()]
        assert second.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for host, port in names:
            with await Wire.to(host, port) as wire:
                route = f"X-Cmux-Port-Internal: {first.getsockname()[1]}"
                await wire.send(head("GET / HTTP/1.1", "Host: a", route))
                assert (await soon(wire.receive()))[:12] == b"HTTP/1.1 508"
        await soon(proxy.close())
        assert first.fileno() == second.fileno() == -1


async def test_a_listener_that_cannot_accept_fails_the_start_and_frees_the_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class FailingListener(Listener):
        async def start(self) -> None:
            raise OSError(errno.EMFILE, "")

    monkeypatch.setattr(module, "Listener", FailingListener)
    proxy = Proxy(local_config())
    with pytest.raises(OSError, match="Errno 24"):
        await proxy.start()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", proxy.addresses[0].port))
    await soon(proxy.close())


# Embedding


async def test_neither_signals_nor_the_exception_handler_of_the_loop_are_touched() -> None:
    def handler(*_: Any) -> None:
        pass

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
    previous = [signal.signal(number, handler) for number in numbers]
    loop = asyncio.get_running_loop()
    exception_handler = loop.get_exception_handler()
    try:
        async with Proxy(local_config()) as proxy:
            assert [signal.getsignal(number) for number in numbers] == [handler] * len(numbers)
            await soon(proxy.drain())
        assert [signal.getsignal(number) for number in numbers] == [handler] * len(numbers)
        assert loop.get_exception_handler() is exception_handler
    finally:
        for number, old_handler in zip(numbers, previous, strict=True):
            signal.signal(number, old_handler)


async def test_two_proxies_serve_side_by_side() -> None:
    async with Proxy(local_config()) as first, stage() as second:
        await soon(first.close())
        await second.serves()


class ByHost(Router):
    """Routes by the first label of Host, as an embedder may do."""

    def __init__(self, ports: dict[bytes, int]) -> None:
        super().__init__("127.0.0.1")
        self.ports = ports
        self.seen: list[tuple[bytes, bytes | None, list[tuple[bytes, bytes]]]] = []

    def route(
        self, method: bytes, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
    ) -> Target:
        self.seen.append((method, host, list(fields)))
        port = self.ports.get((host or b"").partition(b".")[0])
        if port is None:
            raise RouteRefused(421, "no such service", "destination_not_found")
        return Target("127.0.0.1", port)


async def test_the_embedders_router_decides() -> None:
    with contextlib.closing(WireListener()) as listener:
        router = ByHost({b"web": listener.port})
        async with Proxy(local_config(), router) as proxy:
            with await Wire.to("127.0.0.1", proxy.addresses[0].port) as client:
                request = ["GET / HTTP/1.1", "Host: web.example"]
                await client.send(head(*request, "X-Cmux-Tenant-Internal: 7"))
                with await soon(listener.accept()) as upstream:
                    assert await soon(upstream.receive()) == head(*request)
                    await upstream.send(head("HTTP/1.1 204 No Content"))
                    assert await soon(client.receive()) == head("HTTP/1.1 204 No Content")
                assert await status_line(client) == b"HTTP/1.1 421"
        assert router.seen == [
            (b"GET", b"web.example", [(b"x-cmux-tenant-internal", b"7")]),
            (b"GET", b"a", []),
        ]


# Ending


async def test_closing_and_draining_before_the_start_does_nothing() -> None:
    proxy = Proxy(local_config())
    await soon(proxy.drain())
    await soon(proxy.close())
    async with proxy:
        assert proxy.addresses


async def test_closing_and_draining_are_idempotent() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await soon(on.proxy.close())
        await soon(on.proxy.close())
        await soon(on.proxy.drain(NEVER))
        assert await client.gets_cut() == b""
        assert await upstream.gets_cut() == b""


@pytest.mark.parametrize("timeout", [0.0, 10 * MS, None])
async def test_a_drain_waits_for_the_given_or_the_configured_timeout(
    timeout: float | None,
) -> None:
    async with stage(local_config(timeouts=Timeouts(drain=10 * MS))) as on:
        client, _upstream = await on.pair()
        await soon(begin_drain(on.proxy, timeout))
        assert await client.gets_cut() == b""


async def test_a_drain_ends_with_the_last_connection() -> None:
    async with stage() as on:
        client, upstream = await on.tunnel()
        drain = begin_drain(on.proxy)
        await client.says(b"still")
        await upstream.gets(b"still")
        assert not drain.done()
        upstream.closes()
        await client.gets_end()
        client.closes()
        await soon(drain)


async def test_close_ends_a_drain_that_is_running_and_so_does_a_second_drain() -> None:
    async with stage() as on:
        client, _upstream = await on.pair()
        drains = [begin_drain(on.proxy), begin_drain(on.proxy)]
        await asyncio.sleep(0)
        await soon(on.proxy.drain(0.0))
        for drain in drains:
            await soon(drain)
        assert await client.gets_cut() == b""


async def test_idle_connections_to_upstreams_end_with_the_proxy() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get())
        await upstream.gets_head()
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content"))
        client.closes()
        await soon(on.proxy.close())
        await upstream.gets_end()


# Room for clients


async def test_accepting_pauses_before_descriptors_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        module,
        "connection_limits",
        lambda *_: ConnectionLimits(2, 2, max_exchanges=2, accepts_bursts=False),
    )
    async with Proxy(local_config()) as proxy:
        port = proxy.addresses[0].port
        with await Wire.to("127.0.0.1", port) as first, await Wire.to("127.0.0.1", port) as second:
            assert await status_line(first) == await status_line(second) == b"HTTP/1.1 400"
            with await Wire.to("127.0.0.1", port) as third:
                await third.send(head("GET / HTTP/1.1", "Host: a"))
                assert await status_line(first) == b"HTTP/1.1 400"
                assert third.take_arrived() == b""
                second.close()
                assert (await soon(third.receive()))[:12] == b"HTTP/1.1 400"


def test_a_proxy_that_has_not_been_started_has_no_services() -> None:
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = Proxy(local_config()).services


async def test_without_an_admin_listener_nothing_is_counted() -> None:
    async with Proxy(local_config()) as proxy:
        with pytest.raises(RuntimeError, match="nothing is counted"):
            proxy.snapshot()

"""Draining: requests finish, idle connections are closed, tunnels get some time (section 8)."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable

import pytest

from cmux_proxy import Proxy
from cmux_proxy.server.drain import IN_FLIGHT_TIME
from tests.helpers.proxies import local_config, proxy_process
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import MS, later, soon
from tests.helpers.wire import Wire, WireListener

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
OK_CLOSE = head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok"
NEVER = 3600.0


def begin_drain(proxy: Proxy, timeout: float | None = NEVER) -> "asyncio.Task[None]":
    """Start a drain in the background."""
    return asyncio.get_running_loop().create_task(proxy.drain(timeout))


async def draining(on: Stage, timeout: float | None = NEVER) -> "asyncio.Task[None]":
    """Start a drain; return after it has closed a new connection, so that it refuses requests."""
    new = await on.client()
    await on.serves()
    drain = begin_drain(on.proxy, timeout)
    await new.gets_end()
    return drain


async def test_a_new_connection_that_stays_silent_is_closed_and_the_drain_ends() -> None:
    async with stage() as on:
        await soon(await draining(on))
        with pytest.raises(ConnectionRefusedError):
            await on.client()


async def long_idle(on: Stage) -> Peer:
    """Return a connection that has been idle for some time after a request."""
    # Private: the proxy's clock is advanced, because the test would have to wait otherwise.
    ticker = on.proxy.services.ticker
    ticker.now -= 10
    client, upstream = await on.pair()
    await upstream.says(OK)
    await client.gets(OK)
    ticker.walk(asyncio.get_running_loop().time())
    return client


async def test_an_idle_connection_is_closed_at_once() -> None:
    # Its upstream connection has been idle for longer than the default timeout.
    async with stage(local_config()) as on:
        client = await long_idle(on)
        other, upstream = await on.pair()
        drain = begin_drain(on.proxy)
        await client.gets_end()
        # Private: no response shows that requests are not refused yet.
        assert not on.proxy.services.registry.is_refusing
        await upstream.says(OK)
        await other.gets(OK_CLOSE)
        await soon(drain)


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "used"])
async def test_the_next_request_is_served_after_idle_connections_are_closed(is_new: bool) -> None:
    async with stage(local_config()) as on:
        old = await long_idle(on)
        client, upstream = (await on.client(), None) if is_new else await on.pair()
        if upstream is not None:
            await upstream.says(OK)
            await client.gets(OK)
        await on.serves()
        drain = begin_drain(on.proxy)
        await old.gets_end()
        await client.says(get("/next"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await client.gets(OK_CLOSE)
        await client.gets_end()
        await soon(drain)


async def test_idle_upstream_connections_are_closed_at_once() -> None:
    async with stage() as on:
        busy, waiting = await on.pair()
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        drain = begin_drain(on.proxy)
        await client.gets_end()
        await upstream.gets_end()
        await waiting.says(OK)
        await busy.gets(OK_CLOSE)
        await soon(drain)


async def test_a_pending_request_gets_a_response_with_close() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        drain = await draining(on)
        await upstream.says(OK)
        await client.gets(OK_CLOSE)
        await client.gets_end()
        await upstream.gets_end()
        await soon(drain)


async def test_a_request_with_a_partial_body_may_finish() -> None:
    async with stage() as on:
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4") + b"bo"
        client, upstream = await on.pair(request)
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", "Content-Length: 4") + b"bo")
        drain = await draining(on)
        await client.says(b"dy")
        await upstream.gets(b"dy")
        await upstream.says(OK)
        await client.gets(OK_CLOSE)
        await client.gets_end()
        await soon(drain)


async def test_a_partial_response_may_finish_and_its_connection_closes_then() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(OK[:-1])
        await client.gets(OK[:-1])
        drain = await draining(on)
        await upstream.says(OK[-1:])
        await client.gets(OK[-1:])
        await client.gets_end()
        await soon(drain)


async def test_a_partial_head_gets_a_503() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(b"GET / HTTP/1.1\r\n")
        await on.serves()
        drain = await draining(on)
        await client.says(head("Host: a", ROUTE))
        text = await client.gets_error(
            503, "proxy_internal_response", "Retry-After: 1", closes=True
        )
        assert text == "the proxy is shutting down; try again soon"
        client.closes()
        await soon(drain)


async def test_a_pipelined_request_is_not_served() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/1") + get("/2"))
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        drain = await draining(on)
        await upstream.says(OK)
        await client.gets(OK_CLOSE)
        await client.gets_end()
        client.closes()
        await soon(drain)
        await upstream.gets_end()


async def test_a_request_in_the_backlog_is_served() -> None:
    async with stage() as on:
        await on.serves()
        # The event loop does not run between these and the drain, so the proxy has read nothing.
        address = on.proxy.addresses[0]
        sock = socket.create_connection((address.host, address.port))
        sock.sendall(get().replace(b"<port>", b"%d" % on.listener.port))
        drain = begin_drain(on.proxy)
        with Wire(sock) as wire, await soon(on.listener.accept()) as upstream:
            await soon(upstream.receive())
            await upstream.send(OK)
            assert await soon(wire.receive_all()) == OK_CLOSE
        await soon(drain)


async def test_a_request_in_flight_on_a_reused_connection_is_served() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        # The event loop does not run before the drain, so the proxy has not read the request.
        await client.says(get())
        drain = begin_drain(on.proxy)
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await client.gets(OK_CLOSE)
        await client.gets_end()
        await soon(drain)


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "used"])
async def test_a_request_that_arrives_while_the_loop_is_busy_is_served(is_new: bool) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        address = on.proxy.addresses[0]
        sock = socket.create_connection((address.host, address.port)) if is_new else None
        drain = begin_drain(on.proxy)
        await send_while_busy((sock or client.wire.sock).send, request_for(on), 2 * IN_FLIGHT_TIME)
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        if sock is None:
            await client.gets(OK_CLOSE)
        else:
            with Wire(sock) as wire:
                assert await soon(wire.receive_all()) == OK_CLOSE
        await soon(drain)


async def send_while_busy(send: Callable[[bytes], int], data: bytes, seconds: float) -> None:
    """Send data in a callback of the loop that then blocks it for some seconds."""
    loop = asyncio.get_running_loop()
    has_ended = asyncio.Event()
    reader, writer = socket.socketpair()

    def block() -> None:
        loop.remove_reader(reader)
        send(data)
        time.sleep(seconds)
        has_ended.set()

    with reader, writer:
        loop.add_reader(reader, block)
        writer.send(b"x")
        await has_ended.wait()


def request_for(on: Stage) -> bytes:
    return get().replace(b"<port>", b"%d" % on.listener.port)


@pytest.mark.parametrize("method", ["connect", "upgrade"])
async def test_a_tunnel_may_continue_and_end_during_the_drain(method: str) -> None:
    async with stage() as on:
        client, upstream = await (on.tunnel() if method == "connect" else on.websocket())
        drain = await draining(on)
        await client.says(b"still")
        await upstream.gets(b"still")
        await upstream.says(b"here")
        await client.gets(b"here")
        client.ends()
        upstream.ends()
        await client.gets_end()
        await upstream.gets_end()
        await soon(drain)


@pytest.mark.parametrize("method", ["connect", "upgrade"])
async def test_a_tunnel_that_outlives_the_drain_timeout_is_closed(method: str) -> None:
    async with stage() as on:
        client, upstream = await (on.tunnel() if method == "connect" else on.websocket())
        await soon(begin_drain(on.proxy, 10 * MS))
        assert await client.gets_cut() == b""
        assert await upstream.gets_cut() == b""


async def test_an_exchange_that_outlives_the_drain_timeout_is_closed() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await soon(begin_drain(on.proxy, 10 * MS))
        assert await client.gets_cut() == b""
        assert await upstream.gets_cut() == b""


async def test_a_refused_client_that_has_ended_does_not_delay_the_drain() -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        await client.says(get("/", "Connection: close"))
        client.ends()
        await client.gets_error(502, "connection_refused", closes=True)
        client.closes()
        await soon(begin_drain(on.proxy))


async def test_a_proxy_without_connections_may_be_drained() -> None:
    async with stage() as on:
        await soon(begin_drain(on.proxy))


class _World:
    """Clients and upstreams of a proxy process."""

    def __init__(self, port: int) -> None:
        self.listener = WireListener()
        self.port = port
        self.wires: list[Wire] = []

    async def request(self, *lines: str) -> tuple[Wire, Wire]:
        """Return a client that has sent a request, and its upstream."""
        client = await Wire.to("127.0.0.1", self.port)
        self.wires.append(client)
        route = f"X-Cmux-Port-Internal: {self.listener.port}"
        await client.send(head(*lines, "Host: a", route))
        upstream = await soon(self.listener.accept())
        self.wires.append(upstream)
        return client, upstream

    def __enter__(self) -> "_World":
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        for wire in self.wires:
            wire.close()


@pytest.mark.hosting
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_process_and_it_exits_with_0(
    loop_name: str, number: signal.Signals
) -> None:
    async with proxy_process(loop_name) as proxy:
        with _World(proxy.port) as world:
            client, upstream = await world.request("GET / HTTP/1.1")
            assert await soon(upstream.receive()) == head("GET / HTTP/1.1", "Host: a")
            idle = await Wire.to("127.0.0.1", proxy.port)
            world.wires.append(idle)
            proxy.signal(number)
            assert await soon(idle.receive()) == b""
            with pytest.raises(ConnectionRefusedError), socket.socket() as late:
                late.connect(("127.0.0.1", proxy.port))
            await upstream.send(OK)
            assert await soon(client.receive_all()) == OK_CLOSE
            await proxy.drains()


@pytest.mark.hosting
async def test_a_tunnel_gets_the_drain_timeout_and_the_process_exits_with_0(
    loop_name: str,
) -> None:
    async with proxy_process(loop_name, "--drain-timeout", f"{100 * MS}") as proxy:
        with _World(proxy.port) as world:
            client, upstream = await world.request("CONNECT a:1 HTTP/1.1")
            await soon(client.receive())
            proxy.signal()
            await upstream.send(b"still here")
            assert await soon(client.receive()) == b"still here"
            status, errors = await proxy.ended()
            assert status == 0
            assert "INFO: 0 clients and 1 tunnels were still open after" in errors


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(signal.SIGTERM, signal.SIGTERM, id="TERM TERM"),
        pytest.param(signal.SIGINT, signal.SIGINT, id="INT INT"),
        pytest.param(signal.SIGTERM, signal.SIGINT, id="TERM INT"),
    ],
)
async def test_a_second_signal_ends_the_process_at_once(
    loop_name: str, first: signal.Signals, second: signal.Signals
) -> None:
    async with proxy_process(loop_name, "--drain-timeout", "3600") as proxy:
        with _World(proxy.port) as world:
            _client, upstream = await world.request("GET / HTTP/1.1")
            idle = await Wire.to("127.0.0.1", proxy.port)
            world.wires.append(idle)
            proxy.signal(first)
            assert await soon(idle.receive()) == b""
            proxy.signal(second)
            await proxy.drains(128 + second)
            assert await later(upstream.receive()) != b""


async def test_a_process_without_clients_exits_with_0(loop_name: str) -> None:
    async with proxy_process(loop_name) as proxy:
        await proxy.stop()

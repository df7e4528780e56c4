"""Clients that disconnect while a service hangs are noticed, even after their FIN (contract, 8).

The event loop does not read such a client, so the ticker starts a check every few seconds. These
tests start the check themselves, except the last one, which runs a process.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from cmux_proxy import Timeouts
from cmux_proxy.relay.downstream import Downstream
from tests.helpers.loops import descriptors
from tests.helpers.proxies import ProxyProcess, is_served, local_config, proxy_process
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import LATER, SOON, later
from tests.helpers.wire import Wire, WireListener, deaf_port

OK: Final = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
# More bytes than a client may pipeline before its reading pauses.
EARLY: Final = get("/early") * 100
LARGE: Final = bytes(64 * 1024 * 1024)
SMALL: Final = 64 * 1024

disconnections = pytest.mark.parametrize(
    "disconnect", [Peer.closes, Peer.resets], ids=["closes", "resets"]
)
tunnel_kinds = pytest.mark.parametrize(
    "open_tunnel", [Stage.tunnel, Stage.websocket], ids=["CONNECT", "101"]
)


def check_disconnects(on: Stage) -> None:
    """Check for peers that have disconnected, as the ticker does every few seconds."""
    on.proxy.services.disconnects.check()


async def expect_no_connections(on: Stage) -> None:
    """Fail unless the proxy closes all client connections."""
    registry = on.proxy.services.registry
    await on.serves()
    async with asyncio.timeout(SOON):
        while len(registry):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def half_closed(on: Stage) -> tuple[Peer, Peer]:
    """Return a client that has sent a request and half-closed, and the service that has both."""
    client, upstream = await on.pair()
    client.ends()
    await upstream.gets_end()
    return client, upstream


async def fill(on: Stage, client: Peer) -> None:
    """Send until all buffers are full."""
    idle = 0
    while idle < 10:
        try:
            client.wire.sock.send(LARGE)
        except BlockingIOError:
            idle += 1
        await on.serves()


# Clients


@disconnections
async def test_a_half_closed_client_that_disconnects_closes_the_upstream_connection(
    disconnect: Callable[[Peer], None],
) -> None:
    async with stage() as on:
        client, upstream = await half_closed(on)
        disconnect(client)
        check_disconnects(on)
        await expect_no_connections(on)
        # The upstream has received the end before, so only a write shows the close.
        await upstream.says_until_cut(b"x")


async def test_a_half_closed_client_that_waits_gets_a_late_response() -> None:
    async with stage() as on:
        client, upstream = await half_closed(on)
        for _ in range(20):
            check_disconnects(on)
        await on.serves()
        await upstream.says(OK)
        await client.gets(OK)
        await client.gets_end()


@disconnections
async def test_a_client_with_many_pipelined_bytes_that_disconnects_closes_the_upstream_connection(
    disconnect: Callable[[Peer], None],
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await client.says(EARLY)
        await on.serves()
        disconnect(client)
        check_disconnects(on)
        assert await upstream.gets_cut() == b""
        await expect_no_connections(on)


async def test_a_half_closed_client_with_many_pipelined_requests_is_served() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await client.says(EARLY)
        client.ends()
        for _ in range(20):
            await on.serves()
            check_disconnects(on)
        for _ in range(EARLY.count(b"GET ")):
            await upstream.says(OK)
            await client.gets(OK)
            await upstream.gets(head("GET /early HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await client.gets(OK)
        await client.gets_end()


@disconnections
async def test_a_client_that_disconnects_within_an_unread_upload_closes_the_upstream_connection(
    disconnect: Callable[[Peer], None],
) -> None:
    async with stage(buffer=SMALL) as on:
        client, upstream = await on.post(f"Content-Length: {len(LARGE)}")
        await fill(on, client)
        disconnect(client)
        check_disconnects(on)
        await expect_no_connections(on)
        await upstream.gets_cut()


@disconnections
@pytest.mark.parametrize("start", ["POST /", "CONNECT a:1"], ids=["POST", "CONNECT"])
async def test_a_client_that_disconnects_within_a_large_upload_during_the_dial_is_noticed(
    start: str, disconnect: Callable[[Peer], None]
) -> None:
    config = local_config(timeouts=Timeouts(connect=3600))
    async with deaf_port() as port, stage(config) as on:
        client = await on.client()
        fields = [] if start.startswith("CONNECT") else [f"Content-Length: {len(LARGE)}"]
        request = head(f"{start} HTTP/1.1", "Host: a", ROUTE, *fields)
        await client.says(request.replace(b"<port>", b"%d" % port))
        await fill(on, client)
        disconnect(client)
        check_disconnects(on)
        await expect_no_connections(on)


@disconnections
async def test_a_client_of_a_unix_socket_that_disconnects_is_noticed(
    tmp_path: Path, disconnect: Callable[[Peer], None]
) -> None:
    async with stage(local_config(listen=[f"unix:{tmp_path}/s"])) as on:
        client, upstream = await half_closed(on)
        early, other = await on.pair()
        await early.says(EARLY)
        check_disconnects(on)
        await on.serves()
        await upstream.says(OK)
        await client.gets(OK)
        await client.gets_end()
        client, upstream = await half_closed(on)
        for peer in (client, early):
            disconnect(peer)
        check_disconnects(on)
        assert await other.gets_cut() == b""
        await expect_no_connections(on)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("wildcard", [False, True], ids=["one family", "both families"])
async def test_a_client_that_disconnects_is_noticed_over_ipv4_and_ipv6(
    host: str, wildcard: bool
) -> None:
    listen = "[::]:0" if wildcard else f"[{host}]:0" if ":" in host else f"{host}:0"
    async with stage(local_config(listen=[listen])) as on:
        with await Wire.to(host, on.address.port) as wire:
            await wire.send(get().replace(b"<port>", b"%d" % on.port))
            wire.end()
            upstream = await on.upstream()
            await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
            await upstream.gets_end()
        check_disconnects(on)
        await upstream.says_until_cut(b"x")


async def test_a_half_closed_client_gets_keep_alive_probes_sooner() -> None:
    async with stage() as on:
        client, _upstream = await half_closed(on)
        [connection] = on.proxy.services.registry.clients
        assert isinstance(connection, Downstream)
        sock = connection.transport.get_extra_info("socket")
        idle = (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        before = sock.getsockopt(*idle)
        check_disconnects(on)
        assert sock.getsockopt(*idle) < before
        client.closes()


# Tunnels


@tunnel_kinds
@disconnections
@pytest.mark.parametrize("up", [True, False], ids=["client", "upstream"])
async def test_a_half_closed_side_of_a_tunnel_that_disconnects_closes_the_other(
    open_tunnel: Callable[[Stage], "asyncio.Future[tuple[Peer, Peer]]"],
    disconnect: Callable[[Peer], None],
    up: bool,
) -> None:
    async with stage() as on:
        client, upstream = await open_tunnel(on)
        side, other = (client, upstream) if up else (upstream, client)
        side.ends()
        await other.gets_end()
        check_disconnects(on)
        await other.says(b"still here")
        await side.gets(b"still here")
        disconnect(side)
        check_disconnects(on)
        await expect_no_connections(on)
        await other.says_until_cut(b"x")


@pytest.mark.parametrize("up", [True, False], ids=["client", "upstream"])
async def test_bytes_that_a_side_of_a_tunnel_sent_before_its_close_still_arrive(up: bool) -> None:
    async with stage(buffer=SMALL) as on:
        client, upstream = await on.tunnel()
        side, other = (client, upstream) if up else (upstream, client)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1024 * 1024:
                sent += side.wire.sock.send(bytes(4096))
        await on.serves()
        side.closes()
        got = 0
        while got < sent:
            # The proxy checks for disconnects between the reads.
            check_disconnects(on)
            got += len(await later(other.wire.receive()))
        assert got == sent
        await other.gets_end()
        check_disconnects(on)
        other.closes()
        await expect_no_connections(on)


@disconnections
async def test_unread_bytes_of_a_side_that_has_disconnected_are_dropped_after_a_minute(
    disconnect: Callable[[Peer], None],
) -> None:
    async with stage(buffer=SMALL) as on:
        client, upstream = await on.tunnel()
        await fill(on, client)
        disconnect(client)
        ticker = on.proxy.services.ticker
        for _ in range(20):
            check_disconnects(on)
        started = ticker.now
        ticker.walk(started + 59)
        await on.serves()
        assert len(on.proxy.services.registry.tunnels) == 1
        # The upstream's kernel may have taken more bytes, which counts as progress.
        for minutes in range(2, 10):
            ticker.walk(started + 60 * minutes)
        await expect_no_connections(on)
        await upstream.gets_cut()


# A process


async def abandon(proxy: ProxyProcess, port: int, early: bytes) -> None:
    """Send a request and `early` bytes after it, and disconnect."""
    with await Wire.to("127.0.0.1", proxy.port) as wire:
        await wire.send(get().replace(b"<port>", b"%d" % port) + early)
        wire.end()


def sockets(proxy: ProxyProcess) -> int:
    """Return the number of sockets of a proxy."""
    return sum("socket:" in name for name in descriptors(proxy.pid).values())


@pytest.mark.parametrize("early", [b"", EARLY], ids=["half-closed", "with early bytes"])
async def test_disconnected_clients_of_a_hung_service_do_not_keep_descriptors(
    loop_name: str, early: bytes
) -> None:
    with contextlib.closing(WireListener()) as hung:
        async with proxy_process(loop_name, descriptor_limit=64) as proxy:
            before = sockets(proxy)
            await asyncio.gather(*(abandon(proxy, hung.port, early) for _ in range(60)))
            with await Wire.to("127.0.0.1", proxy.port) as wire:
                await is_served(wire)
            async with asyncio.timeout(LATER):
                while sockets(proxy) != before:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await proxy.stop()

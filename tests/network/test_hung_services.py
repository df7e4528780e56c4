"""Clients that leave while a service hangs are noticed, also behind their FIN (contract, 8).

The event loop does not read such a client, so the ticker has it looked at. These tests look
themselves, but for the one that has a whole process run out of descriptors.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from cmux_proxy import Timeouts
from cmux_proxy.net.timers import Unread
from tests.helpers.loops import descriptors
from tests.helpers.proxies import ProxyProcess, is_served, local_config, proxy_process
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import LATER, later, soon
from tests.helpers.wire import Wire, WireListener, deaf_port

OK: Final = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
# More than is kept of a client that is still read.
EARLY: Final = get("/early") * 100
MUCH: Final = bytes(64 * 1024 * 1024)
SMALL: Final = 64 * 1024

leaving = pytest.mark.parametrize("leave", [Peer.closes, Peer.resets], ids=["closes", "resets"])
tunnels = pytest.mark.parametrize("kind", [Stage.tunnel, Stage.websocket], ids=["CONNECT", "101"])


def look(on: Stage) -> None:
    """Look for peers that have left, as the ticker does every few seconds."""
    assert on.proxy._services is not None
    on.proxy._services.disconnects.check()


async def nobody_is_left(on: Stage) -> None:
    """Fail unless the proxy has let go of all connections but its listeners."""
    context = on.proxy._services
    assert context is not None
    await on.serves()
    await soon(on.proxy._wait_until_empty(context))


async def half_closed(on: Stage) -> tuple[Peer, Peer]:
    """Return a client that has asked and ended its half, and the service that knows both."""
    client, upstream = await on.pair()
    client.ends()
    await upstream.gets_end()
    return client, upstream


async def fill(on: Stage, client: Peer) -> None:
    """Send until nobody takes any more."""
    idle = 0
    while idle < 10:
        try:
            client.wire.sock.send(MUCH)
        except BlockingIOError:
            idle += 1
        await on.serves()


# Clients of requests


@leaving
async def test_a_client_that_leaves_behind_its_end_ends_the_upstream_connection(
    leave: Callable[[Peer], None],
) -> None:
    async with stage() as on:
        client, upstream = await half_closed(on)
        leave(client)
        look(on)
        await nobody_is_left(on)
        # It has had its end already, so that nothing but a write tells.
        await upstream.says_until_cut(b"x")


async def test_a_client_that_has_ended_and_waits_gets_its_answer_however_late() -> None:
    async with stage() as on:
        client, upstream = await half_closed(on)
        for _ in range(20):
            look(on)
        await on.serves()
        await upstream.says(OK)
        await client.gets(OK)
        await client.gets_end()


@leaving
async def test_a_client_that_leaves_behind_many_early_bytes_ends_the_upstream_connection(
    leave: Callable[[Peer], None],
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await client.says(EARLY)
        await on.serves()
        leave(client)
        look(on)
        assert await upstream.gets_cut() == b""
        await nobody_is_left(on)


async def test_a_client_that_stays_behind_many_early_bytes_is_served() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await client.says(EARLY)
        client.ends()
        for _ in range(20):
            await on.serves()
            look(on)
        for _ in range(EARLY.count(b"GET ")):
            await upstream.says(OK)
            await client.gets(OK)
            await upstream.gets(head("GET /early HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await client.gets(OK)
        await client.gets_end()


@leaving
async def test_a_client_that_leaves_amid_an_upload_nobody_takes_ends_the_upstream_connection(
    leave: Callable[[Peer], None],
) -> None:
    async with stage(buffer=SMALL) as on:
        client, upstream = await on.post(f"Content-Length: {len(MUCH)}")
        await fill(on, client)
        leave(client)
        look(on)
        await nobody_is_left(on)
        await upstream.gets_cut()


@leaving
@pytest.mark.parametrize("start", ["POST /", "CONNECT a:1"], ids=["POST", "CONNECT"])
async def test_a_client_that_leaves_with_much_sent_while_its_upstream_is_dialled_is_forgotten(
    start: str, leave: Callable[[Peer], None]
) -> None:
    config = local_config(timeouts=Timeouts(connect=3600))
    async with deaf_port() as port, stage(config) as on:
        client = await on.client()
        fields = [] if start.startswith("CONNECT") else [f"Content-Length: {len(MUCH)}"]
        request = head(f"{start} HTTP/1.1", "Host: a", ROUTE, *fields)
        await client.says(request.replace(b"<port>", b"%d" % port))
        await fill(on, client)
        leave(client)
        look(on)
        await nobody_is_left(on)


@leaving
async def test_a_client_of_a_unix_socket_that_leaves_is_noticed_too(
    tmp_path: Path, leave: Callable[[Peer], None]
) -> None:
    async with stage(local_config(listen=[f"unix:{tmp_path}/s"])) as on:
        client, upstream = await half_closed(on)
        early, other = await on.pair()
        await early.says(EARLY)
        look(on)
        await on.serves()
        await upstream.says(OK)
        await client.gets(OK)
        await client.gets_end()
        client, upstream = await half_closed(on)
        for peer in (client, early):
            leave(peer)
        look(on)
        assert await other.gets_cut() == b""
        await nobody_is_left(on)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("wildcard", [False, True], ids=["one family", "both families"])
async def test_a_client_that_leaves_is_noticed_over_either_family(
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
        look(on)
        await upstream.says_until_cut(b"x")


async def test_the_peer_of_a_client_that_has_ended_is_asked_more_often() -> None:
    async with stage() as on:
        client, _upstream = await half_closed(on)
        [connection] = on.proxy._services.registry.clients  # type: ignore[union-attr]
        assert isinstance(connection, Unread)
        sock = connection.transport.get_extra_info("socket")
        idle = (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        before = sock.getsockopt(*idle)
        look(on)
        assert sock.getsockopt(*idle) < before
        client.closes()


# Tunnels


@tunnels
@leaving
@pytest.mark.parametrize("up", [True, False], ids=["client", "upstream"])
async def test_a_side_of_a_tunnel_that_leaves_behind_its_end_ends_the_other(
    kind: Callable[[Stage], "asyncio.Future[tuple[Peer, Peer]]"],
    leave: Callable[[Peer], None],
    up: bool,
) -> None:
    async with stage() as on:
        client, upstream = await kind(on)
        one, other = (client, upstream) if up else (upstream, client)
        one.ends()
        await other.gets_end()
        look(on)
        await other.says(b"still here")
        await one.gets(b"still here")
        leave(one)
        look(on)
        await nobody_is_left(on)
        await other.says_until_cut(b"x")


@pytest.mark.parametrize("up", [True, False], ids=["client", "upstream"])
async def test_what_a_side_of_a_tunnel_sent_before_it_left_still_arrives(up: bool) -> None:
    async with stage(buffer=SMALL) as on:
        client, upstream = await on.tunnel()
        one, other = (client, upstream) if up else (upstream, client)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1024 * 1024:
                sent += one.wire.sock.send(bytes(4096))
        await on.serves()
        one.closes()
        got = 0
        while got < sent:
            # As slowly as may be, and the proxy looks each time.
            look(on)
            got += len(await later(other.wire.receive()))
        assert got == sent
        await other.gets_end()
        look(on)
        other.closes()
        await nobody_is_left(on)


@leaving
async def test_what_nobody_takes_of_a_side_that_has_left_is_given_up(
    leave: Callable[[Peer], None],
) -> None:
    async with stage(buffer=SMALL) as on:
        client, upstream = await on.tunnel()
        await fill(on, client)
        leave(client)
        ticker = on.proxy._services.ticker  # type: ignore[union-attr]
        for _ in range(20):
            look(on)
        begun = ticker.now
        ticker.walk(begun + 59)
        await on.serves()
        assert len(on.proxy._services.registry.tunnels) == 1  # type: ignore[union-attr]
        # The upstream's kernel may have taken some more meanwhile, which is progress.
        for minutes in range(2, 10):
            ticker.walk(begun + 60 * minutes)
        await nobody_is_left(on)
        await upstream.gets_cut()


# All of it


async def leave_behind(proxy: ProxyProcess, port: int, early: bytes) -> None:
    """Ask, and leave; what lies behind the request is not read."""
    with await Wire.to("127.0.0.1", proxy.port) as wire:
        await wire.send(get().replace(b"<port>", b"%d" % port) + early)
        wire.end()


def sockets(proxy: ProxyProcess) -> int:
    """Return how many sockets a proxy has."""
    return sum("socket:" in name for name in descriptors(proxy.pid).values())


@pytest.mark.parametrize("early", [b"", EARLY], ids=["half-closed", "with early bytes"])
async def test_a_service_that_hangs_does_not_hold_the_others_up_for_ever(
    loop_name: str, early: bytes
) -> None:
    with contextlib.closing(WireListener()) as hung:
        async with proxy_process(loop_name, descriptor_limit=64) as proxy:
            before = sockets(proxy)
            await asyncio.gather(*(leave_behind(proxy, hung.port, early) for _ in range(60)))
            with await Wire.to("127.0.0.1", proxy.port) as wire:
                await is_served(wire)
            async with asyncio.timeout(LATER):
                while sockets(proxy) != before:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await proxy.stop()

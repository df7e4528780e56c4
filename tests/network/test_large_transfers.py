"""Large transfers, which the kernel moves: whole, ended, reset and paced like all others."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import pytest

from cmux_proxy.net.splice import MAX_MOVE, SplicePipe
from cmux_proxy.relay.tunnel import TunnelSide
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import later
from tests.helpers.wire import Wire

# No read of these begins or ends on a round number, and no part of them is like another.
DATA: Final = b"".join(b"%08d" % number for number in range(2_500_001))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="splice is Linux's")
either_way = pytest.mark.parametrize("up", [True, False], ids=["up", "down"])


def fill(sock: socket.socket) -> int:
    """Send until there is no room; return how many bytes that were."""
    total = 0
    try:
        while True:
            total += sock.send(bytes(65536))
    except BlockingIOError:
        return total


class Counter:
    """Counts what the proxy's conduit has moved and handed back."""

    def __init__(self, pipe: SplicePipe) -> None:
        self.moved = 0
        self.most_handed_back = 0
        self._move = pipe.move
        pipe.move = self  # type: ignore[method-assign]

    def __call__(self, source: int, sink: int, max_bytes: int) -> tuple[int, bytes]:
        """Move, and count."""
        taken, rest = self._move(source, sink, max_bytes)
        self.moved += taken - len(rest)
        self.most_handed_back = max(self.most_handed_back, len(rest))
        assert taken <= MAX_MOVE
        return taken, rest


@asynccontextmanager
async def counted() -> AsyncIterator[tuple[Stage, Counter]]:
    """Return a stage whose large transfers are counted."""
    async with stage() as on:
        services = on.proxy._services
        assert services is not None
        yield on, Counter(services.splice_pipe)


async def passes(one: Peer, other: Peer, data: bytes = DATA) -> None:
    """Fail unless data comes through whole."""
    loop = asyncio.get_running_loop()
    sending = loop.create_task(one.wire.send(data))
    got = bytearray()
    while len(got) < len(data):
        got += await later(other.wire.receive(min(1 << 20, len(data) - len(got))))
    await sending
    assert got == data


async def tunnel(on: Stage, up: bool) -> tuple[Peer, Peer]:
    """Return both ends of a tunnel, the one that sends first."""
    client, upstream = await on.tunnel()
    return (client, upstream) if up else (upstream, client)


@either_way
async def test_much_goes_through_a_tunnel_and_small_messages_before_and_after(up: bool) -> None:
    async with counted() as (on, counter):
        one, other = await tunnel(on, up)
        for _ in range(2):
            await one.says(b"ping")
            await other.gets(b"ping")
            await other.says(b"pong")
            await one.gets(b"pong")
            await passes(one, other)
        assert counter.moved
        await one.says(b"ping")
        await other.gets(b"ping")
        services = on.proxy._services
        assert services is not None
        [only] = services.registry.tunnels
        client = only._client.transport  # type: ignore[attr-defined]
        upstream = only._upstream.transport  # type: ignore[attr-defined]
        assert isinstance((client if up else upstream).get_protocol(), TunnelSide)


async def test_what_is_sent_to_this_machine_is_not_paced() -> None:
    async with counted() as (on, counter):
        one, other = await tunnel(on, True)
        await flood(one, other, counter)
        services = on.proxy._services
        assert services is not None
        [only] = services.registry.tunnels
        sock = only._upstream.transport.get_extra_info("socket")  # type: ignore[attr-defined]
        name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert name.rstrip(b"\0") == b"reno"
        other.ignores_more()


async def test_both_ways_at_once() -> None:
    async with counted() as (on, counter):
        one, other = await tunnel(on, True)
        await asyncio.gather(passes(one, other), passes(other, one, DATA[::-1]))
        assert counter.moved


@either_way
async def test_an_end_behind_much_is_passed_on_and_the_other_way_stays_open(up: bool) -> None:
    async with counted() as (on, counter):
        one, other = await tunnel(on, up)
        await passes(one, other)
        assert counter.moved
        one.ends()
        await other.gets_end()
        await passes(other, one)
        other.ends()
        await one.gets_end()


async def flood(one: Peer, other: Peer, counter: Counter) -> None:
    """Have one send, and the other read, until the kernel moves what is sent."""
    while not counter.moved:
        await passes(one, other)
    fill(one.wire.sock)


async def gets_cut_off(peer: Peer) -> BaseException | None:
    """Read until nothing more comes; return what ended it."""
    try:
        while await later(peer.wire.receive(1 << 20)):
            pass
    except ConnectionResetError as error:
        return error
    return None


@either_way
async def test_a_reset_amid_much_is_a_reset(up: bool) -> None:
    async with counted() as (on, counter):
        one, other = await tunnel(on, up)
        await flood(one, other, counter)
        one.resets()
        assert await gets_cut_off(other) is not None


@either_way
async def test_a_reader_that_resets_amid_much_resets_the_sender(up: bool) -> None:
    async with counted() as (on, counter):
        one, other = await tunnel(on, up)
        await flood(one, other, counter)
        other.resets()
        assert await gets_cut_off(one) is not None


@either_way
async def test_a_reader_that_stops_stops_the_sender_and_all_comes_in_the_end(up: bool) -> None:
    async with counted() as (on, counter):
        one, other = await tunnel(on, up)
        await flood(one, other, counter)
        more = await push(on, one.wire)
        while more > 0:
            more -= len(await later(other.wire.receive(1 << 20)))
        assert counter.most_handed_back <= MAX_MOVE
        # What `flood` has sent besides.
        other.ignores_more()


async def push(on: Stage, wire: Wire) -> int:
    """Send until the proxy takes nothing more, though it had its chance; return how much."""
    total = idle = 0
    while idle < 10:
        sent = fill(wire.sock)
        total += sent
        assert total < 256 * 1024 * 1024, "nobody stops the sender"
        await on.serves()
        idle = 0 if sent else idle + 1
    return total


async def test_a_long_response_is_moved_and_the_next_ones_come_by_the_same_connections() -> None:
    async with counted() as (on, counter):
        client, upstream = await on.pair()
        length = f"Content-Length: {len(DATA)}"
        for _ in range(3):
            await upstream.says(head("HTTP/1.1 200 OK", length))
            await client.gets(head("HTTP/1.1 200 OK", length))
            await passes(upstream, client)
            await client.says(get())
            await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        assert counter.moved


async def test_a_long_request_is_moved_and_what_is_behind_it_is_the_next_request() -> None:
    async with counted() as (on, counter):
        client = await on.client()
        length = f"Content-Length: {len(DATA)}"
        await client.says(head("POST / HTTP/1.1", "Host: a", ROUTE, length))
        upstream = await on.upstream()
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", length))
        behind = get("/next").replace(b"<port>", str(on.port).encode())
        sending = asyncio.get_running_loop().create_task(client.wire.send(DATA + behind))
        assert await later(upstream.gets_bytes(len(DATA))) == DATA
        await sending
        assert counter.moved
        for target in ("/", "/next"):
            if target != "/":
                await upstream.gets(head(f"GET {target} HTTP/1.1", "Host: a"))
            await upstream.says(head("HTTP/1.1 204 No Content"))
            await client.gets(head("HTTP/1.1 204 No Content"))


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_response_until_close_is_moved_where_it_leaves_as_it_came(version: str) -> None:
    async with counted() as (on, counter):
        client = await on.client()
        await client.says(get(version=version))
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.says(head("HTTP/1.1 200 OK"))
        await client.gets_head()
        if version == "1.0":
            await passes(upstream, client)
            upstream.closes()
            await client.gets_end()
        else:
            sending = asyncio.get_running_loop().create_task(upstream.wire.send(DATA))
            got = b""
            while len(got) < len(DATA):
                got += await later(client.wire.receive(1 << 20))
            client.ignores_more()
            await sending
        assert bool(counter.moved) == (version == "1.0")


async def test_an_upstream_that_is_reset_amid_a_long_response_breaks_it_off() -> None:
    async with counted() as (on, counter):
        client, upstream = await on.pair()
        length = f"Content-Length: {1 << 40}"
        await upstream.says(head("HTTP/1.1 200 OK", length))
        await client.gets_head()
        await flood(upstream, client, counter)
        upstream.resets()
        await gets_cut_off(client)
        await on.serves()


async def test_a_client_that_leaves_amid_a_long_response_takes_the_upstream_along() -> None:
    async with counted() as (on, counter):
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", f"Content-Length: {1 << 40}"))
        await client.gets_head()
        await flood(upstream, client, counter)
        client.resets()
        await gets_cut_off(upstream)
        await on.serves()


async def test_an_answer_amid_a_long_request_comes_through() -> None:
    async with counted() as (on, counter):
        client = await on.client()
        length = f"Content-Length: {1 << 40}"
        await client.says(head("POST / HTTP/1.1", "Host: a", ROUTE, length))
        upstream = await on.upstream()
        await upstream.gets_head()
        await flood(client, upstream, counter)
        await upstream.says(
            head("HTTP/1.1 413 Content Too Large", "Content-Length: 0", "Connection: close")
        )
        upstream.closes()
        await client.gets(
            head("HTTP/1.1 413 Content Too Large", "Content-Length: 0", "Connection: close")
        )
        client.closes()


async def test_the_pipe_is_closed_with_the_proxy() -> None:
    async with counted() as (on, counter):
        one, other = await tunnel(on, True)
        await flood(one, other, counter)
        pipe = cast(SplicePipe, on.proxy._services.splice_pipe)  # type: ignore[union-attr]
        assert pipe._ends is not None
        one.closes()
        other.closes()
        await on.proxy.close()
        assert pipe._ends is None

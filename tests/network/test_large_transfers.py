"""Large transfers, which are spliced: complete, half-closed, reset and paced like all others."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from cmux_proxy.net.splice import CountMoved, Pipe, Remaining
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay.tunnel import Tunnel
from cmux_proxy.relay.tunnel_side import TunnelSide
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import later
from tests.helpers.wire import Wire

# No two parts of it are equal, and its length is no multiple of a read.
DATA: Final = b"".join(b"%08d" % number for number in range(2_500_001))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="splice is Linux's")
MAX_HELD: Final = 256 * 1024
either_way = pytest.mark.parametrize("up", [True, False], ids=["up", "down"])


def fill(sock: socket.socket) -> int:
    """Send until the buffers are full; return the number of bytes."""
    total = 0
    try:
        while True:
            total += sock.send(bytes(65536))
    except BlockingIOError:
        return total


class Counter:
    """Stands before the pipe of a proxy, and counts the bytes that the kernel moves."""

    def __init__(self, pipe: Pipe) -> None:
        self.is_able = pipe.is_able
        self.limited_buffer = pipe.limited_buffer
        self.moved = 0
        self.sinks: list[Stream] = []
        self._pipe = pipe

    def start(
        self, source: Stream, sink: Stream, body: Remaining | None, count_moved: CountMoved
    ) -> None:
        """Start a transfer, and count its bytes."""

        def count(number: int) -> None:
            assert 0 <= number <= MAX_HELD
            self.moved += number
            count_moved(number)

        self.sinks.append(sink)
        self._pipe.start(source, sink, body, count)

    def is_open(self) -> bool:
        """Return whether the pipe exists."""
        return self._pipe.is_open()

    def close(self) -> None:
        """Close it."""
        self._pipe.close()


@asynccontextmanager
async def counted() -> AsyncIterator[tuple[Stage, Counter]]:
    """Start a stage whose spliced bytes are counted."""
    async with stage() as on:
        services = on.proxy.services
        counter = Counter(services.splice_pipe)
        services.splice_pipe = counter
        yield on, counter


async def expect_transfer(sender: Peer, receiver: Peer, data: bytes = DATA) -> None:
    """Fail unless the data arrives completely and unchanged."""
    loop = asyncio.get_running_loop()
    sending = loop.create_task(sender.wire.send(data))
    got = bytearray()
    while len(got) < len(data):
        got += await later(receiver.wire.receive(min(1 << 20, len(data) - len(got))))
    await sending
    assert got == data


async def tunnel(on: Stage, up: bool) -> tuple[Peer, Peer]:
    """Open a tunnel; return the side that sends and the side that receives."""
    client, upstream = await on.tunnel()
    return (client, upstream) if up else (upstream, client)


@either_way
async def test_large_transfers_alternate_with_small_messages_in_a_tunnel(up: bool) -> None:
    async with counted() as (on, counter):
        sender, receiver = await tunnel(on, up)
        for _ in range(2):
            await sender.says(b"ping")
            await receiver.gets(b"ping")
            await receiver.says(b"pong")
            await sender.gets(b"pong")
            await expect_transfer(sender, receiver)
        assert counter.moved
        await sender.says(b"ping")
        await receiver.gets(b"ping")
        services = on.proxy.services
        [opened] = services.registry.tunnels
        assert isinstance(opened, Tunnel)
        side = opened.client if up else opened.upstream
        assert isinstance(side.transport.get_protocol(), TunnelSide)


async def test_bytes_to_loopback_are_not_paced() -> None:
    async with counted() as (on, counter):
        sender, receiver = await tunnel(on, True)
        await flood(sender, receiver, counter)
        services = on.proxy.services
        [opened] = services.registry.tunnels
        assert isinstance(opened, Tunnel)
        sock = opened.upstream.transport.get_extra_info("socket")
        name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert name.rstrip(b"\0") == b"reno"
        receiver.ignores_more()


async def test_both_directions_at_once() -> None:
    async with counted() as (on, counter):
        sender, receiver = await tunnel(on, True)
        await asyncio.gather(
            expect_transfer(sender, receiver), expect_transfer(receiver, sender, DATA[::-1])
        )
        assert counter.moved


@either_way
async def test_a_half_close_after_a_large_transfer_is_passed_on(up: bool) -> None:
    async with counted() as (on, counter):
        sender, receiver = await tunnel(on, up)
        await expect_transfer(sender, receiver)
        assert counter.moved
        sender.ends()
        await receiver.gets_end()
        await expect_transfer(receiver, sender)
        receiver.ends()
        await sender.gets_end()


async def flood(sender: Peer, receiver: Peer, counter: Counter) -> None:
    """Transfer data until it is spliced, and then fill the buffers of the sender."""
    while not counter.moved:
        await expect_transfer(sender, receiver)
    fill(sender.wire.sock)


async def read_until_end(peer: Peer) -> BaseException | None:
    """Read until the end or a reset; return the error of a reset."""
    try:
        while await later(peer.wire.receive(1 << 20)):
            pass
    except ConnectionResetError as error:
        return error
    return None


@either_way
async def test_a_reset_of_the_sender_is_passed_on(up: bool) -> None:
    async with counted() as (on, counter):
        sender, receiver = await tunnel(on, up)
        await flood(sender, receiver, counter)
        sender.resets()
        assert await read_until_end(receiver) is not None


@either_way
async def test_a_reset_of_the_receiver_is_passed_on(up: bool) -> None:
    async with counted() as (on, counter):
        sender, receiver = await tunnel(on, up)
        await flood(sender, receiver, counter)
        receiver.resets()
        assert await read_until_end(sender) is not None


@either_way
async def test_a_receiver_that_stops_reading_stops_the_sender_and_loses_nothing(
    up: bool,
) -> None:
    async with counted() as (on, counter):
        sender, receiver = await tunnel(on, up)
        await flood(sender, receiver, counter)
        more = await push(on, sender.wire)
        assert all(sink.get_write_buffer_size() <= MAX_HELD for sink in counter.sinks)
        while more > 0:
            more -= len(await later(receiver.wire.receive(1 << 20)))
        # The bytes that `flood` has sent in addition.
        receiver.ignores_more()


async def push(on: Stage, wire: Wire) -> int:
    """Send until the proxy reads nothing more; return the number of bytes."""
    total = idle = 0
    while idle < 10:
        sent = fill(wire.sock)
        total += sent
        assert total < 256 * 1024 * 1024, "the sender is not stopped"
        await on.serves()
        idle = 0 if sent else idle + 1
    return total


async def test_long_responses_are_spliced_and_the_connections_are_reused() -> None:
    async with counted() as (on, counter):
        client, upstream = await on.pair()
        length = f"Content-Length: {len(DATA)}"
        for _ in range(3):
            await upstream.says(head("HTTP/1.1 200 OK", length))
            await client.gets(head("HTTP/1.1 200 OK", length))
            await expect_transfer(upstream, client)
            await client.says(get())
            await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        assert counter.moved


async def test_a_long_request_is_spliced_and_the_bytes_after_it_are_the_next_request() -> None:
    async with counted() as (on, counter):
        client = await on.client()
        length = f"Content-Length: {len(DATA)}"
        await client.says(head("POST / HTTP/1.1", "Host: a", ROUTE, length))
        upstream = await on.upstream()
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", length))
        next_request = get("/next").replace(b"<port>", str(on.port).encode())
        sending = asyncio.get_running_loop().create_task(client.wire.send(DATA + next_request))
        assert await later(upstream.gets_bytes(len(DATA))) == DATA
        await sending
        assert counter.moved
        for target in ("/", "/next"):
            if target != "/":
                await upstream.gets(head(f"GET {target} HTTP/1.1", "Host: a"))
            await upstream.says(head("HTTP/1.1 204 No Content"))
            await client.gets(head("HTTP/1.1 204 No Content"))


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_response_until_close_is_spliced_if_it_is_not_chunked(version: str) -> None:
    async with counted() as (on, counter):
        client = await on.client()
        await client.says(get(version=version))
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.says(head("HTTP/1.1 200 OK"))
        await client.gets_head()
        if version == "1.0":
            await expect_transfer(upstream, client)
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


async def test_a_reset_of_the_upstream_within_a_long_response_cuts_the_response() -> None:
    async with counted() as (on, counter):
        client, upstream = await on.pair()
        length = f"Content-Length: {1 << 40}"
        await upstream.says(head("HTTP/1.1 200 OK", length))
        await client.gets_head()
        await flood(upstream, client, counter)
        upstream.resets()
        await read_until_end(client)
        await on.serves()


async def test_a_reset_of_the_client_within_a_long_response_closes_the_upstream() -> None:
    async with counted() as (on, counter):
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", f"Content-Length: {1 << 40}"))
        await client.gets_head()
        await flood(upstream, client, counter)
        client.resets()
        await read_until_end(upstream)
        await on.serves()


async def test_a_response_within_a_long_request_is_forwarded() -> None:
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
        sender, receiver = await tunnel(on, True)
        await flood(sender, receiver, counter)
        assert counter.is_open()
        sender.closes()
        receiver.closes()
        await on.proxy.close()
        assert not counter.is_open()

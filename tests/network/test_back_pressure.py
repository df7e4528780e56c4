"""A side that does not read stops the other, and buffers stay small (contract, section 5).

Most bytes between two peers are in buffers of the kernel. tests/net/test_flow_control.py tests the
exact bound of the proxy's own buffers, without sockets.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from cmux_proxy import Timeouts
from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, UPGRADE, Peer, Stage, get, head, stage
from tests.helpers.timing import later
from tests.helpers.tunnel_frames import binary, offer, opened, request
from tests.helpers.wire import deaf_port

# What a sender that is not stopped would send, and what may fit into the kernel's buffers.
TOO_MUCH = 96 * 1024 * 1024
MAX_BUFFERED = 24 * 1024 * 1024
SMALL = 256 * 1024

# A sender counts as stopped after this many round trips through the proxy without progress.
_MAX_IDLE_ROUNDS = 25


async def send_until_stopped(on: Stage, peer: Peer, data: bytes) -> tuple[int, bytes]:
    """Send the data repeatedly until the sender is stopped.

    Return the number of bytes sent, and the bytes that are missing to a complete repetition.
    """
    total = 0
    idle_rounds = 0
    remaining = b""
    while idle_rounds < _MAX_IDLE_ROUNDS:
        remaining = remaining or data
        try:
            taken = peer.wire.sock.send(remaining)
        except BlockingIOError:
            taken = 0
        if taken:
            remaining = remaining[taken:]
            total += taken
            idle_rounds = 0
            assert total < TOO_MUCH, "the sender is not stopped"
        # The proxy has served another client since, so it could have read more.
        await on.serves()
        idle_rounds += not taken
    return total, remaining


async def respond(on: Stage, fields: str, version: str) -> tuple[Peer, Peer]:
    """Return an upstream that sends a response, and its client, which does not read it."""
    client = await on.client(SMALL)
    await client.says(get(version=version))
    upstream = await on.upstream()
    await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
    await upstream.says(head("HTTP/1.1 200 OK", *([fields] if fields else [])))
    await client.gets_head()
    return upstream, client


async def upload(on: Stage, fields: str) -> tuple[Peer, Peer]:
    """Return a client that sends a request, and its upstream, which does not read it."""
    client = await on.client(SMALL)
    await client.says(head("POST / HTTP/1.1", "Host: a", ROUTE, fields))
    upstream = await on.upstream()
    await upstream.gets_head()
    return client, upstream


async def tunnel(on: Stage, upgrade: bool, up: bool) -> tuple[Peer, Peer]:
    """Return the side of a tunnel that sends, and the side that does not read."""
    client = await on.client(SMALL)
    await client.says(UPGRADE if upgrade else head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE))
    upstream = await on.upstream()
    if upgrade:
        await upstream.gets_head()
        await upstream.says(head("HTTP/1.1 101 Go", "Connection: upgrade", "Upgrade: websocket"))
        await client.gets_head()
    else:
        await client.gets(ESTABLISHED)
    return (client, upstream) if up else (upstream, client)


async def websocket_tunnel(on: Stage, up: bool) -> tuple[Peer, Peer]:
    """Return the same of a tunnel inside a WebSocket."""
    client = await on.client(SMALL)
    await client.says(request("/.cmux/tcp/<port>", offer("binary")))
    upstream = await on.upstream()
    await client.gets(opened("binary"))
    return (client, upstream) if up else (upstream, client)


BYTES = bytes(range(256)) * 256
CHUNK = b"10000\r\n" + BYTES + b"\r\n"
LONG = f"Content-Length: {TOO_MUCH}"
CHUNKED = "Transfer-Encoding: chunked"

FLOWS: dict[str, tuple[Callable[[Stage], Awaitable[tuple[Peer, Peer]]], bytes]] = {
    "a response of known length": (lambda on: respond(on, LONG, "1.1"), BYTES),
    "a chunked response": (lambda on: respond(on, CHUNKED, "1.1"), CHUNK),
    "a response until close": (lambda on: respond(on, "", "1.1"), BYTES),
    "a chunked response to HTTP/1.0": (lambda on: respond(on, CHUNKED, "1.0"), CHUNK),
    "a request of known length": (lambda on: upload(on, LONG), BYTES),
    "a chunked request": (lambda on: upload(on, CHUNKED), CHUNK),
    "CONNECT, up": (lambda on: tunnel(on, False, True), BYTES),
    "CONNECT, down": (lambda on: tunnel(on, False, False), BYTES),
    "upgrade, up": (lambda on: tunnel(on, True, True), BYTES),
    "upgrade, down": (lambda on: tunnel(on, True, False), BYTES),
    "WebSocket, up": (lambda on: websocket_tunnel(on, True), binary(BYTES)),
    "WebSocket, down": (lambda on: websocket_tunnel(on, False), BYTES),
}


@pytest.mark.parametrize(("flow", "data"), FLOWS.values(), ids=FLOWS)
async def test_a_reader_that_stops_reading_stops_the_sender_and_loses_nothing(
    flow: Callable[[Stage], Awaitable[tuple[Peer, Peer]]], data: bytes
) -> None:
    async with stage(buffer=SMALL) as on:
        sender, reader = await flow(on)
        total, remaining = await send_until_stopped(on, sender, data)
        assert total < MAX_BUFFERED
        # When the reader reads again, the sender continues.
        goal = total + len(data) * 8
        sending = asyncio.get_running_loop().create_task(sender.wire.send(remaining + data * 16))
        while len(reader.wire.received) < goal:
            assert await later(reader.wire.receive())
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await sending
        reader.closes()
        sender.closes()


@pytest.mark.parametrize(("flow", "data"), FLOWS.values(), ids=FLOWS)
@pytest.mark.parametrize("order", ["sender first", "reader first"])
async def test_disconnects_of_both_sides_of_a_stopped_flow_leave_nothing_behind(
    order: str, flow: Callable[[Stage], Awaitable[tuple[Peer, Peer]]], data: bytes
) -> None:
    async with stage(buffer=SMALL) as on:
        sender, reader = await flow(on)
        await send_until_stopped(on, sender, data)
        # The sender is not read, so the proxy cannot know that it has closed.
        if order == "sender first":
            sender.closes()
            reader.resets()
        else:
            reader.resets()
            sender.closes()
        await on.serves()
        await on.proxy.drain()


async def test_a_client_that_reads_no_error_responses_is_stopped() -> None:
    async with stage() as on:
        client = await on.client(SMALL)
        request = head("GET / HTTP/1.1", "Host: a")
        total, _rest = await send_until_stopped(on, client, request * 1000)
        assert total < MAX_BUFFERED
        client.closes()


async def test_a_client_that_pipelines_while_its_first_request_waits_is_stopped() -> None:
    async with stage() as on:
        client = await on.client(SMALL)
        await client.says(get("/1"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        pipelined = get("/2").replace(b"<port>", b"%d" % on.port) * 1000
        total, _rest = await send_until_stopped(on, client, pipelined)
        assert total < MAX_BUFFERED
        client.closes()
        upstream.closes()


@pytest.mark.parametrize("method", ["CONNECT a:1", "POST /"])
async def test_a_client_that_sends_during_the_dial_is_stopped(method: str) -> None:
    config = local_config(timeouts=Timeouts(connect=3600))
    async with deaf_port() as port, stage(config) as on:
        client = await on.client(SMALL)
        fields = [] if method.startswith("CONNECT") else [LONG]
        request = head(f"{method} HTTP/1.1", "Host: a", ROUTE, *fields)
        await client.says(request.replace(b"<port>", b"%d" % port))
        total, _rest = await send_until_stopped(on, client, BYTES)
        assert total < MAX_BUFFERED
        client.closes()
        await on.proxy.close()


async def test_an_upload_that_starts_before_the_dial_arrives_completely() -> None:
    async with stage() as on:
        body = BYTES * 32
        client = await on.client()
        fields = ["Host: a", f"Content-Length: {len(body)}"]
        await client.says(head("POST / HTTP/1.1", ROUTE, *fields) + body[:100_000])
        upstream = await on.upstream()
        await upstream.gets(head("POST / HTTP/1.1", *fields))
        assert await upstream.gets_bytes(100_000) == body[:100_000]
        for at in range(100_000, len(body), 100_000):
            await client.says(body[at : at + 100_000])
            data = body[at : at + 100_000]
            assert await upstream.gets_bytes(len(data)) == data

"""The client's end of a tunnel inside a WebSocket, with our proxy and with servers of others."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from cmux_proxy.client import websocket_tunnel
from cmux_proxy.client.open_tunnel import Tunnel, TunnelError, open_tunnel
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tunnel_request import TunnelRequest
from cmux_proxy.websocket.opening import accept_of
from cmux_proxy.websocket.tunnel_frames import BINARY, CLOSE, PING, TEXT, close_payload, frame
from tests.helpers.script import Peer, head, stage
from tests.helpers.timing import MS, SOON, later, soon
from tests.helpers.wire import Wire, WireListener


@contextlib.asynccontextmanager
async def tunnelled() -> AsyncIterator[tuple[Tunnel, Peer]]:
    """Open a tunnel through our proxy; yield it and the service."""
    async with stage() as on:
        url = ProxyUrl(on.address.host, on.address.port, False)
        tunnel = await soon(open_tunnel(url, TunnelRequest(on.port), SOON, True))
        try:
            yield tunnel, await on.upstream()
        finally:
            tunnel.writer.transport.abort()
            await ended(tunnel)


async def ended(tunnel: Tunnel) -> None:
    """Wait until the task of a tunnel is done."""
    writer = tunnel.writer
    assert isinstance(writer, websocket_tunnel.WebSocketWriter)
    assert writer.receiving is not None
    await soon(asyncio.wait([writer.receiving]))


async def test_bytes_pass_both_ways_and_each_half_ends_alone() -> None:
    async with tunnelled() as (tunnel, upstream):
        tunnel.writer.write(b"hello")
        await upstream.gets(b"hello")
        tunnel.writer.write_eof()
        tunnel.writer.write_eof()
        await upstream.gets_end()
        # Nothing leaves behind the end, and the other half is open.
        tunnel.writer.write(b"late")
        await upstream.says(b"bye")
        assert await soon(tunnel.reader.readexactly(3)) == b"bye"
        upstream.ends()
        assert await soon(tunnel.reader.read()) == b""
        tunnel.writer.close()
        await ended(tunnel)
        assert tunnel.writer.transport.is_closing()


async def test_a_service_that_ends_first_gets_the_rest() -> None:
    async with tunnelled() as (tunnel, upstream):
        await upstream.says(b"all")
        upstream.ends()
        assert await soon(tunnel.reader.read()) == b"all"
        tunnel.writer.writelines([b"more", b"", b" to come"])
        await upstream.gets(b"more to come")
        tunnel.writer.write_eof()
        await upstream.gets_end()


async def test_every_byte_of_a_large_transfer_comes_although_the_reader_is_slow() -> None:
    data = os.urandom(3_000_000)
    async with tunnelled() as (tunnel, upstream):
        sending = asyncio.get_running_loop().create_task(upstream.wire.send(data))
        # Nobody reads yet, and the reader takes no more than it has room for.
        for _ in range(2000):
            await asyncio.sleep(0)
            assert len(tunnel.reader._buffer) <= 4 * 65536  # type: ignore[attr-defined]
        received = bytearray()
        while len(received) < len(data):
            received += await soon(tunnel.reader.read(1000))
        assert received == data
        await sending
        tunnel.writer.write(data)
        assert await later(upstream.gets_bytes(len(data))) == data


async def test_a_reset_of_the_service_is_an_error() -> None:
    async with tunnelled() as (tunnel, upstream):
        upstream.resets()
        with pytest.raises(ConnectionError):
            await soon(tunnel.reader.read())


Handler = Callable[[ServerConnection], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(handler: Handler, *subprotocols: str) -> AsyncIterator[ProxyUrl]:
    """Run a WebSocket server of others, which has these subprotocols."""
    known = [Subprotocol(name) for name in subprotocols] or None

    def choose(_connection: Any, offered: Any) -> Subprotocol | None:
        return next((name for name in offered if name in subprotocols), None)

    async with serve(
        handler, "127.0.0.1", 0, subprotocols=known, select_subprotocol=choose
    ) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield ProxyUrl("127.0.0.1", port, False)


@pytest.mark.parametrize("subprotocols", [[], ["binary"]])
async def test_without_our_subprotocol_a_close_is_the_end(subprotocols: list[str]) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with server(echo, *subprotocols) as url:
        tunnel = await soon(open_tunnel(url, TunnelRequest(22), SOON, True))
        tunnel.writer.write(b"x" * 70_000)
        assert await soon(tunnel.reader.readexactly(70_000)) == b"x" * 70_000
        tunnel.writer.write_eof()
        assert await soon(tunnel.reader.read()) == b""
        await ended(tunnel)


async def test_a_server_that_closes_with_an_error_gives_its_reason() -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.close(1011, "out of order")

    async with server(refuse) as url:
        tunnel = await soon(open_tunnel(url, TunnelRequest(22), SOON, True))
        with pytest.raises(ConnectionResetError, match="out of order"):
            await soon(tunnel.reader.read())
        await ended(tunnel)


@contextlib.asynccontextmanager
async def raw(*frames: bytes, accept: bytes = b"") -> AsyncIterator[tuple[ProxyUrl, list[Wire]]]:
    """Run a server that opens a WebSocket and sends frames; it keeps the connection open."""
    listener = WireListener()
    wires: list[Wire] = []

    async def answer() -> None:
        wire = await listener.accept()
        wires.append(wire)
        request = await wire.receive()
        key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accepted = (accept or accept_of(key)).decode()
        response = head(
            "HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket",
            f"Sec-WebSocket-Accept: {accepted}", "Sec-WebSocket-Protocol: cmux-tcp.v1",
        )  # fmt: skip
        await wire.send(response + b"".join(frames))

    answering = asyncio.get_running_loop().create_task(answer())
    try:
        yield ProxyUrl("127.0.0.1", listener.port, False), wires
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        for wire in wires:
            wire.close()
        listener.close()


async def test_frames_directly_behind_the_response_count() -> None:
    frames = [frame(BINARY, b"early"), frame(TEXT, b"F"), frame(CLOSE, close_payload(1000))]
    async with raw(*frames) as (url, _wires):
        tunnel = await soon(open_tunnel(url, TunnelRequest(22), SOON, True))
        assert await soon(tunnel.reader.read()) == b"early"
        await ended(tunnel)


@pytest.mark.parametrize("data", [b"\x81\x01x", b"\xf2\x01x", b"\x82\x81abcdx"])
async def test_a_broken_rule_ends_the_tunnel(data: bytes) -> None:
    async with raw(data) as (url, _wires):
        tunnel = await soon(open_tunnel(url, TunnelRequest(22), SOON, True))
        with pytest.raises(ConnectionResetError, match="the tunnel was closed"):
            await soon(tunnel.reader.read())
        await ended(tunnel)


async def test_a_wrong_key_is_no_websocket() -> None:
    async with raw(accept=b"wrong") as (url, _wires):
        with pytest.raises(TunnelError, match="has not opened a WebSocket"):
            await soon(open_tunnel(url, TunnelRequest(22), SOON, True))


async def test_a_silent_proxy_is_asked_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_tunnel, "_PING_INTERVAL", 20 * MS)
    async with raw() as (url, wires):
        tunnel = await soon(open_tunnel(url, TunnelRequest(22), SOON, True))
        with pytest.raises(ConnectionResetError, match="does not answer"):
            await soon(tunnel.reader.read())
        await ended(tunnel)
        ping = await soon(wires[0].receive())
        assert ping[0] == 0x80 | PING


async def test_a_ping_is_answered() -> None:
    async with raw(frame(PING, b"are you there")) as (url, wires):
        tunnel = await soon(open_tunnel(url, TunnelRequest(22), SOON, True))
        pong = await soon(wires[0].receive())
        assert pong[0] == 0x8A
        key, payload = pong[2:6], pong[6:]
        assert bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) == b"are you there"
        tunnel.writer.transport.abort()
        await ended(tunnel)

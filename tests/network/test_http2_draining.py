"""Draining with HTTP/2 clients: no stream is lost, and tunnels on streams live as others do."""

import asyncio
import contextlib
import signal
import socket

import pytest

from cmux_proxy.http2.error_codes import NO_ERROR
from cmux_proxy.http2.frame_types import DATA, END_STREAM, GOAWAY, MAX_STREAM_ID
from tests.helpers.h2_peer import H2Peer, fields
from tests.helpers.h2_stage import OK, ObservedStage, observed_stage
from tests.helpers.http2_frames import Frame, frame, read_frames
from tests.helpers.proxies import proxy_process
from tests.helpers.timing import MS, later, soon
from tests.helpers.websockets import switching
from tests.helpers.wire import Wire, WireListener

NEVER = 3600.0


class Frames:
    """What a client gets from now on: the library h2 reads nothing behind a GOAWAY."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._data = b""

    def all(self) -> list[Frame]:
        """Return the frames that are whole."""
        size = 0
        while len(self._data) >= size + 9:
            end = size + 9 + int.from_bytes(self._data[size : size + 3], "big")
            if end > len(self._data):
                break
            size = end
        return read_frames(self._data[:size])

    async def read(self) -> bool:
        """Read more; return False at the end."""
        data = await later(self._wire.receive())
        self._data += data
        return bool(data)

    async def goaways(self, count: int) -> list[int]:
        """Wait for so many GOAWAY frames; return the last streams that they name."""
        while True:
            frames = [each for each in self.all() if each.kind == GOAWAY]
            if len(frames) >= count:
                assert {each.payload[4:8] for each in frames} == {NO_ERROR.to_bytes(4, "big")}
                return [int.from_bytes(each.payload[:4], "big") for each in frames]
            assert await self.read()

    def body(self, stream: int) -> bytes:
        """Return the bytes of a stream."""
        frames = [each for each in self.all() if each.kind == DATA and each.stream_id == stream]
        return b"".join(each.payload for each in frames)

    async def until(self, stream: int, expected: bytes) -> None:
        """Wait for the bytes of a stream."""
        while self.body(stream) != expected:
            assert await self.read(), self.body(stream)


async def websocket(client: H2Peer, request: list[tuple[str, str]], upstream: WireListener) -> Wire:
    """Open a WebSocket; return the connection of its service."""
    await client.step()
    stream = await client.ask(request, False)
    wire = await soon(upstream.accept())
    await wire.send(switching(await soon(wire.receive())))
    assert (await client.head(stream))[":status"] == "200"
    return wire


async def open_websocket(on: ObservedStage) -> Wire:
    return await websocket(on.client, list(on.websocket()), on.listener)


def begin_drain(on: ObservedStage, timeout: float) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(on.proxy.drain(timeout))


async def test_a_websocket_lives_through_the_drain_and_ends_it() -> None:
    async with observed_stage() as on:
        with await open_websocket(on) as upstream:
            drain = begin_drain(on, NEVER)
            frames = Frames(on.client.wire)
            # The second one comes when requests are refused.
            assert await frames.goaways(2) == [MAX_STREAM_ID, 1]
            await on.client.wire.send(frame(DATA, 0, 1, b"still"))
            assert await soon(upstream.receive()) == b"still"
            await upstream.send(b"here")
            await frames.until(1, b"here")
            assert not drain.done()
            await on.client.wire.send(frame(DATA, END_STREAM, 1))
            assert await soon(upstream.receive()) == b""
            upstream.end()
            while await frames.read():
                pass
            await soon(drain)
    assert [each.kind for each in on.records] == ["upgrade"]


async def test_a_stream_that_is_opened_in_time_is_served_and_a_later_one_is_not() -> None:
    async with observed_stage() as on:
        with await open_websocket(on) as tunnel:
            drain = begin_drain(on, NEVER)
            frames = Frames(on.client.wire)
            assert await frames.goaways(1) == [MAX_STREAM_ID]
            second = await on.client.ask(fields(on.port))
            with await on.accept() as upstream:
                await soon(upstream.receive())
                assert (await frames.goaways(2))[-1] == second
                await on.client.ask(fields(on.port))
                await upstream.send(OK)
                await frames.until(second, b"ok")
            tunnel.close()
            while await frames.read():
                pass
            await soon(drain)
            assert {each.stream_id for each in frames.all() if each.kind == DATA} <= {1, second}


@pytest.mark.parametrize("is_tunnel", [False, True], ids=["request", "websocket"])
async def test_what_outlives_the_drain_timeout_is_closed(
    is_tunnel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cmux_proxy")
    async with observed_stage() as on:
        upstream = await open_websocket(on) if is_tunnel else (await on.ask())[1]
        with upstream:
            await soon(begin_drain(on, 20 * MS))
            while await soon(upstream.receive()):
                pass
            frames = Frames(on.client.wire)
            try:
                while await frames.read():
                    pass
            except ConnectionResetError:
                pass
    count = f"1 clients and {int(is_tunnel)} tunnels were still open after"
    assert count in caplog.text


def request_of(port: int) -> list[tuple[str, str]]:
    return [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"),
        (":authority", "a"), ("sec-websocket-version", "13"), ("x-cmux-port-internal", str(port)),
    ]  # fmt: skip


@pytest.mark.hosting
async def test_a_signal_drains_the_process(loop_name: str) -> None:
    async with proxy_process(loop_name) as proxy:
        listener = WireListener()
        with await H2Peer.to(proxy.port) as client, await H2Peer.to(proxy.port) as idle:
            tunnel = await websocket(client, request_of(listener.port), listener)
            stream = await client.ask(fields(listener.port))
            upstream = await soon(listener.accept())
            await soon(upstream.receive())
            proxy.signal()
            frames = Frames(client.wire)
            assert (await frames.goaways(2))[-1] == stream
            await Frames(idle.wire).goaways(2)
            await upstream.send(OK)
            await frames.until(stream, b"ok")
            await tunnel.send(b"still here")
            await frames.until(1, b"still here")
            for wire in (tunnel, upstream):
                wire.close()
            listener.sock.close()
            while await frames.read():
                pass
            await proxy.drains()


async def test_a_second_signal_ends_the_process_at_once(loop_name: str) -> None:
    async with proxy_process(loop_name, "--drain-timeout", "3600") as proxy:
        listener = WireListener()
        with await H2Peer.to(proxy.port) as client:
            tunnel = await websocket(client, request_of(listener.port), listener)
            proxy.signal(signal.SIGTERM)
            await Frames(client.wire).goaways(1)
            proxy.signal(signal.SIGTERM)
            await proxy.drains(128 + signal.SIGTERM)
            with tunnel:
                assert await later(tunnel.receive()) == b""
        listener.sock.close()


@pytest.mark.hosting
async def test_a_restart_hands_over_and_loses_no_stream(loop_name: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as shared,
        contextlib.closing(WireListener()) as service,
    ):
        port = shared.getsockname()[1]
        async with proxy_process(loop_name, passed=[shared]) as old:
            with await H2Peer.to(port) as client:
                tunnel = await websocket(client, request_of(service.port), service)
                stream = await client.ask(fields(service.port))
                upstream = await soon(service.accept())
                await soon(upstream.receive())
                async with proxy_process(loop_name, passed=[shared]) as new:
                    old.signal()
                    frames = Frames(client.wire)
                    await frames.goaways(1)
                    with await H2Peer.to(port) as other:
                        asked = await other.ask(fields(service.port))
                        with await soon(service.accept()) as fresh:
                            await soon(fresh.receive())
                            await fresh.send(OK)
                            assert (await other.complete(asked)).body == b"ok"
                    await upstream.send(OK)
                    await tunnel.send(b"still here")
                    await frames.until(stream, b"ok")
                    await frames.until(1, b"still here")
                    upstream.close()
                    tunnel.close()
                    while await frames.read():
                        pass
                    await old.drains()
                    await new.stop()

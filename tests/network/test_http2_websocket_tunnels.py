"""TCP inside WebSockets on streams of HTTP/2 (RFC 8441): the same tunnels, many on a connection."""

import pytest
from websockets.frames import Frame, Opcode

from cmux_proxy.http2.error_codes import CANCEL, CONNECT_ERROR
from tests.helpers.h2_peer import Fields
from tests.helpers.timing import soon
from tests.helpers.tunnel_frames import END, V1, FrameParser, binary, closing, frames_of, masked
from tests.helpers.wire import Wire
from tests.network.test_http2 import Stage, gets, stage


def extended(path: str, *more: tuple[str, str]) -> Fields:
    """Return the fields of a request for a tunnel."""
    return [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path),
        (":authority", "a"), ("sec-websocket-version", "13"), *more,
    ]  # fmt: skip


def offer(subprotocol: str) -> tuple[str, str]:
    return ("sec-websocket-protocol", subprotocol)


async def opened(on: Stage, *more: tuple[str, str]) -> tuple[int, Wire]:
    """Open a tunnel; return its stream and its upstream."""
    if not on.client.responses:
        # The client may send an extended CONNECT once the proxy has announced it.
        await on.client.step()
    stream = await on.client.ask(extended(f"/.cmux/tcp/{on.port}", *more), False)
    upstream = await on.accept()
    await on.client.head(stream)
    return stream, upstream


async def frames(on: Stage, stream: int, count: int) -> list[Frame]:
    """Wait for so many frames; return all that have come."""
    while len(found := FrameParser().feed(on.client.responses[stream].body)) < count:
        await on.client.step()
    return found


@pytest.mark.parametrize("subprotocol", ["", "binary", V1])
async def test_bytes_go_both_ways(subprotocol: str) -> None:
    async with stage() as on:
        stream, upstream = await opened(on, *([offer(subprotocol)] if subprotocol else []))
        chosen = {"sec-websocket-protocol": subprotocol} if subprotocol else {}
        assert on.client.responses[stream].heads == [{":status": "200"} | chosen]
        with upstream:
            await on.client.send(stream, binary(b"up"))
            await gets(upstream, b"up")
            await upstream.send(b"down" * 5000)
            payload = b""
            while len(payload) < 20_000:
                await on.client.step()
                found = FrameParser().feed(on.client.responses[stream].body)
                payload = b"".join([bytes(frame.data) for frame in found])
            assert payload == b"down" * 5000


async def test_the_field_and_the_subprotocol_name_a_tunnel_too() -> None:
    async with stage() as on:
        await on.client.step()
        fields = extended("/any", ("x-cmux-port-internal", str(on.port)), offer(V1))
        stream = await on.client.ask(fields, False)
        with await on.accept() as upstream:
            assert (await on.client.head(stream))[":status"] == "200"
            await on.client.send(stream, binary(b"x"))
            await gets(upstream, b"x")


async def test_half_closes_and_the_end_of_both() -> None:
    async with stage() as on:
        stream, upstream = await opened(on, offer(V1))
        with upstream:
            await on.client.send(stream, binary(b"last") + masked(END))
            await gets(upstream, b"last")
            assert await soon(upstream.receive()) == b""
            await upstream.send(b"rest")
            upstream.end()
            expected = [Frame(Opcode.BINARY, b"rest"), END, closing()]
            assert await frames(on, stream, 3) == expected
            assert not on.client.responses[stream].is_complete
            await on.client.send(stream, masked(closing()), True)
            response = await on.client.complete(stream)
            assert (response.is_complete, response.reset) == (True, None)
        registry = on.proxy.services.registry
        assert [len(group) for group in (registry.tunnels, registry.websockets)] == [0, 0]
        assert not registry.lingering


async def test_resets_pass_in_both_directions() -> None:
    async with stage() as on:
        stream, upstream = await opened(on)
        upstream.reset()
        assert (await on.client.complete(stream)).reset == CONNECT_ERROR
        stream, upstream = await opened(on)
        with upstream:
            await on.client.send(stream, binary(b"x"))
            await gets(upstream, b"x")
            on.client.h2.reset_stream(stream, CANCEL)
            await on.client.flush()
            with pytest.raises(ConnectionResetError):
                await soon(upstream.receive())


async def test_an_end_without_close_resets_the_service() -> None:
    async with stage() as on:
        stream, upstream = await opened(on, offer(V1))
        with upstream:
            await on.client.send(stream, binary(b"half a file"), True)
            await gets(upstream, b"half a file")
            with pytest.raises(ConnectionResetError):
                await soon(upstream.receive())
        await on.client.complete(stream)


async def test_a_broken_rule_closes_the_stream_alone() -> None:
    async with stage() as on:
        stream, upstream = await opened(on)
        other, other_upstream = await opened(on)
        with upstream, other_upstream:
            await on.client.send(stream, b"\x82\x00")
            with pytest.raises(ConnectionResetError):
                await soon(upstream.receive())
            response = await on.client.complete(stream)
            assert frames_of(response.body) == [closing(1002, "a frame is not masked")]
            await on.client.send(other, binary(b"x"))
            await gets(other_upstream, b"x")


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/.cmux/tcp/0", (), "400"),
        ("/.cmux/tcp/22x", (), "400"),
        ("/.cmux/tcp/<port>", (("origin", "http://a"),), "403"),
        ("/.cmux/tcp/<port>", (("sec-websocket-protocol", "chat"),), "400"),
    ],
)
async def test_a_request_is_judged_before_anything_is_dialled(
    path: str, more: tuple[tuple[str, str], ...], status: str
) -> None:
    async with stage() as on:
        await on.client.step()
        fields = extended(path.replace("<port>", str(on.port)), *more)
        response = await on.client.complete(await on.client.ask(fields, False))
        assert response.status == status
        # The next connection is that of the next request.
        stream, upstream = await opened(on)
        with upstream:
            await on.client.send(stream, binary(b"now"))
            await gets(upstream, b"now")


async def test_an_upgrade_is_asked_for_without_the_fields_of_http_1() -> None:
    async with stage() as on:
        fields = [
            (":method", "GET"), (":path", f"/.cmux/tcp/{on.port}"), (":scheme", "http"),
            (":authority", "a"),
        ]  # fmt: skip
        response = await on.client.complete(await on.client.ask(fields))
        assert response.status == "426"
        assert not {"upgrade", "connection"} & set(response.heads[0])


async def test_a_closed_port_is_a_502() -> None:
    async with stage() as on:
        on.listener.close()
        await on.client.step()
        fields = extended(f"/.cmux/tcp/{on.port}")
        response = await on.client.complete(await on.client.ask(fields, False))
        assert response.status == "502"

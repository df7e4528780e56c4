"""TCP inside WebSockets over real sockets, also with the client of `websockets`."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from cmux_proxy import Access, Config, Limits, Timeouts
from tests.helpers.proxies import local_config
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import MS, later, soon
from tests.helpers.tunnel_frames import (
    END,
    V1,
    FrameParser,
    binary,
    closing,
    masked,
    offer,
    opened,
    request,
)

PATH = "/.cmux/tcp/<port>"


@contextlib.asynccontextmanager
async def client_of(
    on: Stage, *subprotocols: str, path: str = PATH
) -> AsyncIterator[tuple[ClientConnection, Peer]]:
    """Open a tunnel with `websockets`; the other end of it is an upstream."""
    url = f"ws://127.0.0.1:{on.address.port}{path.replace('<port>', str(on.port))}"
    fields = {} if path == PATH else {"X-Cmux-Port-Internal": str(on.port)}
    offered = [Subprotocol(each) for each in subprotocols] or None
    async with connect(
        url, subprotocols=offered, additional_headers=fields, proxy=None
    ) as connection:
        assert connection.subprotocol == (subprotocols[0] if subprotocols else None)
        yield connection, await on.upstream()


async def raw(on: Stage, *subprotocols: str) -> tuple[Peer, Peer]:
    """Open a tunnel byte by byte; return both ends."""
    client = await on.client()
    await client.says(request(PATH, *([offer(*subprotocols)] if subprotocols else [])))
    upstream = await on.upstream()
    await client.gets(opened(subprotocols[0] if subprotocols else ""))
    return client, upstream


async def frames(client: Peer, count: int) -> list[Frame]:
    """Return the frames that a client gets next."""
    parser = FrameParser()
    found: list[Frame] = []
    while len(found) < count:
        found += parser.feed(await client.gets_bytes(1))
    return found


async def receive(connection: ClientConnection, size: int) -> bytes:
    """Return so many bytes of a tunnel, whatever messages they come in."""
    data = b""
    while len(data) < size:
        message = await soon(connection.recv())
        assert isinstance(message, bytes)
        data += message
    return data


async def pass_both_ways(connection: ClientConnection, upstream: Peer, payload: bytes) -> None:
    """Send bytes to the service, and back; more than any buffer holds."""
    loop = asyncio.get_running_loop()
    sending = loop.create_task(connection.send(payload))
    assert await upstream.gets_bytes(len(payload)) == payload
    await sending
    sending = loop.create_task(upstream.says(payload))
    assert await receive(connection, len(payload)) == payload
    await sending


@pytest.mark.parametrize("subprotocols", [(), ("binary",), (V1,)], ids=["none", "binary", "v1"])
async def test_bytes_go_both_ways(subprotocols: tuple[str, ...]) -> None:
    payload = random.Random(7).randbytes(300_000)
    async with stage() as on, client_of(on, *subprotocols) as (connection, upstream):
        await connection.send(b"\x00hello")
        await upstream.gets(b"\x00hello")
        await connection.send([b"in", b"", b" fragments"])
        await upstream.gets(b"in fragments")
        await pass_both_ways(connection, upstream, payload)
        assert await soon(await connection.ping(b"there?")) >= 0


async def test_the_field_and_the_subprotocol_name_a_tunnel_too() -> None:
    async with stage() as on, client_of(on, V1, path="/any/path") as (connection, upstream):
        await upstream.says(b"220 ready\r\n")
        assert await receive(connection, 11) == b"220 ready\r\n"


async def test_a_close_of_the_client_ends_its_half_and_the_answer_comes_before_ours() -> None:
    async with stage() as on:
        client, upstream = await raw(on)
        await client.says(binary(b"question") + masked(closing()))
        await upstream.gets(b"question")
        await upstream.gets_end()
        await upstream.says(b"answer")
        upstream.ends()
        found = await frames(client, 2)
        assert found == [Frame(Opcode.BINARY, b"answer"), closing()]
        await client.gets_end()


@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_half_closes_keep_every_byte(first: str) -> None:
    payload = random.Random(3).randbytes(500_000)
    async with stage() as on, client_of(on, V1) as (connection, upstream):

        async def upload() -> None:
            for at in range(0, len(payload), 7001):
                await connection.send(payload[at : at + 7001])
            await connection.send("F", text=True)

        async def download() -> None:
            await upstream.says(payload)
            upstream.ends()

        loop = asyncio.get_running_loop()
        if first == "client":
            sending = loop.create_task(upload())
            assert await upstream.gets_bytes(len(payload)) == payload
            await upstream.gets_end()
            await sending
        sending = loop.create_task(download())
        assert await receive(connection, len(payload)) == payload
        assert await soon(connection.recv()) == "F"
        await sending
        if first == "upstream":
            sending = loop.create_task(upload())
            assert await upstream.gets_bytes(len(payload)) == payload
            await upstream.gets_end()
            await sending
        await soon(connection.wait_closed())
        assert connection.close_code == 1000


async def test_errors_come_before_the_101() -> None:
    async with stage() as on:
        on.listener.close()
        with pytest.raises(InvalidStatus) as caught:
            async with client_of(on):
                pass
        response = caught.value.response
        assert response.status_code == 502
        assert response.headers["Proxy-Status"] == "cmux-proxy; error=connection_refused"
        client = await on.client()
        own = f"/.cmux/tcp/{on.address.port}"
        await client.says(request(own))
        await client.gets_error(508, "proxy_loop_detected")
        # The connection is as usable as after any error.
        await client.says(request(PATH))
        await client.gets_error(502, "connection_refused")


async def test_a_reset_of_the_service_is_a_reset() -> None:
    async with stage() as on:
        client, upstream = await raw(on, V1)
        await client.says(binary(b"x"))
        await upstream.gets(b"x")
        upstream.resets()
        await client.gets_reset()
    async with stage() as on, client_of(on) as (connection, upstream):
        upstream.resets()
        with pytest.raises(ConnectionClosedError):
            await soon(connection.recv())
        # There was no Close frame.
        assert connection.close_code == 1006


@pytest.mark.parametrize(
    ("leave", "data"),
    [
        pytest.param("resets", b"", id="reset"),
        pytest.param("closes", b"", id="end without Close"),
        pytest.param("", masked(closing(1011)), id="Close 1011"),
        pytest.param("", masked(Frame(Opcode.TEXT, b"hello")), id="text"),
    ],
)
async def test_a_client_that_fails_resets_the_service(leave: str, data: bytes) -> None:
    async with stage() as on:
        client, upstream = await raw(on, V1)
        await client.says(binary(b"half a file") + data)
        await upstream.gets(b"half a file")
        if leave:
            getattr(client, leave)()
        await upstream.gets_reset()
        client.ignores_more()


async def test_a_broken_rule_is_told_before_the_end() -> None:
    async with stage() as on:
        client, upstream = await raw(on)
        await client.says(b"\x81\x80\x00\x00\x00\x00")
        [close] = await frames(client, 1)
        assert close == closing(1003, "a text message is no half-close")
        await client.gets_end()
        client.closes()
        await upstream.gets_reset()
        await on.proxy.drain()


async def test_frames_behind_the_request_are_delivered_once_the_service_is_there() -> None:
    early = b"".join([binary(b"%d;" % number) for number in range(2000)])
    async with stage() as on:
        client = await on.client()
        await client.says(request(PATH) + early)
        upstream = await on.upstream()
        await upstream.gets(b"".join([b"%d;" % number for number in range(2000)]))
        await client.gets(opened())


async def test_other_requests_on_the_port_are_as_ever() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/.cmux/tcp/22"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /.cmux/tcp/22 HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content"))
        await client.says(request("/chat", ROUTE, offer("binary")))
        await upstream.gets(request("/chat", offer("binary")))


async def test_a_refused_request_dials_nothing() -> None:
    config = local_config(access=Access(deny_ports=["1-1023"]))
    async with stage(config) as on:
        client = await on.client()
        await client.says(request("/.cmux/tcp/22"))
        await client.gets_error(403, "http_request_denied")
        await client.says(request(PATH, "Origin: http://a"))
        await client.gets_error(403, "http_request_denied")
        await client.says(request("/.cmux/tcp/<port>x"))
        await client.gets_error(400, "http_request_error")
        await client.says(get("/.cmux/tcp/<port>").replace(ROUTE.encode() + b"\r\n", b""))
        await client.gets_error(
            426, "http_request_error", "Connection: upgrade", "Upgrade: websocket"
        )
        await on.nothing_reached_upstream()


async def test_a_tunnel_may_end_during_a_drain_and_one_that_stays_is_closed() -> None:
    config = local_config(timeouts=Timeouts(drain=300 * MS))
    async with stage(config) as on:
        ending, its_upstream = await raw(on, V1)
        staying, other_upstream = await raw(on, V1)
        draining = asyncio.get_running_loop().create_task(on.proxy.drain())
        await ending.says(binary(b"still") + masked(END))
        await its_upstream.gets(b"still")
        await its_upstream.gets_end()
        its_upstream.ends()
        assert await frames(ending, 2) == [END, closing()]
        await ending.says(masked(closing()))
        await ending.gets_end()
        await later(draining)
        await staying.gets_cut()
        await other_upstream.gets_cut()


async def test_an_address_may_have_as_many_tunnels_as_connections() -> None:
    config = local_config(limits=Limits(clients_per_address=1))
    async with stage(config) as on:
        for _ in range(3):
            client, upstream = await raw(on, V1)
            refused = await on.client()
            await refused.gets_error(503, "connection_limit_reached", "Retry-After: 1", closes=True)
            upstream.ends()
            await client.says(masked(END, closing()))
            await upstream.gets_end()
            assert await frames(client, 2) == [END, closing()]
            await client.gets_end()
            client.closes()
            refused.closes()


@pytest.mark.parametrize("buffer", [16 * 1024, 64 * 1024])
async def test_small_buffers_carry_large_messages(buffer: int) -> None:
    payload = random.Random(buffer).randbytes(400_000)
    config = Config(listen=["127.0.0.1:0"], limits=Limits(buffer=buffer))
    async with stage(config) as on, client_of(on, V1) as (connection, upstream):
        await pass_both_ways(connection, upstream, payload)

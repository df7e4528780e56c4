"""Behind an edge that speaks HTTP/2 in clear text to the proxy: HAProxy and Caddy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest
from websockets.asyncio.client import connect

from cmux_proxy import Observability, Proxy, Record
from tests.helpers.h2_peer import H2Peer, Response
from tests.helpers.messages import Message
from tests.helpers.origins import (
    OriginConnection,
    chunk,
    echo_bytes,
    http_response,
    origin,
)
from tests.helpers.proxies import local_config
from tests.helpers.script import head
from tests.helpers.timing import LATER, SOON, later
from tests.helpers.tools import program, tool
from tests.helpers.websockets import switching
from tests.helpers.wire import Wire, closed_port
from tests.network.test_real_websockets import echo_server

HAPROXY: Final = """
global
    maxconn 200
defaults
    mode http
    timeout connect {ms}
    timeout client {ms}
    timeout server {ms}
    timeout tunnel {ms}
listen edge
    bind 127.0.0.1:{port}
    http-reuse always
    server proxy 127.0.0.1:{proxy} proto h2
"""
CADDY: Final = """
{{
    admin off
    auto_https off
    servers {{
        protocols h1 h2c
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    @websocket header Upgrade websocket
    reverse_proxy @websocket 127.0.0.1:{proxy}
    reverse_proxy h2c://127.0.0.1:{proxy} {{
        flush_interval -1
    }}
}}
"""
STREAMS: Final = 50


class Edge:
    """A client of an edge, in front of a proxy whose exchanges are recorded."""

    def __init__(self, port: int, client: H2Peer, records: list[Record]) -> None:
        self.port = port
        self.client = client
        self.records = records

    async def ask(
        self, port: int, method: str, path: str, body: bytes, trailers: bool = False
    ) -> int:
        """Send a whole request to the host of a port; return its stream."""
        stream = await self.client.ask(
            [
                (":method", method), (":scheme", "http"), (":path", path),
                (":authority", f"{port}.localhost"), ("te", "trailers"),
            ],
            False,
        )  # fmt: skip
        await self.client.send(stream, body, not trailers)
        if trailers:
            self.client.h2.send_headers(stream, [("sum", "1")], end_stream=True)
            await self.client.flush()
        return stream

    async def complete(self, stream: int) -> Response:
        """Return a response."""
        return await later(self.client.complete(stream))


@contextlib.asynccontextmanager
async def behind(folder: Path, name: str, config: str, *command: str) -> AsyncIterator[Edge]:
    """Run a proxy, and an edge in front of it with this configuration."""
    records: list[Record] = []
    settings = local_config(observability=Observability(access_log="all"))
    with closed_port() as free:
        port = free
    async with Proxy(settings, on_record=records.append) as proxy:
        ms = int(1000 * LATER)
        text = config.format(port=port, proxy=proxy.addresses[0].port, ms=ms)
        (folder / "config").write_text(text)
        variables = {"HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        async with program(tool(name), *command, folder=folder, variables=variables) as process:
            async with asyncio.timeout(SOON):
                while not await accepts(port):
                    assert process.returncode is None
            with await H2Peer.to(port) as client:
                await client.step()
                yield Edge(port, client, records)


async def accepts(port: int) -> bool:
    """Return whether somebody listens."""
    try:
        (await Wire.to("127.0.0.1", port)).close()
    except OSError:
        await asyncio.sleep(0)
        return False
    return True


def behind_haproxy(folder: Path) -> contextlib.AbstractAsyncContextManager[Edge]:
    return behind(folder, "haproxy", HAPROXY, "-f", "config", "-db")


def behind_caddy(folder: Path) -> contextlib.AbstractAsyncContextManager[Edge]:
    return behind(folder, "caddy", CADDY, "run", "--config", "config", "--adapter", "caddyfile")


class Service:
    """Echoes bodies with a trailer, and the bytes of WebSockets; notes hosts and trailers."""

    def __init__(self) -> None:
        self.hosts: set[str | None] = set()
        self.is_trailed = False

    async def __call__(self, connection: OriginConnection) -> None:
        while (request := await connection.head()) is not None:
            self.hosts.add(request.field("host"))
            if request.field("upgrade"):
                await connection.send(switching(request.head + b"\r\n\r\n"))
                await echo_bytes(connection)
                return
            await connection.body(request)
            self.is_trailed |= connection.received.endswith(b"\r\n0\r\nsum: 1\r\n\r\n")
            await connection.send(_response(request))


def _response(request: Message) -> bytes:
    if request.target == "/length":
        return http_response(request.body)
    body = request.target.encode() + request.body
    coded = chunk(body) + b"0\r\nEnd: 2\r\n\r\n"
    return head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: End") + coded


@pytest.mark.parametrize("edge", [behind_haproxy, behind_caddy])
async def test_streams_bodies_and_trailers_pass_in_both_directions(
    tmp_path: Path, edge: Callable[[Path], contextlib.AbstractAsyncContextManager[Edge]]
) -> None:
    service = Service()
    async with edge(tmp_path) as on, origin(service) as upstream:
        streams = [
            await on.ask(upstream.port, "POST", f"/{number}", b"x" * number)
            for number in range(STREAMS)
        ]
        for number, stream in enumerate(streams):
            response = await on.complete(stream)
            assert (response.status, response.reset) == ("200", None)
            assert response.body == f"/{number}".encode() + b"x" * number
            assert response.trailers == {"end": "2"}
        large = await on.ask(upstream.port, "PUT", "/length", b"y" * 10_000, trailers=True)
        assert (await on.complete(large)).body == b"y" * 10_000
        assert service.hosts == {f"{upstream.port}.localhost"}
        # Caddy drops the trailers of requests.
        assert service.is_trailed == (edge is behind_haproxy)
    assert {record.protocol for record in on.records} == {"HTTP/2.0"}
    assert len(on.records) == STREAMS + 1


async def test_a_websocket_is_a_stream_on_both_sides_of_haproxy(tmp_path: Path) -> None:
    async with behind_haproxy(tmp_path) as on, origin(Service()) as upstream:
        stream = await on.client.ask(
            [
                (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                (":path", "/ws"), (":authority", f"{upstream.port}.localhost"),
                ("sec-websocket-version", "13"),
            ],
            False,
        )  # fmt: skip
        assert (await later(on.client.head(stream)))[":status"] == "200"
        for count in (1, 2):
            await on.client.send(stream, b"frame")
            assert await later(on.client.body(stream, 5 * count)) == b"frame" * count
        await on.client.send(stream, b"", True)
        assert (await on.complete(stream)).reset is None
    [record] = [record for record in on.records if record.status == 101]
    assert (record.protocol, record.kind) == ("HTTP/2.0", "upgrade")


@pytest.mark.parametrize(
    ("edge", "protocol"), [(behind_haproxy, "HTTP/2.0"), (behind_caddy, "HTTP/1.1")]
)
async def test_a_websocket_of_a_client_of_http1(
    tmp_path: Path,
    edge: Callable[[Path], contextlib.AbstractAsyncContextManager[Edge]],
    protocol: str,
) -> None:
    """HAProxy makes a stream of it; Caddy cannot, and sends it over HTTP/1.1."""
    async with edge(tmp_path) as on, echo_server() as port:
        url = f"ws://127.0.0.1:{on.port}/chat"
        route = {"X-Cmux-Port-Internal": str(port)}
        async with connect(url, additional_headers=route, proxy=None) as socket:
            await socket.send("hello")
            assert await later(socket.recv()) == "hello"
    [record] = on.records
    assert (record.protocol, record.kind) == (protocol, "upgrade")

"""The websockets package as client and as server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.helpers.script import Stage, head, stage
from tests.helpers.timing import SOON, later, soon
from tests.helpers.wire import closed_port

MIB = 1024 * 1024


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def echo_server(compression: str | None = None) -> AsyncIterator[int]:
    """Run a WebSocket server; return its port."""
    server = await serve(_echo, "127.0.0.1", 0, compression=compression, max_size=4 * MIB)
    async with server:
        port: int = next(iter(server.sockets)).getsockname()[1]
        yield port


@contextlib.asynccontextmanager
async def client(
    on: Stage, port: int, compression: str | None = None
) -> AsyncIterator[ClientConnection]:
    """Connect through the proxy."""
    async with connect(
        f"ws://{on.address}/chat",
        additional_headers={"X-Cmux-Port-Internal": str(port)},
        compression=compression,
        max_size=4 * MIB,
        open_timeout=SOON,
        close_timeout=SOON,
        proxy=None,
    ) as connection:
        yield connection


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("text, also beyond ASCII: äöü €", id="text"),
        pytest.param(bytes(range(256)), id="binary"),
        pytest.param("", id="empty"),
        pytest.param("HTTP/1.1 200 OK\r\n\r\n", id="looks like HTTP"),
        pytest.param(bytes(range(256)) * 4096, id="1 MiB binary"),
        pytest.param("x" * MIB, id="1 MiB text"),
    ],
)
@pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "permessage-deflate"])
async def test_a_message_is_echoed(compression: str | None, message: str | bytes) -> None:
    async with (
        echo_server(compression) as port,
        stage() as on,
        client(on, port, compression) as connection,
    ):
        assert [extension.name for extension in connection.protocol.extensions] == (
            ["permessage-deflate"] if compression else []
        )
        for _ in range(3):
            await connection.send(message)
            assert await soon(connection.recv()) == message


async def test_a_ping_gets_a_pong() -> None:
    async with echo_server() as port, stage() as on, client(on, port) as connection:
        pong = await connection.ping(b"are you there")
        assert await soon(pong) >= 0


async def test_a_close_code_is_passed_on() -> None:
    async with echo_server() as port, stage() as on, client(on, port) as connection:
        await connection.close(4321, "enough")
        assert (connection.close_code, connection.close_reason) == (4321, "enough")


async def test_a_fragmented_message_is_echoed() -> None:
    async with echo_server() as port, stage() as on, client(on, port) as connection:
        await connection.send([b"one", b"two", b"three"])
        assert await soon(connection.recv()) == b"onetwothree"


async def test_sixteen_concurrent_clients_get_their_own_messages() -> None:
    async with echo_server() as port, stage() as on:

        async def chat(number: int) -> None:
            async with client(on, port) as connection:
                for turn in range(20):
                    message = f"{number}.{turn} " + "x" * (turn * 100)
                    await connection.send(message)
                    assert await soon(connection.recv()) == message

        await later(asyncio.gather(*(chat(number) for number in range(16))))


async def test_a_server_that_aborts_closes_the_connection() -> None:
    async with stage() as on:

        async def abandon(connection: ServerConnection) -> None:
            await connection.recv()
            connection.transport.abort()

        async with serve(abandon, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with client(on, port) as connection:
                await connection.send("now")
                with pytest.raises(ConnectionClosedError):
                    await soon(connection.recv())


async def test_an_error_of_the_proxy_is_seen_by_the_client() -> None:
    with closed_port() as port:
        async with stage() as on:
            with pytest.raises(InvalidStatus) as caught:
                async with client(on, port):
                    pass
            assert caught.value.response.status_code == 502
            assert caught.value.response.headers["Proxy-Status"] == (
                "cmux-proxy; error=connection_refused"
            )


async def test_a_plain_request_gets_426() -> None:
    async with echo_server() as port, stage() as on:
        peer = await on.client()
        await peer.says(
            head("GET /chat HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {port}", "TE: trailers")
        )
        lines = (await peer.gets_head()).decode("latin-1").split("\r\n")
        peer.ignores_more()
        assert lines[0] == "HTTP/1.1 426 Upgrade Required"
        assert "Upgrade: websocket" in lines
        assert "Connection: upgrade" in lines

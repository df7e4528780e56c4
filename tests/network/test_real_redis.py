"""redis-server behind CONNECT, driven by the redis package: a protocol that is not HTTP."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis

from tests.helpers.script import head, stage
from tests.helpers.timing import SOON, later
from tests.helpers.tools import tool


@contextlib.asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[int]:
    """Run redis-server; return its port."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            tool("redis-server"),
            *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            while line := await later(process.stdout.readline()):
                if b"Ready to accept connections" in line:
                    yield port
                    return
            # Another program has taken the port meanwhile.
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await later(process.communicate())


class TunnelledConnection(redis.Connection):
    """A connection of the redis package that opens a tunnel first.

    `_connect` is the only method of the package that makes the socket.
    """

    proxy: tuple[str, int]

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(self.proxy, timeout=SOON)
        try:
            route = f"X-Cmux-Port-Internal: {self.port}"
            sock.sendall(head("CONNECT redis.test:6379 HTTP/1.1", "Host: redis.test:6379", route))
            response = b""
            while not response.endswith(b"\r\n\r\n"):
                data = sock.recv(1)
                assert data, response
                response += data
            assert response == b"HTTP/1.1 200 Connection established\r\n\r\n"
        except BaseException:
            sock.close()
            raise
        return sock


def _use_redis(port: int, proxy: tuple[str, int]) -> None:
    """Use redis as clients do; blocks, so it runs in a thread."""
    TunnelledConnection.proxy = proxy
    pool: Any = redis.ConnectionPool(
        connection_class=TunnelledConnection, host="127.0.0.1", port=port, socket_timeout=SOON
    )
    client: Any = redis.Redis(connection_pool=pool)
    try:
        assert client.ping() is True
        big = bytes(range(256)) * 8192
        assert client.set("big", big) is True
        assert client.get("big") == big
        with client.pipeline(transaction=False) as pipeline:
            for number in range(5000):
                pipeline.set(f"key {number}", number)
            for number in range(5000):
                pipeline.get(f"key {number}")
            results = pipeline.execute()
        assert results[5000:] == [b"%d" % number for number in range(5000)]
        with client.pubsub() as channel:
            channel.subscribe("news")
            assert channel.get_message(timeout=SOON)
            assert client.publish("news", "hello") == 1
            message = channel.get_message(timeout=SOON)
            assert message is not None
            assert message["data"] == b"hello"
        # This connection waits, and no bytes flow until the other connection pushes.
        other = redis.Redis(connection_pool=pool)
        assert other.rpush("queue", "job") == 1
        popped: Any = client.blpop(["queue"], timeout=SOON)
        assert list(popped) == [b"queue", b"job"]
    finally:
        client.close()
        pool.disconnect()


async def test_redis_works_through_a_tunnel(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as port, stage() as on:
        await later(asyncio.to_thread(_use_redis, port, (on.address.host, on.address.port)))


async def test_errors_of_redis_pass_through_a_tunnel(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as port, stage() as on:
        client = await on.client()
        route = f"X-Cmux-Port-Internal: {port}"
        await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", route) + b"NOSUCH\r\n")
        await client.gets(
            b"HTTP/1.1 200 Connection established\r\n\r\n"
            b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n"
        )
        await client.says(b"PING\r\n")
        await client.gets(b"+PONG\r\n")
        await client.says(b"QUIT\r\n")
        await client.gets(b"+OK\r\n")
        await client.gets_end()

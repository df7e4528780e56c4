"""Requests that wait for a connection to a service that accepts few connections, or none."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmux_proxy import Proxy
from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import later, soon
from tests.helpers.wire import Wire, closed_port, deaf_port

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
SENT = head("GET /2 HTTP/1.1", "Host: a")
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE)
POST = head("POST /2 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 0")


class FullUpstream:
    """A stage whose upstream has one connection, and accepts no other before `accept_more`."""

    def __init__(self, on: Stage, client: Peer, upstream: Peer, filler: Wire) -> None:
        self.on = on
        self.client = client
        self.upstream = upstream
        self._filler = filler

    async def waiting_client(self, request: bytes) -> Peer:
        """Send a request of another client; return the client, whose request waits."""
        client = await self.on.client()
        await client.says(request)
        await self.settle()
        return client

    async def settle(self) -> None:
        """Wait until the proxy has read all bytes that were sent before."""
        client = await self.on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a"))
        await client.gets_error(400, "http_request_error")

    async def accept_more(self) -> None:
        """Let the upstream accept connections again."""
        self.on.listener.sock.listen(4096)
        (await soon(self.on.listener.accept())).close()
        self._filler.close()


@contextlib.asynccontextmanager
async def full_stage() -> AsyncIterator[FullUpstream]:
    async with stage() as on:
        client, upstream = await on.pair()
        # A backlog of 0 has room for one connection.
        on.listener.sock.listen(0)
        with await Wire.to("127.0.0.1", on.port) as filler:
            yield FullUpstream(on, client, upstream, filler)


async def test_a_request_gets_the_connection_that_becomes_free() -> None:
    async with full_stage() as full:
        second, third = await full.waiting_client(get("/2")), await full.waiting_client(get("/3"))
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(SENT)
        await full.upstream.says(OK)
        await second.gets(OK)
        await full.upstream.gets(head("GET /3 HTTP/1.1", "Host: a"))
        await full.upstream.says(OK)
        await third.gets(OK)


async def test_a_body_follows_its_request_on_the_freed_connection() -> None:
    async with full_stage() as full:
        post = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 8")
        second = await full.waiting_client(post + b"half")
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(head("POST / HTTP/1.1", "Host: a", "Content-Length: 8") + b"half")
        await second.says(b"more")
        await full.upstream.gets(b"more")
        await full.upstream.says(OK)
        await second.gets(OK)


async def test_a_waiting_request_is_retried_when_its_reused_connection_closes() -> None:
    async with full_stage() as full:
        second = await full.waiting_client(get("/2"))
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(SENT)
        full.upstream.closes()
        await full.accept_more()
        fresh = await full.on.upstream()
        await fresh.gets(SENT)
        await fresh.says(OK)
        await second.gets(OK)


async def test_a_waiting_post_is_not_retried() -> None:
    async with full_stage() as full:
        second = await full.waiting_client(POST)
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(head("POST /2 HTTP/1.1", "Host: a", "Content-Length: 0"))
        full.upstream.closes()
        await second.gets_error(502, "connection_terminated")


async def test_a_tunnel_waits_for_a_new_connection() -> None:
    async with full_stage() as full:
        tunnel = await full.waiting_client(CONNECT)
        await full.upstream.says(OK)
        await full.client.gets(OK)
        # The connection is idle, and serves the next request.
        await full.client.says(get("/2"))
        await full.upstream.gets(SENT)
        await full.accept_more()
        far = await full.on.upstream()
        await tunnel.gets(ESTABLISHED)
        await far.says(b"hello")
        await tunnel.gets(b"hello")


async def test_a_client_that_disconnects_leaves_the_queue() -> None:
    async with full_stage() as full:
        second, third = await full.waiting_client(get("/1")), await full.waiting_client(get("/2"))
        second.resets()
        await full.settle()
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(SENT)
        await full.upstream.says(OK)
        await third.gets(OK)


async def test_a_service_that_hangs_does_not_delay_requests_for_another() -> None:
    async with deaf_port() as port, stage() as on:
        waiting = [await on.client() for _ in range(30)]
        for client in waiting:
            await client.says(get().replace(b"<port>", b"%d" % port))
        other, upstream = await on.pair()
        await upstream.says(OK)
        await other.gets(OK)
        for client in waiting:
            client.resets()


async def test_a_drain_waits_for_waiting_requests() -> None:
    async with full_stage() as full:
        second = await full.waiting_client(get("/2"))
        draining = asyncio.get_running_loop().create_task(full.on.proxy.drain(3600))
        await full.accept_more()
        upstream = await full.on.upstream()
        await upstream.gets(SENT)
        await upstream.says(OK)
        await full.upstream.says(OK)
        await full.client.gets_head()
        await second.gets_head()
        await second.gets_bytes(2)
        await full.client.gets_bytes(2)
        await later(draining)


async def test_a_waiting_client_is_closed_with_the_proxy() -> None:
    async with full_stage() as full:
        second = await full.waiting_client(get("/2"))
        await later(full.on.proxy.close())
        await second.gets_cut()
        await full.client.gets_cut()


async def test_all_requests_that_wait_for_a_closed_port_get_502() -> None:
    with closed_port() as port:
        async with stage() as on:
            clients = [await on.client() for _ in range(50)]
            for client in clients:
                await client.says(get().replace(b"<port>", b"%d" % port))
            for client in clients:
                await client.gets_error(502, "connection_refused")


# A real service with a backlog of five


@contextlib.asynccontextmanager
async def http_server(folder: Path) -> AsyncIterator[int]:
    """Run Python's HTTP server; return its port."""
    command = (sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0")
    server = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert server.stdout is not None
        yield int((await later(server.stdout.readline())).split()[5])
    finally:
        server.kill()
        await later(server.communicate())


async def status_of(proxy: Proxy, port: int) -> bytes:
    address = proxy.addresses[0]
    with await Wire.to("127.0.0.1", address.port) as wire:
        await wire.send(head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {port}"))
        received = b""
        while b"\r\n\r\n" not in received:
            received += await wire.receive()
        return received[:12]


async def test_a_hundred_concurrent_requests_to_the_http_server_of_python(tmp_path: Path) -> None:
    """Without pacing it takes 14 seconds, because the kernel drops most dials."""
    (tmp_path / "index.html").write_text("hello")
    async with http_server(tmp_path) as port, Proxy(local_config()) as proxy:
        statuses = await later(asyncio.gather(*(status_of(proxy, port) for _ in range(100))))
    assert statuses == [b"HTTP/1.1 200"] * 100


def test_a_second_connect_shows_a_full_backlog() -> None:
    """Pacing depends on it: on loopback, a second `connect` shows at once if the first is done."""
    if sys.platform != "linux":
        pytest.skip("this is what Linux does")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        connected = 0
        while connected < 20:
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            if sock.connect_ex(listener.getsockname()) != 0:
                break
            connected += 1
        assert connected == 6

"""Requests that wait for a connection to a service that accepts few at a time, or none."""

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


class Full:
    """A stage whose upstream has one connection, and takes no other until `takes_more`."""

    def __init__(self, on: Stage, client: Peer, upstream: Peer, filler: Wire) -> None:
        self.on = on
        self.client = client
        self.upstream = upstream
        self._filler = filler

    async def asks(self, request: bytes) -> Peer:
        """Return another client that has asked, and has to wait."""
        client = await self.on.client()
        await client.says(request)
        await self.settles()
        return client

    async def settles(self) -> None:
        """Let the proxy have read what was sent before."""
        client = await self.on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a"))
        await client.gets_error(400, "http_request_error")

    async def takes_more(self) -> None:
        """Let the upstream take as many connections as ever."""
        self.on.listener.sock.listen(4096)
        (await soon(self.on.listener.accept())).close()
        self._filler.close()


@contextlib.asynccontextmanager
async def full_stage() -> AsyncIterator[Full]:
    async with stage() as on:
        client, upstream = await on.pair()
        # A queue of length 0 has room for one.
        on.listener.sock.listen(0)
        with await Wire.to("127.0.0.1", on.port) as filler:
            yield Full(on, client, upstream, filler)


async def test_a_request_takes_the_connection_that_becomes_free() -> None:
    async with full_stage() as full:
        second, third = await full.asks(get("/2")), await full.asks(get("/3"))
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(SENT)
        await full.upstream.says(OK)
        await second.gets(OK)
        await full.upstream.gets(head("GET /3 HTTP/1.1", "Host: a"))
        await full.upstream.says(OK)
        await third.gets(OK)


async def test_a_body_follows_its_request_on_a_connection_that_became_free() -> None:
    async with full_stage() as full:
        post = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 8")
        second = await full.asks(post + b"half")
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(head("POST / HTTP/1.1", "Host: a", "Content-Length: 8") + b"half")
        await second.says(b"more")
        await full.upstream.gets(b"more")
        await full.upstream.says(OK)
        await second.gets(OK)


async def test_a_request_that_waited_is_sent_once_more_when_its_used_connection_dies() -> None:
    async with full_stage() as full:
        second = await full.asks(get("/2"))
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(SENT)
        full.upstream.closes()
        await full.takes_more()
        fresh = await full.on.upstream()
        await fresh.gets(SENT)
        await fresh.says(OK)
        await second.gets(OK)


async def test_any_other_request_that_waited_is_not() -> None:
    async with full_stage() as full:
        second = await full.asks(POST)
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(head("POST /2 HTTP/1.1", "Host: a", "Content-Length: 0"))
        full.upstream.closes()
        await second.gets_error(502, "connection_terminated")


async def test_a_tunnel_waits_for_a_connection_of_its_own() -> None:
    async with full_stage() as full:
        tunnel = await full.asks(CONNECT)
        await full.upstream.says(OK)
        await full.client.gets(OK)
        # It is idle, and the next request may have it.
        await full.client.says(get("/2"))
        await full.upstream.gets(SENT)
        await full.takes_more()
        far = await full.on.upstream()
        await tunnel.gets(ESTABLISHED)
        await far.says(b"hello")
        await tunnel.gets(b"hello")


async def test_a_client_that_leaves_gives_its_place_up() -> None:
    async with full_stage() as full:
        second, third = await full.asks(get("/1")), await full.asks(get("/2"))
        second.resets()
        await full.settles()
        await full.upstream.says(OK)
        await full.client.gets(OK)
        await full.upstream.gets(SENT)
        await full.upstream.says(OK)
        await third.gets(OK)


async def test_a_service_that_hangs_does_not_hold_the_requests_for_another() -> None:
    async with deaf_port() as port, stage() as on:
        waiting = [await on.client() for _ in range(30)]
        for client in waiting:
            await client.says(get().replace(b"<port>", b"%d" % port))
        other, upstream = await on.pair()
        await upstream.says(OK)
        await other.gets(OK)
        for client in waiting:
            client.resets()


async def test_a_drain_waits_for_those_who_wait() -> None:
    async with full_stage() as full:
        second = await full.asks(get("/2"))
        draining = asyncio.get_running_loop().create_task(full.on.proxy.drain(3600))
        await full.takes_more()
        upstream = await full.on.upstream()
        await upstream.gets(SENT)
        await upstream.says(OK)
        await full.upstream.says(OK)
        await full.client.gets_head()
        await second.gets_head()
        await second.gets_bytes(2)
        await full.client.gets_bytes(2)
        await later(draining)


async def test_who_waits_is_cut_when_the_proxy_closes() -> None:
    async with full_stage() as full:
        second = await full.asks(get("/2"))
        await later(full.on.proxy.close())
        await second.gets_cut()
        await full.client.gets_cut()


async def test_all_who_wait_for_a_port_that_refuses_are_told_after_one_round() -> None:
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
    """Start it, and return its port."""
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


async def test_a_hundred_requests_at_once_to_python_s_http_server(tmp_path: Path) -> None:
    """It takes 14 seconds where each request dials at once, since most are dropped again."""
    (tmp_path / "index.html").write_text("hello")
    async with http_server(tmp_path) as port, Proxy(local_config()) as proxy:
        told = await later(asyncio.gather(*(status_of(proxy, port) for _ in range(100))))
    assert told == [b"HTTP/1.1 200"] * 100


def test_a_full_queue_is_what_the_kernel_says_it_is() -> None:
    """What pacing rests on: on the loopback, a second question tells at once."""
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

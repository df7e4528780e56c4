"""Each of the `Limits` at its value and one above it, through real sockets."""

import asyncio
from typing import Any

import pytest

from cmux_proxy import Limits
from cmux_proxy.relay.tunnel import Tunnel
from tests.helpers.proxies import is_served, local_config, proxy_process
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import later, soon
from tests.helpers.wire import Wire, closed_port
from tests.network.test_back_pressure import SMALL, respond, send_until_stopped, tunnel, upload

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
CHUNKED = "Transfer-Encoding: chunked"


def limited(**limits: Any) -> Any:
    return stage(local_config(limits=Limits(**limits)))


def filled(size: int, *lines: str) -> tuple[str, ...]:
    """Return the lines and a padding line; a section of them has `size` bytes."""
    empty = len(head(*lines, "A: "))
    return (*lines, "A: " + "a" * (size - empty))


# Requests


@pytest.mark.parametrize("size", [16 * 1024, 100], ids=["default", "set"])
async def test_the_length_of_a_request_line_is_limited(size: int) -> None:
    path = "/" + "a" * (size - len(b"GET / HTTP/1.1\r\n"))
    async with limited(request_line=size) as on:
        client = await on.client()
        await client.says(get(path))
        await (await on.upstream()).gets(head(f"GET {path} HTTP/1.1", "Host: a"))
        other = await on.client()
        await other.says(get(path + "a"))
        await other.gets_error(414, "http_request_error", closes=True)


@pytest.mark.parametrize("size", [64 * 1024, 200], ids=["default", "set"])
async def test_the_size_of_a_header_section_is_limited(size: int) -> None:
    async with limited(header_section=size) as on:
        client = await on.client()
        lines = filled(size, "Host: a", ROUTE.replace("<port>", f"{on.port}"))
        await client.says(head("GET / HTTP/1.1", *lines))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a", lines[-1]))
        other = await on.client()
        await other.says(head("GET / HTTP/1.1", *lines[:-1], lines[-1] + "a"))
        await other.gets_error(431, "http_request_error", closes=True)


@pytest.mark.parametrize("count", [256, 3], ids=["default", "set"])
async def test_the_number_of_request_fields_is_limited(count: int) -> None:
    async with limited(header_fields=count) as on:
        client = await on.client()
        others = ["A: 1"] * (count - 2)
        await client.says(get("/", *others))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a", *others))
        other = await on.client()
        await other.says(get("/", *others, "A: 1"))
        await other.gets_error(431, "http_request_error", closes=True)


async def test_the_total_length_of_chunk_extensions_is_limited() -> None:
    async with limited(chunk_extensions=10) as on:
        client = await on.client()
        post = head("POST / HTTP/1.1", "Host: a", ROUTE, CHUNKED)
        body = b"1;a=bb\r\nx\r\n1;a=b\r\nx\r\n"
        await client.says(post + body)
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.gets(body)
        await client.says(b"1;a\r\n")
        await client.gets_error(400, "http_request_error", closes=True)
        assert await upstream.gets_cut() == b""


@pytest.mark.parametrize("is_too_large", [False, True], ids=["at the limit", "above it"])
async def test_the_size_of_trailers_is_limited(is_too_large: bool) -> None:
    async with limited(trailers=10) as on:
        client = await on.client()
        trailer = b"A: 12345\r\n" if not is_too_large else b"A: 123456\r\n"
        post = head("POST / HTTP/1.1", "Host: a", ROUTE, CHUNKED)
        await client.says(post + b"0\r\n")
        upstream = await on.upstream()
        await upstream.gets_head()
        await client.says(trailer + b"\r\n")
        if is_too_large:
            await client.gets_error(400, "http_request_error", closes=True)
            await upstream.gets_cut()
        else:
            await upstream.gets(b"0\r\n" + trailer + b"\r\n")


# Responses


@pytest.mark.parametrize("size", [128 * 1024, 100], ids=["default", "set"])
async def test_the_size_of_a_response_head_is_limited(size: int) -> None:
    async with limited(response_head=size) as on:
        client, upstream = await on.pair()
        lines = filled(size, "Content-Length: 0")
        await upstream.says(head("HTTP/1.1 200 OK", *lines))
        await client.gets(head("HTTP/1.1 200 OK", *lines))
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", *lines[:-1], lines[-1] + "a"))
        text = await client.gets_error(502, "http_protocol_error")
        assert text.endswith("the header section is too large")
        assert await upstream.gets_cut() == b""


@pytest.mark.parametrize("count", [1024, 3], ids=["default", "set"])
async def test_the_number_of_response_fields_is_limited(count: int) -> None:
    async with limited(response_fields=count) as on:
        client, upstream = await on.pair()
        lines = ["A: 1"] * (count - 1)
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 0", *lines))
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 0", *lines))
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 0", *lines, "A: 1"))
        await client.gets_error(502, "http_protocol_error")
        assert await upstream.gets_cut() == b""


# Clients


async def test_beyond_max_clients_the_next_client_waits(loop_name: str) -> None:
    async with proxy_process(loop_name, "--max-clients", "3") as proxy:
        # All connect at once, so that none is accepted before the limit applies.
        wires = [await Wire.to("127.0.0.1", proxy.port) for _ in range(6)]
        for wire in wires[:3]:
            await is_served(wire)
        for wire in wires[3:]:
            await wire.send(head("GET / HTTP/1.1", "Host: a"))
        for turn in range(3):
            await is_served(wires[turn + 2])
            assert [wire.take_arrived() for wire in wires[turn + 3 :]] == [b""] * (3 - turn)
            wires[turn].close()
            await is_served(wires[turn + 3])
        for wire in wires:
            wire.close()
        await proxy.stop()


async def test_beyond_the_connections_per_address_the_next_one_gets_503() -> None:
    async with limited(clients_per_address=2) as on:
        first, _upstream = await on.tunnel()
        second = await on.client()
        third = await on.client()
        text = await third.gets_error(
            503, "connection_limit_reached", "Retry-After: 1", closes=True
        )
        assert text == "this address has too many connections (--max-clients-per-address)"
        third.closes()
        await second.says(get())
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await second.gets(OK)
        # A tunnel counts until both sides have closed.
        first.resets()
        await _upstream.gets_reset()
        await on.serves()


# Upstreams


async def test_beyond_the_connections_per_port_the_next_request_gets_503() -> None:
    async with limited(upstream_connections=2) as on:
        first, upstream = await on.pair()
        _tunnel, far = await on.tunnel()
        third = await on.client()
        await third.says(get())
        text = await third.gets_error(503, "connection_limit_reached", "Retry-After: 1")
        assert text == (
            f"127.0.0.1:{on.port} has as many connections as it may have "
            "(--max-upstream-connections)"
        )
        # The connection is free again, and is reused.
        await upstream.says(OK)
        await first.gets(OK)
        await third.says(get("/3"))
        await upstream.gets(head("GET /3 HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await third.gets(OK)
        far.closes()
        _tunnel.closes()


async def test_an_idle_connection_makes_room_for_a_tunnel() -> None:
    async with limited(upstream_connections=1) as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        _client, far = await on.tunnel()
        await upstream.gets_end()
        far.ends()


@pytest.mark.parametrize(
    "end", ["closed", "reset", "tunnel", "no response", "retried", "client gone"]
)
async def test_a_closed_connection_makes_room(end: str) -> None:
    async with limited(upstream_connections=1) as on:
        await _have_one_connection(on, end)
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)


async def test_a_finished_dial_makes_room() -> None:
    with closed_port() as port:
        async with limited(upstream_connections=1) as on:
            request = get().replace(b"<port>", b"%d" % port)
            client, other = await on.client(), await on.client()
            for _ in range(2):
                await client.says(request)
                await client.gets_error(502, "connection_refused")
            await client.says(get("/", "X-Cmux-Wait: 60s").replace(b"<port>", b"%d" % port))
            while not await _is_full(other, request):
                pass
            client.resets()
            while await _is_full(other, request):
                pass


async def _is_full(client: Peer, request: bytes) -> bool:
    """Return whether the limit refuses a request before its dial; the port refuses connections."""
    await client.says(request)
    response = await client.gets_head()
    await client.gets_bytes(int(response.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
    assert b"connection_limit_reached" in response or b"connection_refused" in response
    return b"connection_limit_reached" in response


async def _have_one_connection(on: Stage, end: str) -> None:
    if end == "tunnel":
        client, upstream = await on.tunnel()
        client.ends()
        await upstream.gets_end()
        upstream.ends()
        await client.gets_end()
        return
    client, upstream = await on.pair()
    if end == "client gone":
        client.resets()
        assert await upstream.gets_cut() == b""
    elif end == "closed":
        await upstream.says(head("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 0"))
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 0"))
        await upstream.gets_end()
    elif end == "reset":
        upstream.resets()
        await client.gets_error(502, "connection_terminated")
    elif end == "no response":
        upstream.closes()
        await client.gets_error(502, "connection_terminated")
    else:
        await upstream.says(OK)
        await client.gets(OK)
        await client.says(get("/again"))
        await upstream.gets(head("GET /again HTTP/1.1", "Host: a"))
        upstream.closes()
        fresh = await on.upstream()
        await fresh.gets(head("GET /again HTTP/1.1", "Host: a"))
        await fresh.says(head("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 0"))
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 0"))


# What is buffered

BYTES = bytes(range(256)) * 256
LARGE = 96 * 1024 * 1024
FLOWS: dict[str, Any] = {
    "a response": lambda on: respond(on, f"Content-Length: {LARGE}", "1.1"),
    "a request": lambda on: upload(on, f"Content-Length: {LARGE}"),
    "a tunnel, up": lambda on: tunnel(on, False, True),
    "a tunnel, down": lambda on: tunnel(on, True, False),
}


def buffered(on: Stage) -> int:
    """Return the largest write buffer of the proxy's connections, in bytes."""
    services = on.proxy.services
    sides: list[Any] = []
    client: Any
    for client in services.registry.clients:
        exchange = client.exchange
        sides += [client] if exchange is None else [client, exchange.upstream.connection]
    for opened in services.registry.tunnels:
        assert isinstance(opened, Tunnel)
        sides += [opened.client, opened.upstream]
    return max(int(side.transport.get_write_buffer_size()) for side in sides)


@pytest.mark.parametrize("size", [16 * 1024, 100_000, 256 * 1024])
@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
async def test_no_more_than_the_limit_is_buffered(flow: Any, size: int) -> None:
    config = local_config(limits=Limits(buffer=size))
    async with stage(config, buffer=SMALL) as on:
        sender: Peer
        sender, reader = await flow(on)
        total, _end = await send_until_stopped(on, sender, BYTES)
        max_buffered = buffered(on)
        # The kernel has more bytes now than one read may take.
        while len(reader.wire.received) < total:
            await later(reader.wire.receive())
            max_buffered = max(max_buffered, buffered(on))
        assert max_buffered <= size
        reader.ignores_more()
        sender.ignores_more()


async def test_large_transfers_arrive_with_a_small_buffer() -> None:
    async with limited(buffer=16 * 1024) as on:
        client, upstream = await on.pair()
        content = BYTES * 64
        await upstream.says(head("HTTP/1.1 200 OK", f"Content-Length: {len(content)}"))
        sending = asyncio.get_running_loop().create_task(upstream.wire.send(content))
        await client.gets_head()
        assert await client.gets_bytes(len(content)) == content
        await soon(sending)
        near, far = await on.tunnel()
        sending = asyncio.get_running_loop().create_task(near.wire.send(content))
        assert await far.gets_bytes(len(content)) == content
        await soon(sending)
        near.ends()
        await far.gets_end()

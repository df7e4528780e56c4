"""CONNECT: the response follows the dial (contract, section 4)."""

import pytest

from cmux_proxy import Timeouts
from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, get, head, stage
from tests.helpers.timing import MS
from tests.helpers.wire import deaf_port

CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE)


async def test_connect_gets_200_after_the_dial_and_becomes_a_tunnel() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(CONNECT)
        await client.gets(ESTABLISHED)
        upstream = await on.upstream()
        await client.says(b"\x00GET / HTTP/1.1\r\n\r\n")
        await upstream.gets(b"\x00GET / HTTP/1.1\r\n\r\n")
        await upstream.says(b"HTTP/1.1 200 OK\r\n\r\n\xff")
        await client.gets(b"HTTP/1.1 200 OK\r\n\r\n\xff")


async def test_an_upstream_may_send_first() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(CONNECT)
        upstream = await on.upstream()
        await upstream.says(b"220 ready\r\n")
        await client.gets(ESTABLISHED + b"220 ready\r\n")


@pytest.mark.parametrize("count", [1, 5_000, 100_000])
async def test_bytes_directly_after_the_head_are_delivered(count: int) -> None:
    early = (bytes(range(256)) * (count // 256 + 1))[:count]
    async with stage() as on:
        client = await on.client()
        await client.says(CONNECT + early)
        upstream = await on.upstream()
        await upstream.gets(early)
        await client.gets(ESTABLISHED)
        await client.says(b"later")
        await upstream.gets(b"later")


async def test_a_closed_port_is_a_502_and_never_a_200() -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        await client.says(CONNECT + b"early")
        await client.gets_error(502, "connection_refused", closes=True)


async def test_a_port_that_accepts_no_connection_is_a_504() -> None:
    config = local_config(timeouts=Timeouts(connect=100 * MS))
    async with deaf_port() as port, stage(config) as on:
        client = await on.client()
        await client.says(CONNECT.replace(b"<port>", b"%d" % port))
        text = await client.gets_error(504, "connection_timeout", closes=True)
        assert text == f"no connection to 127.0.0.1:{port} within {100 * MS:g} s"


async def test_connect_never_uses_a_pooled_connection() -> None:
    async with stage() as on:
        other, pooled = await on.pair()
        await pooled.says(head("HTTP/1.1 204 No Content"))
        await other.gets(head("HTTP/1.1 204 No Content"))
        client = await on.client()
        await client.says(CONNECT)
        upstream = await on.upstream()
        await client.gets(ESTABLISHED)
        await client.says(b"x")
        await upstream.gets(b"x")
        # The pooled connection serves the next request.
        await other.says(get("/2"))
        await pooled.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_connect_may_be_the_second_request_of_a_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get() + CONNECT + b"early")
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content") + ESTABLISHED)
        await (await on.upstream()).gets(b"early")


async def test_connect_from_an_http10_client_is_served() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("CONNECT a:1 HTTP/1.0", ROUTE))
        upstream = await on.upstream()
        await client.gets(ESTABLISHED)
        await upstream.says(b"x")
        await client.gets(b"x")


@pytest.mark.parametrize(
    "field", ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: x"]
)
async def test_connect_has_no_body(field: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE, field))
        await client.gets_error(400, "http_request_error", closes=True)
        await on.nothing_reached_upstream()


async def test_connect_with_a_length_of_zero_is_served() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 0"))
        await on.upstream()
        await client.gets(ESTABLISHED)


async def test_early_bytes_and_a_half_close_during_the_dial_are_passed_on() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(CONNECT + b"all of it")
        client.ends()
        upstream = await on.upstream()
        await upstream.gets(b"all of it")
        await upstream.gets_end()
        await upstream.says(b"bye")
        upstream.ends()
        await client.gets(ESTABLISHED + b"bye")
        await client.gets_end()

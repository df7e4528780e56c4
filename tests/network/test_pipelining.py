"""Several requests on one connection get their responses in order (contract, section 2)."""

import asyncio
import re

import pytest

from tests.helpers.script import ROUTE, get, head, stage
from tests.helpers.timing import soon

NO_CONTENT = head("HTTP/1.1 204 No Content")
REFUSED = head("GET /bad HTTP/1.1", "Host: a")


async def test_pipelined_requests_are_forwarded_one_by_one() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/1") + get("/2") + get("/3"))
        upstream = await on.upstream()
        for number in (1, 2, 3):
            await upstream.gets(head(f"GET /{number} HTTP/1.1", "Host: a"))
            response = head("HTTP/1.1 200 OK", "Content-Length: 1") + b"%d" % number
            await upstream.says(response)
            await client.gets(response)


async def test_a_pipelined_request_waits_for_the_response_to_the_first() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/1") + get("/2"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"o")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"o")
        assert upstream.wire.take_arrived() == b""
        await upstream.says(b"k")
        await client.gets(b"k")
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_pipelined_requests_may_have_bodies_and_any_split() -> None:
    async with stage() as on:
        client = await on.client()
        requests = (
            head("POST /1 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 3")
            + b"abc"
            + head("PUT /2 HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked")
            + b"2\r\nde\r\n0\r\n\r\n"
            + get("/3")
        ).replace(b"<port>", str(on.port).encode())
        for at in range(0, len(requests), 7):
            await client.says(requests[at : at + 7])
        upstream = await on.upstream()
        await upstream.gets(head("POST /1 HTTP/1.1", "Host: a", "Content-Length: 3") + b"abc")
        await upstream.says(NO_CONTENT)
        await upstream.gets(
            head("PUT /2 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
            + b"2\r\nde\r\n0\r\n\r\n"
        )
        await upstream.says(NO_CONTENT)
        await upstream.gets(head("GET /3 HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT * 3)


async def test_errors_of_the_proxy_are_in_order_with_the_responses() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(REFUSED + get("/1") + REFUSED + REFUSED + get("/2") + REFUSED)
        upstream = await on.upstream()
        await client.gets_error(400, "http_request_error")
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.gets_error(400, "http_request_error")
        await client.gets_error(400, "http_request_error")
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.gets_error(400, "http_request_error")


async def test_requests_after_a_malformed_one_are_ignored() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(REFUSED + head("GET / HTTP/1.1", "Host : a", ROUTE) + get("/1"))
        await client.gets_error(400, "http_request_error")
        await client.gets_error(400, "http_request_error", closes=True)
        await on.nothing_reached_upstream()


async def test_requests_after_connection_close_are_ignored() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/1", "Connection: close") + get("/2"))
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets_end()
        upstream.ends()
        await upstream.gets_end()
        await on.nothing_reached_upstream()


async def test_ten_thousand_refused_requests_get_ten_thousand_responses() -> None:
    count = 10_000
    async with stage() as on:
        client = await on.client()
        wire = client.wire
        sending = asyncio.get_running_loop().create_task(wire.send(REFUSED * count))
        responses = 0
        tail = b""
        while responses < count:
            data = tail + await soon(wire.receive())
            assert len(data) > len(tail), "the connection ended early"
            matches = list(re.finditer(rb"HTTP/1\.1 400 Bad Request\r\n", data))
            responses += len(matches)
            tail = data[matches[-1].end() :] if matches else data
        await soon(sending)
        await client.says(get())
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a"))
        client.ignores_more()


async def test_many_valid_and_refused_requests_are_served_in_order() -> None:
    count = 300
    async with stage() as on:
        client = await on.client()
        requests = b"".join(
            get(f"/{number}") if number % 3 else REFUSED for number in range(count)
        ).replace(b"<port>", str(on.port).encode())
        sending = asyncio.get_running_loop().create_task(client.wire.send(requests))
        upstream = None
        for number in range(count):
            if number % 3 == 0:
                await client.gets_error(400, "http_request_error")
                continue
            upstream = upstream or await on.upstream()
            await upstream.gets(head(f"GET /{number} HTTP/1.1", "Host: a"))
            await upstream.says(NO_CONTENT)
            await client.gets(NO_CONTENT)
        await soon(sending)


@pytest.mark.parametrize("empty_lines", [b"\r\n", b"\r\n\r\n"], ids=["one", "two"])
async def test_empty_lines_after_a_body_are_ignored(empty_lines: bytes) -> None:
    async with stage() as on:
        request = head("POST /1 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 1") + b"x"
        client, upstream = await on.pair(request + empty_lines + get("/2"))
        await upstream.gets(head("POST /1 HTTP/1.1", "Host: a", "Content-Length: 1") + b"x")
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_after_a_half_close_all_pipelined_requests_get_their_responses() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/1") + REFUSED + get("/2"))
        client.ends()
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.gets_error(400, "http_request_error")
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.gets_end()
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.gets_end()

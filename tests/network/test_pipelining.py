"""Several requests on one connection, answered in order (contract, section 2)."""

import asyncio
import re

import pytest

from tests.helpers.script import ROUTE, get, head, stage
from tests.helpers.timing import soon

NO_CONTENT = head("HTTP/1.1 204 No Content")
REFUSED = head("GET /bad HTTP/1.1", "Host: a")


async def test_pipelined_requests_are_sent_one_by_one_and_answered_in_order() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/1") + get("/2") + get("/3"))
        upstream = await on.upstream()
        for number in (1, 2, 3):
            await upstream.gets(head(f"GET /{number} HTTP/1.1", "Host: a"))
            answer = head("HTTP/1.1 200 OK", "Content-Length: 1") + b"%d" % number
            await upstream.says(answer)
            await client.gets(answer)


async def test_a_pipelined_request_is_not_sent_before_the_answer_to_the_first() -> None:
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


async def test_pipelined_requests_may_have_bodies_and_be_cut_anywhere() -> None:
    async with stage() as on:
        client = await on.client()
        several = (
            head("POST /1 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 3")
            + b"abc"
            + head("PUT /2 HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked")
            + b"2\r\nde\r\n0\r\n\r\n"
            + get("/3")
        ).replace(b"<port>", str(on.port).encode())
        for at in range(0, len(several), 7):
            await client.says(several[at : at + 7])
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


async def test_errors_of_our_own_keep_their_place_among_the_answers() -> None:
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


async def test_nothing_behind_a_malformed_request_is_answered_or_sent() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(REFUSED + head("GET / HTTP/1.1", "Host : a", ROUTE) + get("/1"))
        await client.gets_error(400, "http_request_error")
        await client.gets_error(400, "http_request_error", closes=True)
        await on.nothing_reached_upstream()


async def test_nothing_behind_a_request_that_says_close_is_sent() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/1", "Connection: close") + get("/2"))
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets_end()
        upstream.ends()
        await upstream.gets_end()
        await on.nothing_reached_upstream()


async def test_ten_thousand_refused_requests_get_ten_thousand_answers() -> None:
    count = 10_000
    async with stage() as on:
        client = await on.client()
        wire = client.wire
        sending = asyncio.get_running_loop().create_task(wire.send(REFUSED * count))
        answers = 0
        tail = b""
        while answers < count:
            data = tail + await soon(wire.receive())
            assert len(data) > len(tail), "the connection ended early"
            found = list(re.finditer(rb"HTTP/1\.1 400 Bad Request\r\n", data))
            answers += len(found)
            tail = data[found[-1].end() :] if found else data
        await soon(sending)
        await client.says(get())
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a"))
        client.ignores_more()


async def test_many_pipelined_requests_of_all_kinds_wait_for_their_turn() -> None:
    count = 300
    async with stage() as on:
        client = await on.client()
        many = b"".join(
            get(f"/{number}") if number % 3 else REFUSED for number in range(count)
        ).replace(b"<port>", str(on.port).encode())
        sending = asyncio.get_running_loop().create_task(client.wire.send(many))
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


@pytest.mark.parametrize("behind", [b"\r\n", b"\r\n\r\n"], ids=["one", "two"])
async def test_empty_lines_behind_a_body_are_passed_over(behind: bytes) -> None:
    async with stage() as on:
        request = head("POST /1 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 1") + b"x"
        client, upstream = await on.pair(request + behind + get("/2"))
        await upstream.gets(head("POST /1 HTTP/1.1", "Host: a", "Content-Length: 1") + b"x")
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_a_client_that_half_closes_behind_its_pipelined_requests_gets_all_answers() -> None:
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

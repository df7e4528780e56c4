"""HTTP/1.0 clients and upstreams (contract, section 2)."""

import pytest

from tests.helpers.script import ROUTE, get, head, stage

CHUNKED = head("HTTP/1.1 200 OK", "A: 1", "Transfer-Encoding: chunked", "B: 2")


async def test_an_http10_request_is_forwarded_as_http11_and_ends_with_a_close() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok")
        await client.gets_end()


async def test_a_host_is_added_to_an_http10_request_without_one() -> None:
    async with stage() as on:
        _client, upstream = await on.pair(head("GET /a HTTP/1.0", "A: 1", ROUTE))
        await upstream.gets(head("GET /a HTTP/1.1", "Host: 127.0.0.1:<port>", "A: 1"))


async def test_keep_alive_of_an_http10_client_is_granted() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/1", "Connection: Keep-Alive", version="1.0"))
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        await client.gets(
            head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: keep-alive") + b"ok"
        )
        await client.says(get("/2", version="1.0"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets_end()


async def test_a_chunked_response_is_decoded_for_an_http10_client_and_ends_with_a_close() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", "Connection: keep-alive", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(CHUNKED)
        await client.gets(head("HTTP/1.1 200 OK", "A: 1", "B: 2", "Connection: close"))
        await upstream.says(b"3;x=y\r\nabc\r\n")
        await client.gets(b"abc")
        await upstream.says(b"2\r\nd")
        await client.gets(b"d")
        await upstream.says(b"e\r\n0\r\nTrailer: dropped\r\n\r\n")
        await client.gets(b"e")
        await client.gets_end()
        # The upstream speaks HTTP/1.1, so its connection is reused.
        other = await on.client()
        await other.says(get("/again"))
        await upstream.gets(head("GET /again HTTP/1.1", "Host: a"))


async def test_a_chunked_response_in_one_read_is_decoded() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(CHUNKED + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
        await client.gets(head("HTTP/1.1 200 OK", "A: 1", "B: 2", "Connection: close") + b"abcd")
        await client.gets_end()


async def test_a_response_until_close_ends_with_a_close_for_an_http10_client() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.0 200 OK", "A: b") + b"some")
        await client.gets(head("HTTP/1.1 200 OK", "A: b", "Connection: close") + b"some")
        await upstream.says(b" more")
        await client.gets(b" more")
        upstream.closes()
        await client.gets_end()


async def test_a_response_until_close_is_chunked_for_an_http11_client() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.0 200 OK", "A: b") + b"some")
        await client.gets(
            head("HTTP/1.1 200 OK", "A: b", "Transfer-Encoding: chunked") + b"4\r\nsome\r\n"
        )
        await upstream.says(b" more and more")
        await client.gets(b"e\r\n more and more\r\n")
        upstream.ends()
        await client.gets(b"0\r\n\r\n")
        await client.says(get("/next"))
        fresh = await on.upstream()
        await fresh.gets(head("GET /next HTTP/1.1", "Host: a"))


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
async def test_an_empty_response_until_close_stays_empty(status: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head(f"HTTP/1.1 {status}"))
        await client.gets(head(f"HTTP/1.1 {status}", "Transfer-Encoding: chunked"))
        upstream.closes()
        await client.gets(b"0\r\n\r\n")


async def test_head_from_an_http10_client_with_keep_alive_keeps_the_connection() -> None:
    async with stage() as on:
        request = head("HEAD / HTTP/1.0", "Host: a", ROUTE, "Connection: keep-alive")
        client, upstream = await on.pair(request)
        await upstream.gets(head("HEAD / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "A: b"))
        # RFC 9112 section 6.1: HTTP/1.0 gets no Transfer-Encoding, not even in response to HEAD.
        await client.gets(head("HTTP/1.1 200 OK", "A: b", "Connection: keep-alive"))
        await client.says(request)
        another = await on.upstream()
        await another.gets(head("HEAD / HTTP/1.1", "Host: a"))


async def test_transfer_encoding_in_an_http10_request_gets_400() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(
            head("POST / HTTP/1.0", "Host: a", ROUTE, "Transfer-Encoding: chunked") + b"0\r\n\r\n"
        )
        await client.gets_error(400, "http_request_error", closes=True)
        await on.nothing_reached_upstream()


async def test_a_chunked_http10_response_is_forwarded_and_its_connection_closes() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        fields = ["Connection: keep-alive", "Transfer-Encoding: chunked"]
        await upstream.says(head("HTTP/1.0 200 OK", *fields) + b"2\r\nok\r\n0\r\n\r\n")
        response = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
        await client.gets(response + b"2\r\nok\r\n0\r\n\r\n")
        await upstream.gets_end()
        await on.nothing_reached_upstream()


async def test_an_error_closes_an_http10_connection() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.0"))
        await client.gets_error(400, "http_request_error", closes=True)


async def test_an_http10_upstream_connection_with_keep_alive_is_reused() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(
            head("HTTP/1.0 200 OK", "Connection: keep-alive", "Content-Length: 2") + b"ok"
        )
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))

"""Bodies are streamed in both directions, also at the same time (contract, section 2)."""

import pytest

from tests.helpers.script import ROUTE, get, head, stage

NO_CONTENT = head("HTTP/1.1 204 No Content")


def post(*fields: str, path: str = "/") -> bytes:
    """Return the head of a POST."""
    return head(f"POST {path} HTTP/1.1", "Host: a", ROUTE, *fields)


def sent(*fields: str, path: str = "/") -> bytes:
    """Return the forwarded head of the POST."""
    return head(f"POST {path} HTTP/1.1", "Host: a", *fields)


async def test_a_request_head_and_body_bytes_are_forwarded_as_they_arrive() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Content-Length: 6"))
        await upstream.gets(sent("Content-Length: 6"))
        for data in (b"a", b"bcd", b"ef"):
            await client.says(data)
            await upstream.gets(data)
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_a_chunked_request_is_forwarded_unchanged_as_it_arrives() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked"))
        await upstream.gets(sent("Transfer-Encoding: chunked"))
        for data in (b"3\r\nabc\r\n", b'0005;a=b;c="d e"\r\nde', b"fgh\r\n", b"0\r\n\r\n"):
            await client.says(data)
            await upstream.gets(data)
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(get("/next"))
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))


async def test_a_chunked_body_may_arrive_byte_by_byte() -> None:
    async with stage() as on:
        body = b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nSum: 1\r\n\r\n"
        client, upstream = await on.pair(post("Transfer-Encoding: chunked"))
        for byte in body:
            await client.says(bytes([byte]))
        await upstream.gets(sent("Transfer-Encoding: chunked") + body)
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        for byte in body:
            await upstream.says(bytes([byte]))
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + body)


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "image/png"])
async def test_a_response_is_forwarded_as_it_arrives_for_any_content_type(
    content_type: str,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        start = head("HTTP/1.1 200 OK", f"Content-Type: {content_type}", "Content-Length: 7")
        await upstream.says(start)
        await client.gets(start)
        for data in (b"a", b"bc", b"defg"):
            await upstream.says(data)
            await client.gets(data)


async def test_a_chunked_response_is_forwarded_unchanged_as_it_arrives() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        for data in (b"1\r\na\r\n", b"A;x\r\n0123", b"456789\r\n", b"0\r\n\r\n"):
            await upstream.says(data)
            await client.gets(data)
        await client.says(get("/next"))
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "X"])
async def test_any_method_may_have_a_body(method: str) -> None:
    async with stage() as on:
        request = head(f"{method} / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 3") + b"abc"
        _client, upstream = await on.pair(request)
        await upstream.gets(head(f"{method} / HTTP/1.1", "Host: a", "Content-Length: 3") + b"abc")


async def test_both_bodies_are_streamed_at_the_same_time() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked"))
        await upstream.gets(sent("Transfer-Encoding: chunked"))
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        for number in range(20):
            data = b"2\r\n%02d\r\n" % number
            await client.says(data)
            await upstream.gets(data)
            await upstream.says(data)
            await client.gets(data)
        await client.says(b"0\r\n\r\n")
        await upstream.gets(b"0\r\n\r\n")
        await upstream.says(b"0\r\n\r\n")
        await client.gets(b"0\r\n\r\n")


async def test_a_response_may_end_before_the_request_body_and_keeps_the_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Content-Length: 10"))
        await upstream.gets(sent("Content-Length: 10"))
        response = head("HTTP/1.1 200 OK", "Content-Length: 5") + b"early"
        await upstream.says(response)
        await client.gets(response)
        await client.says(b"01234")
        await upstream.gets(b"01234")
        await client.says(b"56789" + get("/next"))
        await upstream.gets(b"56789")
        fresh = await on.upstream()
        await fresh.gets(head("GET /next HTTP/1.1", "Host: a"))
        await fresh.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_an_early_response_with_connection_close_is_delivered() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Content-Length: 10") + b"0123")
        await upstream.gets(sent("Content-Length: 10") + b"0123")
        await upstream.says(
            head("HTTP/1.1 413 Too Large", "Connection: close", "Content-Length: 5") + b"large"
        )
        upstream.closes()
        await client.gets(
            head("HTTP/1.1 413 Too Large", "Content-Length: 5", "Connection: close") + b"large"
        )
        await client.gets_end()
        # Further bytes are read and dropped, so that no reset destroys the response.
        await client.says(b"456789")


async def test_an_early_response_is_delivered_if_the_upstream_closes_without_announcement() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Content-Length: 10") + b"0123")
        await upstream.gets(sent("Content-Length: 10") + b"0123")
        response = head("HTTP/1.1 413 Too Large", "Content-Length: 5") + b"large"
        await upstream.says(response)
        await client.gets(response)
        upstream.ends()
        await client.gets_end()
        await client.says(b"456789")


async def test_an_early_response_until_close_is_delivered() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Content-Length: 10") + b"0123")
        await upstream.gets(sent("Content-Length: 10") + b"0123")
        await upstream.says(head("HTTP/1.1 400 Bad Request") + b"bad")
        upstream.ends()
        await client.gets(
            head("HTTP/1.1 400 Bad Request", "Transfer-Encoding: chunked", "Connection: close")
            + b"3\r\nbad\r\n0\r\n\r\n"
        )
        await client.gets_end()


async def test_a_malformed_chunk_after_the_response_has_started_cuts_both_connections() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked"))
        await upstream.gets(sent("Transfer-Encoding: chunked"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        await client.says(b"+5\r\n")
        assert await client.gets_cut() == b""
        assert await upstream.gets_cut() == b""


async def test_a_malformed_chunk_before_the_response_gets_400_and_the_upstream_no_end() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked") + b"1\r\na\r\n")
        await upstream.gets(sent("Transfer-Encoding: chunked") + b"1\r\na\r\n")
        await client.says(b"2\r\nabX")
        await client.gets_error(400, "http_request_error", closes=True)
        remaining = await upstream.gets_cut()
        assert b"X" not in remaining
        assert not remaining.endswith(b"0\r\n\r\n")


async def test_trailers_are_forwarded_without_forbidden_fields() -> None:
    trailers = (
        b"X-Sum: 1\r\nContent-Length: 5\r\nx-sum: 2\r\nHost: b\r\nX-Cmux-Port-Internal: 1\r\n"
    )
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked", "Trailer: X-Sum"))
        await upstream.gets(sent("Transfer-Encoding: chunked", "Trailer: X-Sum"))
        await client.says(b"1\r\na\r\n0\r\n" + trailers + b"\r\n")
        await upstream.gets(b"1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n")
        response = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: Sum")
        await upstream.says(response + b"0\r\nSum: 1\r\nSet-Cookie: a=b\r\nAge: 1\r\n\r\n")
        await client.gets(response + b"0\r\nSum: 1\r\n\r\n")
        await client.says(get("/next"))
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))


@pytest.mark.parametrize(
    ("request_head", "response", "announces_a_body"),
    [
        pytest.param(
            head("HEAD / HTTP/1.1", "Host: a", ROUTE),
            head("HTTP/1.1 200 OK", "Content-Length: 1000"),
            True,
            id="HEAD with a length",
        ),
        pytest.param(
            head("HEAD / HTTP/1.1", "Host: a", ROUTE),
            head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
            True,
            id="HEAD, chunked",
        ),
        pytest.param(
            head("HEAD / HTTP/1.1", "Host: a", ROUTE),
            head("HTTP/1.1 200 OK"),
            False,
            id="HEAD alone",
        ),
        pytest.param(get(), head("HTTP/1.1 204 No Content", "A: b"), False, id="204"),
        pytest.param(get(), head("HTTP/1.1 304 Not Modified", "ETag: x"), False, id="304"),
        pytest.param(
            get(),
            head("HTTP/1.1 304 Not Modified", "Content-Length: 9"),
            True,
            id="304 with a length",
        ),
        pytest.param(get(), head("HTTP/1.1 200 OK", "Content-Length: 0"), False, id="length 0"),
    ],
)
async def test_a_response_without_a_body_ends_with_its_head(
    request_head: bytes, response: bytes, announces_a_body: bool
) -> None:
    async with stage() as on:
        client, upstream = await on.pair(request_head)
        await upstream.gets(request_head.replace(ROUTE.encode() + b"\r\n", b""))
        await upstream.says(response)
        await client.gets(response)
        await client.says(get("/next"))
        if announces_a_body:
            # A body may arrive late, so the connection is not reused.
            await upstream.gets_end()
            upstream = await on.upstream()
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_bytes_after_a_response_to_head_are_dropped() -> None:
    async with stage() as on:
        client, upstream = await on.pair(head("HEAD / HTTP/1.1", "Host: a", ROUTE))
        await upstream.gets(head("HEAD / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 4") + b"body")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 4"))
        await upstream.gets_end()
        await client.says(get("/next"))
        await (await on.upstream()).gets(head("GET /next HTTP/1.1", "Host: a"))


async def test_a_body_of_many_reads_arrives_completely_in_both_directions() -> None:
    body = bytes(range(256)) * 16_384
    async with stage() as on:
        client, upstream = await on.pair(post(f"Content-Length: {len(body)}"))
        await upstream.gets(sent(f"Content-Length: {len(body)}"))
        # A step fits into the buffers, so that it can be sent before it is read.
        step = 65_536
        for at in range(0, len(body), step):
            await client.says(body[at : at + step])
            assert await upstream.gets_bytes(step) == body[at : at + step]
        await upstream.says(head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}"))
        await client.gets_head()
        for at in range(0, len(body), step):
            await upstream.says(body[at : at + step])
            assert await client.gets_bytes(step) == body[at : at + step]

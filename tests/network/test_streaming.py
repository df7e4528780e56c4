"""Bodies stream both ways, piece by piece and at the same time (contract, section 2)."""

import pytest

from tests.helpers.script import ROUTE, get, head, stage

NO_CONTENT = head("HTTP/1.1 204 No Content")


def post(*fields: str, path: str = "/") -> bytes:
    """Return the head of a POST."""
    return head(f"POST {path} HTTP/1.1", "Host: a", ROUTE, *fields)


def sent(*fields: str, path: str = "/") -> bytes:
    """Return what becomes of it."""
    return head(f"POST {path} HTTP/1.1", "Host: a", *fields)


async def test_a_request_head_leaves_before_its_body_and_each_piece_as_it_comes() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Content-Length: 6"))
        await upstream.gets(sent("Content-Length: 6"))
        for piece in (b"a", b"bcd", b"ef"):
            await client.says(piece)
            await upstream.gets(piece)
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_a_chunked_request_passes_through_piece_by_piece_unchanged() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked"))
        await upstream.gets(sent("Transfer-Encoding: chunked"))
        for piece in (b"3\r\nabc\r\n", b'0005;a=b;c="d e"\r\nde', b"fgh\r\n", b"0\r\n\r\n"):
            await client.says(piece)
            await upstream.gets(piece)
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(get("/next"))
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))


async def test_a_chunked_body_may_come_byte_by_byte() -> None:
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
async def test_a_response_leaves_piece_by_piece_whatever_its_type(content_type: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        start = head("HTTP/1.1 200 OK", f"Content-Type: {content_type}", "Content-Length: 7")
        await upstream.says(start)
        await client.gets(start)
        for piece in (b"a", b"bc", b"defg"):
            await upstream.says(piece)
            await client.gets(piece)


async def test_a_chunked_response_passes_through_piece_by_piece_unchanged() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        for piece in (b"1\r\na\r\n", b"A;x\r\n0123", b"456789\r\n", b"0\r\n\r\n"):
            await upstream.says(piece)
            await client.gets(piece)
        await client.says(get("/next"))
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "X"])
async def test_any_method_may_carry_a_body(method: str) -> None:
    async with stage() as on:
        request = head(f"{method} / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 3") + b"abc"
        _client, upstream = await on.pair(request)
        await upstream.gets(head(f"{method} / HTTP/1.1", "Host: a", "Content-Length: 3") + b"abc")


async def test_both_bodies_flow_at_the_same_time() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked"))
        await upstream.gets(sent("Transfer-Encoding: chunked"))
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        for number in range(20):
            piece = b"2\r\n%02d\r\n" % number
            await client.says(piece)
            await upstream.gets(piece)
            await upstream.says(piece)
            await client.gets(piece)
        await client.says(b"0\r\n\r\n")
        await upstream.gets(b"0\r\n\r\n")
        await upstream.says(b"0\r\n\r\n")
        await client.gets(b"0\r\n\r\n")


async def test_a_response_may_end_before_the_request_body_and_its_client_lives_on() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Content-Length: 10"))
        await upstream.gets(sent("Content-Length: 10"))
        early = head("HTTP/1.1 200 OK", "Content-Length: 5") + b"early"
        await upstream.says(early)
        await client.gets(early)
        await client.says(b"01234")
        await upstream.gets(b"01234")
        await client.says(b"56789" + get("/next"))
        await upstream.gets(b"56789")
        another = await on.upstream()
        await another.gets(head("GET /next HTTP/1.1", "Host: a"))
        await another.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_an_upstream_that_answers_early_and_closes_has_its_answer_delivered() -> None:
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
        # What is still sent is read and dropped, so that the answer is not lost to a reset.
        await client.says(b"456789")


async def test_an_upstream_that_answers_early_without_saying_so_and_closes() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Content-Length: 10") + b"0123")
        await upstream.gets(sent("Content-Length: 10") + b"0123")
        early = head("HTTP/1.1 413 Too Large", "Content-Length: 5") + b"large"
        await upstream.says(early)
        await client.gets(early)
        upstream.ends()
        await client.gets_end()
        await client.says(b"456789")


async def test_an_early_answer_that_ends_by_close_ends_and_the_client_may_read_it() -> None:
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


async def test_a_malformed_chunk_after_the_answer_has_begun_cuts_both() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked"))
        await upstream.gets(sent("Transfer-Encoding: chunked"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        await client.says(b"+5\r\n")
        assert await client.gets_cut() == b""
        assert await upstream.gets_cut() == b""


async def test_a_malformed_chunk_before_the_answer_gets_400_and_the_upstream_sees_no_end() -> None:
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked") + b"1\r\na\r\n")
        await upstream.gets(sent("Transfer-Encoding: chunked") + b"1\r\na\r\n")
        await client.says(b"2\r\nabX")
        await client.gets_error(400, "http_request_error", closes=True)
        rest = await upstream.gets_cut()
        assert b"X" not in rest
        assert not rest.endswith(b"0\r\n\r\n")


async def test_trailers_are_forwarded_without_those_that_are_forbidden() -> None:
    trailers = (
        b"X-Sum: 1\r\nContent-Length: 5\r\nx-sum: 2\r\nHost: b\r\nX-Cmux-Port-Internal: 1\r\n"
    )
    async with stage() as on:
        client, upstream = await on.pair(post("Transfer-Encoding: chunked", "Trailer: X-Sum"))
        await upstream.gets(sent("Transfer-Encoding: chunked", "Trailer: X-Sum"))
        await client.says(b"1\r\na\r\n0\r\n" + trailers + b"\r\n")
        await upstream.gets(b"1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n")
        answer = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: Sum")
        await upstream.says(answer + b"0\r\nSum: 1\r\nSet-Cookie: a=b\r\nAge: 1\r\n\r\n")
        await client.gets(answer + b"0\r\nSum: 1\r\n\r\n")
        await client.says(get("/next"))
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))


@pytest.mark.parametrize(
    ("request_head", "answer", "announces_a_body"),
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
    request_head: bytes, answer: bytes, announces_a_body: bool
) -> None:
    async with stage() as on:
        client, upstream = await on.pair(request_head)
        await upstream.gets(request_head.replace(ROUTE.encode() + b"\r\n", b""))
        await upstream.says(answer)
        await client.gets(answer)
        await client.says(get("/next"))
        if announces_a_body:
            # It may come late.
            await upstream.gets_end()
            upstream = await on.upstream()
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_bytes_behind_an_answer_to_head_reach_nobody() -> None:
    async with stage() as on:
        client, upstream = await on.pair(head("HEAD / HTTP/1.1", "Host: a", ROUTE))
        await upstream.gets(head("HEAD / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 4") + b"body")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 4"))
        await upstream.gets_end()
        await client.says(get("/next"))
        await (await on.upstream()).gets(head("GET /next HTTP/1.1", "Host: a"))


async def test_a_body_of_many_reads_arrives_whole_both_ways() -> None:
    body = bytes(range(256)) * 16_384
    async with stage() as on:
        client, upstream = await on.pair(post(f"Content-Length: {len(body)}"))
        await upstream.gets(sent(f"Content-Length: {len(body)}"))
        # Half of it fits the buffers on the way, so that it can be sent before it is read.
        step = 65_536
        for at in range(0, len(body), step):
            await client.says(body[at : at + step])
            assert await upstream.gets_bytes(step) == body[at : at + step]
        await upstream.says(head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}"))
        await client.gets_head()
        for at in range(0, len(body), step):
            await upstream.says(body[at : at + step])
            assert await client.gets_bytes(step) == body[at : at + step]

"""Incomplete responses look incomplete to the client too (contract, section 2)."""

import pytest

from tests.helpers.script import ROUTE, Peer, get, head, stage


async def end_connection(upstream: Peer, end: str) -> None:
    """End the upstream's connection: by half-close, reset or close."""
    if end == "ends":
        upstream.ends()
    elif end == "resets":
        upstream.resets()
    else:
        upstream.closes()


ENDS = ["ends", "closes", "resets"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_response_shorter_than_its_length_is_cut(version: str, end: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version=version))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        await client.gets_head()
        await client.gets(b"01234")
        await end_connection(upstream, end)
        assert await client.gets_cut() == b""
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"5\r\n01", id="in a chunk"),
        pytest.param(b"5\r\n01234", id="before its CRLF"),
        pytest.param(b"5\r\n01234\r\n", id="between chunks"),
        pytest.param(b"5\r\n01234\r\n0\r\n", id="before the end"),
        pytest.param(b"5\r\n01234\r\n0\r\nA: b\r\n", id="in the trailers"),
    ],
)
async def test_a_chunked_response_without_its_end_is_cut_for_the_client(
    part: bytes, end: str
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + part)
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + part[:5])
        await end_connection(upstream, end)
        remaining = await client.gets_cut()
        assert not (part[:5] + remaining).endswith(b"0\r\n\r\n")
        assert part.startswith(part[:5] + remaining)


@pytest.mark.parametrize("end", ENDS)
async def test_a_chunked_response_without_its_end_is_reset_for_an_http10_client(end: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        await client.gets(head("HTTP/1.1 200 OK", "Connection: close") + b"abc")
        await end_connection(upstream, end)
        # A close would look like the end of a complete response.
        await client.gets_reset()


async def test_a_reset_response_until_close_is_reset_for_an_http10_client() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK") + b"abc")
        await client.gets(head("HTTP/1.1 200 OK", "Connection: close") + b"abc")
        upstream.resets()
        await client.gets_reset()


async def test_a_reset_response_until_close_has_no_last_chunk_for_an_http11_client() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK") + b"abc")
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        upstream.resets()
        assert await client.gets_cut() == b""


@pytest.mark.parametrize("end", ENDS)
async def test_an_upstream_that_closes_without_a_response_is_a_502(end: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await end_connection(upstream, end)
        text = await client.gets_error(502, "connection_terminated")
        expected = f"127.0.0.1:{on.port} closed the connection without an answer; if it speaks"
        assert text.startswith(expected)
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "part",
    [b"H", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"],
    ids=["one byte", "an open status line", "a status line", "a field"],
)
async def test_an_upstream_that_closes_within_its_head_is_a_502(part: bytes, end: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(part)
        await end_connection(upstream, end)
        if end == "resets":
            # A reset may overtake the bytes before it.
            error = (await client.gets_head()).split(b"error=")[1].split(b"\r\n")[0]
            assert error in (b"connection_terminated", b"http_response_incomplete")
            client.ignores_more()
            return
        text = await client.gets_error(502, "http_response_incomplete")
        assert (
            text
            == f"127.0.0.1:{on.port} closed the connection before the response head was complete"
        )


MALFORMED = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "one wrong byte": b"h",
    "an error page alone": b"<html>",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a bare carriage return": b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 0\r\n\r\n",
    "a folded length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 0\r\n\r\n",
    "a fold without a field": b"HTTP/1.1 200 OK\n A: b\nContent-Length: 0\n\n",
    "a blank before a colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "a line without a colon": b"HTTP/1.1 200 OK\r\nOops\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\nx",
    "a length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +0\r\n\r\n",
    "a list of lengths that differ": b"HTTP/1.1 200 OK\r\nContent-Length: 0, 1\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a malformed first chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
}


@pytest.mark.parametrize("response", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_or_ambiguous_response_is_a_502(response: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(response)
        text = await client.gets_error(502, "http_protocol_error")
        assert text.startswith(f"127.0.0.1:{on.port} did not answer in valid HTTP: ")
        assert await upstream.gets_cut() == b""
        await on.nothing_reached_upstream()


async def test_a_response_head_that_is_too_large_is_a_502() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "A: " + "a" * 140_000))
        await client.gets_error(502, "http_protocol_error")


async def test_a_malformed_response_before_the_end_of_the_body_closes_the_client() -> None:
    async with stage() as on:
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 5") + b"12"
        client, upstream = await on.pair(request)
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", "Content-Length: 5") + b"12")
        await upstream.says(b"oops\r\n\r\n")
        await client.gets_error(502, "http_protocol_error", closes=True)


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(b"+5\r\n", id="sign"),
        pytest.param(b"0x5\r\n", id="prefix"),
        pytest.param(b"5 5\r\n", id="blank"),
        pytest.param(b"5\n", id="bare LF"),
        pytest.param(b"5_0\r\n", id="underscore"),
        pytest.param(b"2\r\nabc", id="no CRLF"),
        pytest.param(b"f" * 16 + b"\r\n", id="overflow"),
        pytest.param(b"5;\x00\r\n", id="NUL"),
    ],
)
async def test_a_malformed_chunk_cuts_a_response_that_has_started(chunk: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"1\r\nx\r\n"
        await upstream.says(start)
        await client.gets(start)
        await upstream.says(chunk)
        remaining = await client.gets_cut()
        assert b"0\r\n\r\n" not in remaining
        assert chunk not in remaining
        assert await upstream.gets_cut() == b""

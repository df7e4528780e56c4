"""An upstream that breaks off, so that nobody takes its answer for complete (section 2)."""

import pytest

from tests.helpers.script import ROUTE, Peer, get, head, stage


async def breaks_off(upstream: Peer, how: str) -> None:
    """End the upstream's connection in one of three ways."""
    if how == "ends":
        upstream.ends()
    elif how == "resets":
        upstream.resets()
    else:
        upstream.closes()


HOWS = ["ends", "closes", "resets"]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_response_short_of_its_length_is_cut_for_the_client(version: str, how: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version=version))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        await client.gets_head()
        await client.gets(b"01234")
        await breaks_off(upstream, how)
        assert await client.gets_cut() == b""
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("how", HOWS)
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
    part: bytes, how: str
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + part)
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + part[:5])
        await breaks_off(upstream, how)
        rest = await client.gets_cut()
        assert not (part[:5] + rest).endswith(b"0\r\n\r\n")
        assert part.startswith(part[:5] + rest)


@pytest.mark.parametrize("how", HOWS)
async def test_a_chunked_response_without_its_end_is_reset_for_an_http10_client(how: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        await client.gets(head("HTTP/1.1 200 OK", "Connection: close") + b"abc")
        await breaks_off(upstream, how)
        # An end would look like that of a complete answer.
        await client.gets_reset()


async def test_a_response_that_ends_by_close_and_is_reset_is_reset_for_an_http10_client() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 200 OK") + b"abc")
        await client.gets(head("HTTP/1.1 200 OK", "Connection: close") + b"abc")
        upstream.resets()
        await client.gets_reset()


async def test_a_response_that_ends_by_close_and_is_reset_lacks_its_last_chunk_for_http11() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK") + b"abc")
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        upstream.resets()
        assert await client.gets_cut() == b""


@pytest.mark.parametrize("how", HOWS)
async def test_an_upstream_that_closes_without_an_answer_is_a_502(how: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await breaks_off(upstream, how)
        text = await client.gets_error(502, "connection_terminated")
        assert text == f"127.0.0.1:{on.port} closed the connection without an answer"
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    "part",
    [b"H", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"],
    ids=["one byte", "an open status line", "a status line", "a field"],
)
async def test_an_upstream_that_closes_amid_its_head_is_a_502(part: bytes, how: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(part)
        await breaks_off(upstream, how)
        if how == "resets":
            # A reset may overtake the bytes before it.
            error = (await client.gets_head()).split(b"error=")[1].split(b"\r\n")[0]
            assert error in (b"connection_terminated", b"http_response_incomplete")
            client.ignores_more()
            return
        text = await client.gets_error(502, "http_response_incomplete")
        assert text == f"127.0.0.1:{on.port} closed the connection amid the response head"


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


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
async def test_an_answer_that_is_malformed_or_ambiguous_is_a_502(answer: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(answer)
        text = await client.gets_error(502, "http_protocol_error")
        assert text.startswith(f"127.0.0.1:{on.port} did not answer in valid HTTP: ")
        assert await upstream.gets_cut() == b""
        await on.nothing_reached_upstream()


async def test_a_response_head_that_is_too_large_is_a_502() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "A: " + "a" * 140_000))
        await client.gets_error(502, "http_protocol_error")


async def test_a_malformed_answer_to_a_body_that_is_under_way_closes_the_client() -> None:
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
async def test_a_malformed_chunk_cuts_a_response_that_has_begun(chunk: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"1\r\nx\r\n"
        await upstream.says(start)
        await client.gets(start)
        await upstream.says(chunk)
        rest = await client.gets_cut()
        assert b"0\r\n\r\n" not in rest
        assert chunk not in rest
        assert await upstream.gets_cut() == b""

"""A client that disconnects closes its upstream connection; a half-close does not (section 2)."""

import pytest

from tests.helpers.script import ROUTE, UPGRADE, Peer, get, head, stage
from tests.helpers.wire import deaf_port

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def disconnect(client: Peer, disconnection: str) -> None:
    """Close the client's connection or reset it."""
    if disconnection == "resets":
        client.resets()
    else:
        client.closes()


DISCONNECTIONS = ["closes", "resets"]


@pytest.mark.parametrize("disconnection", DISCONNECTIONS)
async def test_a_disconnect_before_the_response_closes_the_upstream_connection(
    disconnection: str,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        disconnect(client, disconnection)
        assert await upstream.gets_cut() == b""


@pytest.mark.parametrize("disconnection", DISCONNECTIONS)
@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_disconnect_within_the_request_closes_the_upstream_connection(
    framing: str, disconnection: str
) -> None:
    async with stage() as on:
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, framing) + b"5\r\n01"
        client, upstream = await on.pair(request)
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", framing) + b"5\r\n01")
        disconnect(client, disconnection)
        assert await upstream.gets_cut() == b""


async def test_a_reset_within_the_response_closes_the_upstream_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        client.resets()
        assert await upstream.gets_cut() == b""


async def test_a_close_within_an_endless_response_closes_the_upstream_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
        await upstream.says(start)
        await client.gets(start)
        client.closes()
        await upstream.gets_end()
        # Further bytes for the client cause a reset, which the proxy passes on as a close.
        await upstream.says_until_cut(b"1\r\nx\r\n" * 10_000)


async def test_a_half_close_after_the_request_keeps_the_response() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        client.ends()
        await upstream.gets_end()
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 6") + b"abc")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 6") + b"abc")
        await upstream.says(b"def")
        await client.gets(b"def")
        await client.gets_end()


async def test_a_half_closed_client_gets_an_error_response_too() -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        await client.says(get())
        client.ends()
        await client.gets_error(502, "connection_refused")
        await client.gets_end()


async def test_a_half_close_during_the_dial_keeps_the_response() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get())
        client.ends()
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.gets_end()
        await upstream.says(OK)
        await client.gets(OK)
        await client.gets_end()


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_half_close_within_the_request_counts_as_a_disconnect(framing: str) -> None:
    async with stage() as on:
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, framing) + b"5\r\n01"
        client, upstream = await on.pair(request)
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", framing) + b"5\r\n01")
        client.ends()
        assert await upstream.gets_cut() == b""
        assert await client.gets_cut() == b""


@pytest.mark.parametrize(
    "part",
    [b"G", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\nHost: a\r\n"],
    ids=["one byte", "an open line", "a field"],
)
async def test_a_half_close_within_the_head_closes_the_connection(part: bytes) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(part)
        client.ends()
        await client.gets_end()
        await on.nothing_reached_upstream()


async def test_a_half_close_without_a_request_closes_the_connection() -> None:
    async with stage() as on:
        client = await on.client()
        client.ends()
        await client.gets_end()


@pytest.mark.parametrize(
    "request_head",
    [
        pytest.param(get(), id="GET"),
        pytest.param(head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE), id="CONNECT"),
    ],
)
async def test_a_reset_during_the_dial_cancels_the_dial(
    request_head: bytes,
) -> None:
    async with deaf_port() as port, stage() as on:
        client = await on.client()
        await client.says(request_head.replace(b"<port>", b"%d" % port))
        # The proxy has read this request when it has responded to a later one.
        await on.serves()
        client.resets()
        await on.serves()
        # The drain waits for nothing; a dial in progress would delay it by seconds.
        await on.proxy.drain()


async def test_after_a_disconnect_no_pipelined_request_is_sent() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/1") + get("/2"))
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        client.resets()
        assert await upstream.gets_cut() == b""
        await on.nothing_reached_upstream()


async def test_a_disconnect_while_early_bytes_wait_closes_the_upstream_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE + b"early")
        await upstream.gets(UPGRADE.replace(ROUTE.encode() + b"\r\n", b""))
        client.resets()
        assert await upstream.gets_cut() == b""


async def test_simultaneous_disconnects_within_an_upload_leave_nothing_behind() -> None:
    async with stage() as on:
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 10") + b"01234"
        for _ in range(5):
            client, upstream = await on.pair(request)
            await upstream.gets(head("POST / HTTP/1.1", "Host: a", "Content-Length: 10") + b"01234")
            # The proxy does not run in between, so it sends the 502 to a closed connection.
            upstream.resets()
            client.closes()
            await on.serves()
        await on.proxy.drain()


async def test_simultaneous_disconnects_after_an_early_response_leave_nothing_behind() -> None:
    async with stage() as on:
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 10") + b"01234"
        for _ in range(5):
            client, upstream = await on.pair(request)
            await upstream.gets(head("POST / HTTP/1.1", "Host: a", "Content-Length: 10") + b"01234")
            await upstream.says(OK)
            await client.gets(OK)
            upstream.resets()
            client.resets()
            await on.serves()
        await on.proxy.drain()


async def test_a_simultaneous_half_close_and_upstream_reset_leave_nothing_behind() -> None:
    async with stage() as on:
        for _ in range(5):
            client, upstream = await on.pair()
            client.ends()
            upstream.resets()
            await client.gets_error(502, "connection_terminated")
            await client.gets_end()
        await on.proxy.drain()

"""A client that leaves takes its upstream along; one that half-closes does not (section 2)."""

import pytest

from tests.helpers.script import ROUTE, UPGRADE, Peer, get, head, stage
from tests.helpers.wire import deaf_port

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def leaves(client: Peer, how: str) -> None:
    """Let a client go away for good."""
    if how == "resets":
        client.resets()
    else:
        client.closes()


HOWS = ["closes", "resets"]


@pytest.mark.parametrize("how", HOWS)
async def test_a_client_that_leaves_before_any_answer_ends_the_upstream_connection(
    how: str,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        leaves(client, how)
        assert await upstream.gets_cut() == b""


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_client_that_leaves_amid_its_request_ends_the_upstream_connection(
    framing: str, how: str
) -> None:
    async with stage() as on:
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, framing) + b"5\r\n01"
        client, upstream = await on.pair(request)
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", framing) + b"5\r\n01")
        leaves(client, how)
        assert await upstream.gets_cut() == b""


async def test_a_client_that_is_reset_amid_the_answer_ends_the_upstream_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
        client.resets()
        assert await upstream.gets_cut() == b""


async def test_a_client_that_closes_amid_an_endless_answer_ends_the_upstream_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
        await upstream.says(start)
        await client.gets(start)
        client.closes()
        await upstream.gets_end()
        # What still comes meets a reset, and that ends it for good.
        await upstream.says_until_cut(b"1\r\nx\r\n" * 10_000)


async def test_a_client_that_half_closes_after_its_request_gets_its_answer() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        client.ends()
        await upstream.gets_end()
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 6") + b"abc")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 6") + b"abc")
        await upstream.says(b"def")
        await client.gets(b"def")
        await client.gets_end()


async def test_a_half_closed_client_gets_an_answer_of_our_own_too() -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        await client.says(get())
        client.ends()
        await client.gets_error(502, "connection_refused")
        await client.gets_end()


async def test_a_client_that_half_closes_before_the_upstream_is_there_gets_its_answer() -> None:
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
async def test_a_client_that_half_closes_amid_its_request_is_gone(framing: str) -> None:
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
async def test_a_client_that_half_closes_amid_a_head_is_closed(part: bytes) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(part)
        client.ends()
        await client.gets_end()
        await on.nothing_reached_upstream()


async def test_a_client_that_only_connects_and_ends_is_closed() -> None:
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
async def test_a_client_that_is_reset_while_its_upstream_is_dialled_is_forgotten(
    request_head: bytes,
) -> None:
    async with deaf_port() as port, stage() as on:
        client = await on.client()
        await client.says(request_head.replace(b"<port>", b"%d" % port))
        # The proxy has read the request once it has answered one that came later.
        await on.serves()
        client.resets()
        await on.serves()
        # A drain has nothing left to wait for; a dial that went on would hold it for seconds.
        await on.proxy.drain()


async def test_a_client_that_leaves_amid_a_pipelined_answer_sends_nothing_more() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/1") + get("/2"))
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        client.resets()
        assert await upstream.gets_cut() == b""
        await on.nothing_reached_upstream()


async def test_a_client_that_leaves_while_its_early_bytes_wait_ends_the_upstream() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE + b"early")
        await upstream.gets(UPGRADE.replace(ROUTE.encode() + b"\r\n", b""))
        client.resets()
        assert await upstream.gets_cut() == b""


async def test_both_sides_that_leave_amid_an_upload_at_once_leave_nothing_behind() -> None:
    async with stage() as on:
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 10") + b"01234"
        for _ in range(5):
            client, upstream = await on.pair(request)
            await upstream.gets(head("POST / HTTP/1.1", "Host: a", "Content-Length: 10") + b"01234")
            # Nothing runs in between: the proxy answers 502 to a socket that is closed already.
            upstream.resets()
            client.closes()
            await on.serves()
        await on.proxy.drain()


async def test_both_sides_that_leave_behind_an_early_answer_at_once_leave_nothing_behind() -> None:
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


async def test_an_upstream_that_is_reset_as_its_client_ends_leaves_nothing_behind() -> None:
    async with stage() as on:
        for _ in range(5):
            client, upstream = await on.pair()
            client.ends()
            upstream.resets()
            await client.gets_error(502, "connection_terminated")
            await client.gets_end()
        await on.proxy.drain()

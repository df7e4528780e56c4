"""Connections that are used again, and what is sent once more when one dies (section 2)."""

import asyncio

import pytest

from cmux_proxy import Config, Limits, Timeouts
from tests.helpers.proxies import local_config
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage

NO_CONTENT = head("HTTP/1.1 204 No Content")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


async def pooled(on: Stage) -> tuple[Peer, Peer]:
    """Return a client and an upstream connection that has served it and is idle."""
    client, upstream = await on.pair()
    await upstream.says(OK)
    await client.gets(OK)
    return client, upstream


async def test_clients_share_an_upstream_connection_one_after_the_other() -> None:
    async with stage() as on:
        _first, upstream = await pooled(on)
        second = await on.client()
        await second.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await second.gets(OK)


async def test_two_exchanges_never_share_a_connection_at_the_same_time() -> None:
    async with stage() as on:
        one, first = await on.pair()
        two, second = await on.pair()
        await second.says(OK)
        await two.gets(OK)
        await first.says(NO_CONTENT)
        await one.gets(NO_CONTENT)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(head("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 0"), id="close"),
        pytest.param(
            head("HTTP/1.1 200 OK", "Connection: x, CLOSE", "Content-Length: 0"), id="in a list"
        ),
        pytest.param(head("HTTP/1.0 200 OK", "Content-Length: 0"), id="HTTP/1.0"),
    ],
)
async def test_an_upstream_that_does_not_persist_is_closed_and_the_client_is_not(
    answer: bytes,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(answer)
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 0"))
        await upstream.gets_end()
        await client.says(get("/2"))
        await (await on.upstream()).gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_a_client_that_does_not_persist_is_closed_and_the_upstream_is_not() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", "Connection: close"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets_end()
        other = await on.client()
        await other.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_a_client_that_leaves_between_requests_leaves_the_upstream_connection() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        client.closes()
        other = await on.client()
        await other.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_an_idle_connection_that_speaks_is_closed_and_never_used() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 8") + b"poisoned")
        assert await upstream.gets_cut() == b""
        await client.says(get("/2"))
        other = await on.upstream()
        await other.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await other.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


@pytest.mark.parametrize("how", ["ends", "closes", "resets"])
async def test_an_idle_connection_that_closes_is_never_used(how: str) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        getattr(upstream, how)()
        if how == "ends":
            await upstream.gets_end()
        await client.says(get("/2"))
        other = await on.upstream()
        await other.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await other.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


@pytest.mark.parametrize("extra", [b"x", head("HTTP/1.1 200 OK", "Content-Length: 0")])
async def test_bytes_behind_an_answer_reach_nobody_and_spoil_the_connection(extra: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(OK + extra)
        await client.gets(OK)
        await upstream.gets_end()
        await client.says(get("/2"))
        other = await on.upstream()
        await other.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await other.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_bytes_behind_a_chunked_answer_reach_nobody_either() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        answer = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n"
        await upstream.says(answer + b"HTTP/1.1 200 OK\r\n\r\n")
        await client.gets(answer)
        await upstream.gets_end()


async def test_no_more_idle_connections_are_kept_than_allowed() -> None:
    async with stage(local_config(limits=Limits(idle_upstream_connections=1))) as on:
        one, first = await on.pair()
        two, second = await on.pair()
        await first.says(OK)
        await one.gets(OK)
        await second.says(OK)
        await two.gets(OK)
        await second.gets_end()
        await two.says(get("/2"))
        await first.gets(head("GET /2 HTTP/1.1", "Host: a"))


@pytest.mark.parametrize(
    "config",
    [
        local_config(timeouts=Timeouts(upstream_idle=0)),
        local_config(limits=Limits(idle_upstream_connections=0)),
    ],
    ids=["no time", "no connections"],
)
async def test_a_pool_of_nothing_keeps_nothing(config: Config) -> None:
    async with stage(config) as on:
        client, upstream = await pooled(on)
        await upstream.gets_end()
        await client.says(get("/2"))
        await (await on.upstream()).gets(head("GET /2 HTTP/1.1", "Host: a"))


async def dies(upstream: Peer, how: str) -> None:
    """Let a connection die with the request that has just been sent on it."""
    if how == "resets":
        upstream.resets()
    else:
        upstream.closes()


REPLAYABLE = {
    "GET": get("/2"),
    "HEAD": head("HEAD /2 HTTP/1.1", "Host: a", ROUTE),
    "OPTIONS": head("OPTIONS /2 HTTP/1.1", "Host: a", ROUTE),
    "TRACE": head("TRACE /2 HTTP/1.1", "Host: a", ROUTE),
    "DELETE": head("DELETE /2 HTTP/1.1", "Host: a", ROUTE),
    "PUT with its whole body": head("PUT /2 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4")
    + b"body",
    "PUT with its whole chunked body": head(
        "PUT /2 HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked"
    )
    + b"4\r\nbody\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", REPLAYABLE.values(), ids=REPLAYABLE)
@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_an_idempotent_request_is_sent_once_more_when_a_used_connection_dies(
    how: str, request_bytes: bytes
) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(request_bytes)
        sent = request_bytes.replace(ROUTE.encode() + b"\r\n", b"")
        await upstream.gets(sent)
        await dies(upstream, how)
        fresh = await on.upstream()
        await fresh.gets(sent)
        await fresh.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(get("/3"))
        await fresh.gets(head("GET /3 HTTP/1.1", "Host: a"))


async def test_a_request_is_sent_once_more_but_not_twice_more() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        upstream.closes()
        fresh = await on.upstream()
        await fresh.gets(head("GET /2 HTTP/1.1", "Host: a"))
        fresh.closes()
        await client.gets_error(502, "connection_terminated")
        await on.nothing_reached_upstream()


async def test_a_request_that_died_is_answered_when_the_second_dial_fails() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        on.listener.close()
        upstream.closes()
        await client.gets_error(502, "connection_refused")


NOT_REPLAYABLE = {
    "POST": head("POST /2 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 0"),
    "POST with a body": head("POST /2 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 1") + b"x",
    "PATCH": head("PATCH /2 HTTP/1.1", "Host: a", ROUTE),
    "an unknown method": head("FROB /2 HTTP/1.1", "Host: a", ROUTE),
    "a method in lower case": head("get /2 HTTP/1.1", "Host: a", ROUTE),
}


@pytest.mark.parametrize("request_bytes", NOT_REPLAYABLE.values(), ids=NOT_REPLAYABLE)
@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_any_other_request_is_not_sent_again(how: str, request_bytes: bytes) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(request_bytes)
        await upstream.gets(request_bytes.replace(ROUTE.encode() + b"\r\n", b""))
        await dies(upstream, how)
        await client.gets_error(502, "connection_terminated")
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("framing", ["Content-Length: 8", "Transfer-Encoding: chunked"])
async def test_a_request_whose_body_is_under_way_is_not_sent_again(framing: str) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        part = b"4\r\n" if "chunked" in framing else b"4..\n"
        await client.says(head("PUT /2 HTTP/1.1", "Host: a", ROUTE, framing) + part)
        await upstream.gets(head("PUT /2 HTTP/1.1", "Host: a", framing) + part)
        upstream.closes()
        await client.gets_error(502, "connection_terminated", closes=True)
        await on.nothing_reached_upstream()


async def test_a_put_whose_body_came_in_pieces_is_not_sent_again() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(head("PUT /2 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 2"))
        await upstream.gets(head("PUT /2 HTTP/1.1", "Host: a", "Content-Length: 2"))
        await client.says(b"ok")
        await upstream.gets(b"ok")
        upstream.closes()
        await client.gets_error(502, "connection_terminated")
        await on.nothing_reached_upstream()


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"H", id="one byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="a status line"),
        pytest.param(head("HTTP/1.1 100 Continue"), id="an interim response"),
    ],
)
async def test_a_request_that_was_answered_in_part_is_not_sent_again(part: bytes) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.says(part)
        error = "http_response_incomplete"
        if part.endswith(b"\r\n\r\n"):
            await client.gets(part)
            error = "connection_terminated"
        upstream.closes()
        await client.gets_error(502, error)
        await on.nothing_reached_upstream()


async def test_a_request_on_a_fresh_connection_is_not_sent_again() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        upstream.closes()
        await client.gets_error(502, "connection_terminated")
        await on.nothing_reached_upstream()


async def test_a_client_that_leaves_while_its_request_is_sent_again_ends_that_too() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        upstream.closes()
        fresh = await on.upstream()
        await fresh.gets(head("GET /2 HTTP/1.1", "Host: a"))
        client.resets()
        assert await fresh.gets_cut() == b""


async def test_many_clients_at_once_need_no_more_connections_than_clients() -> None:
    async with stage() as on:
        pairs = [await on.pair() for _ in range(20)]
        for client, upstream in pairs:
            await upstream.says(OK)
            await client.gets(OK)
        again = [client for client, _upstream in pairs]
        for client in again:
            await client.says(get())
        answered = await asyncio.gather(*(_answer(upstream) for _client, upstream in pairs))
        assert answered == [True] * len(pairs)
        for client in again:
            await client.gets(OK)


async def _answer(upstream: Peer) -> bool:
    await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
    await upstream.says(OK)
    return True

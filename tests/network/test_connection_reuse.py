"""Reused upstream connections, and retries when one closes (contract, section 2)."""

import asyncio

import pytest

from cmux_proxy import Config, Limits, Timeouts
from tests.helpers.proxies import local_config
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage

NO_CONTENT = head("HTTP/1.1 204 No Content")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


async def pooled(on: Stage) -> tuple[Peer, Peer]:
    """Return a client and its idle upstream connection."""
    client, upstream = await on.pair()
    await upstream.says(OK)
    await client.gets(OK)
    return client, upstream


async def test_clients_share_an_upstream_connection_in_sequence() -> None:
    async with stage() as on:
        _first, upstream = await pooled(on)
        second_upstream = await on.client()
        await second_upstream.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await second_upstream.gets(OK)


async def test_two_exchanges_never_share_a_connection_at_the_same_time() -> None:
    async with stage() as on:
        first_client, first_upstream = await on.pair()
        second_client, second_upstream = await on.pair()
        await second_upstream.says(OK)
        await second_client.gets(OK)
        await first_upstream.says(NO_CONTENT)
        await first_client.gets(NO_CONTENT)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(head("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 0"), id="close"),
        pytest.param(
            head("HTTP/1.1 200 OK", "Connection: x, CLOSE", "Content-Length: 0"), id="in a list"
        ),
        pytest.param(head("HTTP/1.0 200 OK", "Content-Length: 0"), id="HTTP/1.0"),
    ],
)
async def test_an_upstream_connection_without_keep_alive_closes_and_the_client_does_not(
    response: bytes,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(response)
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 0"))
        await upstream.gets_end()
        await client.says(get("/2"))
        await (await on.upstream()).gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_a_client_connection_without_keep_alive_closes_and_the_upstream_does_not() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", "Connection: close"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets_end()
        other = await on.client()
        await other.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_a_client_that_disconnects_while_idle_does_not_close_the_upstream() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        client.closes()
        other = await on.client()
        await other.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_an_idle_connection_that_sends_bytes_is_closed_and_never_reused() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 8") + b"poisoned")
        assert await upstream.gets_cut() == b""
        await client.says(get("/2"))
        other = await on.upstream()
        await other.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await other.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


@pytest.mark.parametrize("end", ["ends", "closes", "resets"])
async def test_an_idle_connection_that_closes_is_never_reused(end: str) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        getattr(upstream, end)()
        if end == "ends":
            await upstream.gets_end()
        await client.says(get("/2"))
        other = await on.upstream()
        await other.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await other.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


@pytest.mark.parametrize("extra", [b"x", head("HTTP/1.1 200 OK", "Content-Length: 0")])
async def test_bytes_after_a_response_are_dropped_and_close_the_connection(extra: bytes) -> None:
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


async def test_bytes_after_a_chunked_response_are_dropped() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        response = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n"
        await upstream.says(response + b"HTTP/1.1 200 OK\r\n\r\n")
        await client.gets(response)
        await upstream.gets_end()


async def test_the_number_of_idle_connections_is_limited() -> None:
    async with stage(local_config(limits=Limits(idle_upstream_connections=1))) as on:
        first_client, first_upstream = await on.pair()
        second_client, second_upstream = await on.pair()
        await first_upstream.says(OK)
        await first_client.gets(OK)
        await second_upstream.says(OK)
        await second_client.gets(OK)
        await second_upstream.gets_end()
        await second_client.says(get("/2"))
        await first_upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


@pytest.mark.parametrize(
    "config",
    [
        local_config(timeouts=Timeouts(upstream_idle=0)),
        local_config(limits=Limits(idle_upstream_connections=0)),
    ],
    ids=["no time", "no connections"],
)
async def test_an_empty_pool_keeps_no_connection(config: Config) -> None:
    async with stage(config) as on:
        client, upstream = await pooled(on)
        await upstream.gets_end()
        await client.says(get("/2"))
        await (await on.upstream()).gets(head("GET /2 HTTP/1.1", "Host: a"))


async def end_connection(upstream: Peer, end: str) -> None:
    """Close or reset a connection on which a request has just been sent."""
    if end == "resets":
        upstream.resets()
    else:
        upstream.closes()


RETRYABLE = {
    "GET": get("/2"),
    "HEAD": head("HEAD /2 HTTP/1.1", "Host: a", ROUTE),
    "OPTIONS": head("OPTIONS /2 HTTP/1.1", "Host: a", ROUTE),
    "TRACE": head("TRACE /2 HTTP/1.1", "Host: a", ROUTE),
    "DELETE": head("DELETE /2 HTTP/1.1", "Host: a", ROUTE),
    "PUT with its complete body": head("PUT /2 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4")
    + b"body",
    "PUT with its complete chunked body": head(
        "PUT /2 HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked"
    )
    + b"4\r\nbody\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", RETRYABLE.values(), ids=RETRYABLE)
@pytest.mark.parametrize("end", ["closes", "resets"])
async def test_an_idempotent_request_is_retried_when_a_reused_connection_closes(
    end: str, request_bytes: bytes
) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(request_bytes)
        sent = request_bytes.replace(ROUTE.encode() + b"\r\n", b"")
        await upstream.gets(sent)
        await end_connection(upstream, end)
        fresh = await on.upstream()
        await fresh.gets(sent)
        await fresh.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(get("/3"))
        await fresh.gets(head("GET /3 HTTP/1.1", "Host: a"))


async def test_a_request_is_retried_only_once() -> None:
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


async def test_a_retry_whose_dial_fails_gets_502() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        on.listener.close()
        upstream.closes()
        await client.gets_error(502, "connection_refused")


NOT_RETRYABLE = {
    "POST": head("POST /2 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 0"),
    "POST with a body": head("POST /2 HTTP/1.1", "Host: a", ROUTE, "Content-Length: 1") + b"x",
    "PATCH": head("PATCH /2 HTTP/1.1", "Host: a", ROUTE),
    "an unknown method": head("FROB /2 HTTP/1.1", "Host: a", ROUTE),
    "a method in lower case": head("get /2 HTTP/1.1", "Host: a", ROUTE),
}


@pytest.mark.parametrize("request_bytes", NOT_RETRYABLE.values(), ids=NOT_RETRYABLE)
@pytest.mark.parametrize("end", ["closes", "resets"])
async def test_other_requests_are_not_retried(end: str, request_bytes: bytes) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(request_bytes)
        await upstream.gets(request_bytes.replace(ROUTE.encode() + b"\r\n", b""))
        await end_connection(upstream, end)
        await client.gets_error(502, "connection_terminated")
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("framing", ["Content-Length: 8", "Transfer-Encoding: chunked"])
async def test_a_request_with_an_incomplete_body_is_not_retried(framing: str) -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        part = b"4\r\n" if "chunked" in framing else b"4..\n"
        await client.says(head("PUT /2 HTTP/1.1", "Host: a", ROUTE, framing) + part)
        await upstream.gets(head("PUT /2 HTTP/1.1", "Host: a", framing) + part)
        upstream.closes()
        await client.gets_error(502, "connection_terminated", closes=True)
        await on.nothing_reached_upstream()


async def test_a_put_whose_body_arrived_after_its_head_is_not_retried() -> None:
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
async def test_after_a_part_of_the_response_a_request_is_not_retried(part: bytes) -> None:
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


async def test_a_request_on_a_new_connection_is_not_retried() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        upstream.closes()
        await client.gets_error(502, "connection_terminated")
        await on.nothing_reached_upstream()


async def test_a_client_that_disconnects_during_a_retry_ends_the_retry() -> None:
    async with stage() as on:
        client, upstream = await pooled(on)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        upstream.closes()
        fresh = await on.upstream()
        await fresh.gets(head("GET /2 HTTP/1.1", "Host: a"))
        client.resets()
        assert await fresh.gets_cut() == b""


async def test_many_concurrent_clients_need_no_more_connections_than_clients() -> None:
    async with stage() as on:
        pairs = [await on.pair() for _ in range(20)]
        for client, upstream in pairs:
            await upstream.says(OK)
            await client.gets(OK)
        clients = [client for client, _upstream in pairs]
        for client in clients:
            await client.says(get())
        served = await asyncio.gather(*(_respond(upstream) for _client, upstream in pairs))
        assert served == [True] * len(pairs)
        for client in clients:
            await client.gets(OK)


async def _respond(upstream: Peer) -> bool:
    await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
    await upstream.says(OK)
    return True

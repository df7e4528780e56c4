"""Interim responses and Expect (contract, section 2)."""

import pytest

from tests.helpers.script import ROUTE, Peer, get, head, stage

FINAL = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


async def gets_leave(client: Peer, upstream: Peer) -> None:
    """Fail unless the leave to send a body, the body and the answer to it arrive."""
    await upstream.says(head("HTTP/1.1 100 Continue"))
    await client.gets(head("HTTP/1.1 100 Continue"))
    await client.says(b"body")
    await upstream.gets(b"body")
    await upstream.says(FINAL)
    await client.gets(FINAL)


@pytest.mark.parametrize(
    "interim",
    [
        pytest.param(head("HTTP/1.1 100 Continue"), id="100"),
        pytest.param(head("HTTP/1.1 102 Processing"), id="102"),
        pytest.param(
            head("HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload", "Link: </b.js>"),
            id="103",
        ),
        pytest.param(head("HTTP/1.1 199 Whatever", "A: b"), id="199"),
    ],
)
async def test_an_interim_response_is_forwarded_as_it_comes(interim: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(interim)
        await client.gets(interim)
        await upstream.says(interim)
        await client.gets(interim)
        await upstream.says(FINAL)
        await client.gets(FINAL)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_interim_responses_and_the_final_one_may_come_in_one_piece() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        several = (
            head("HTTP/1.1 100 Continue")
            + head("HTTP/1.1 103 Early Hints", "Link: </a>")
            + head("HTTP/1.1 103 Early Hints", "Link: </b>")
            + FINAL
        )
        await upstream.says(several)
        await client.gets(several)


async def test_an_interim_response_loses_its_hop_by_hop_lines() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 103 Early Hints", "Connection: x", "X: 1", "Y: 2"))
        await client.gets(head("HTTP/1.1 103 Early Hints", "Y: 2"))


async def test_an_http10_client_gets_no_interim_response() -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", version="1.0"))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 100 Continue"))
        await upstream.says(head("HTTP/1.1 103 Early Hints", "Link: </a>"))
        await upstream.says(FINAL)
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok")
        await client.gets_end()


@pytest.mark.parametrize(
    "field", ["Content-Length: 3", "Transfer-Encoding: chunked", "Content-Length: x"]
)
async def test_an_interim_response_announces_no_body_and_what_follows_is_the_next_head(
    field: str,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 103 Early Hints", "Link: </a>", field))
        await client.gets(head("HTTP/1.1 103 Early Hints", "Link: </a>"))
        await upstream.says(b"abc")
        await client.gets_error(502, "http_protocol_error")
        await upstream.gets_end()


@pytest.mark.parametrize("value", ["100-continue", "100-Continue", "  100-CONTINUE "])
async def test_the_expectation_travels_to_the_upstream_and_its_answer_back(value: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair(
            head("POST / HTTP/1.1", "Host: a", f"Expect: {value}", ROUTE, "Content-Length: 4")
        )
        await upstream.gets(
            head("POST / HTTP/1.1", "Host: a", f"Expect: {value}", "Content-Length: 4")
        )
        await gets_leave(client, upstream)


async def test_a_client_that_expects_may_send_its_body_without_waiting() -> None:
    async with stage() as on:
        fields = ["Expect: 100-continue", "Content-Length: 4"]
        client, upstream = await on.post(*fields, body=b"body")
        await upstream.says(FINAL)
        await client.gets(FINAL)


async def test_an_upstream_may_refuse_the_body_that_a_client_asks_leave_to_send() -> None:
    async with stage() as on:
        client, upstream = await on.post("Expect: 100-continue", "Content-Length: 9")
        await upstream.says(head("HTTP/1.1 413 Content Too Large", "Content-Length: 0"))
        # Whether the body comes now is not known, so nothing may follow on either connection.
        await client.gets(
            head("HTTP/1.1 413 Content Too Large", "Content-Length: 0", "Connection: close")
        )
        await client.gets_end()
        await upstream.gets_cut()
        await client.says(get("/2"))
        await on.nothing_reached_upstream()


async def test_an_upstream_that_gave_leave_is_used_again() -> None:
    async with stage() as on:
        client, upstream = await on.post("Expect: 100-continue", "Content-Length: 4")
        await gets_leave(client, upstream)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_an_empty_expectation_is_none() -> None:
    """So that both connections go on when no 100 has come: nobody has asked for one."""
    async with stage() as on:
        client, upstream = await on.post("Expect: ", "Content-Length: 4", body=b"body")
        await upstream.says(FINAL)
        await client.gets(FINAL)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_an_expectation_on_two_lines_is_one() -> None:
    async with stage() as on:
        lines = ["Expect: 100-continue", "Content-Length: 4", "expect: 100-Continue"]
        client, upstream = await on.post(*lines)
        await gets_leave(client, upstream)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["Expect: 200-ok"], id="another"),
        pytest.param(["Expect: 100-continue, x"], id="a list"),
        pytest.param(["Expect: 100-continue", "Expect: 200-ok"], id="one of two"),
    ],
)
async def test_another_expectation_gets_417(fields: list[str]) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/", *fields))
        await client.gets_error(417, "http_request_error", closes=True)
        await on.nothing_reached_upstream()

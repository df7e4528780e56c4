"""Interim responses and Expect (contract, section 2)."""

import pytest

from tests.helpers.script import ROUTE, Peer, get, head, stage

FINAL = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


async def expect_continue(client: Peer, upstream: Peer) -> None:
    """Fail unless 100 (Continue), the body and the response arrive."""
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
async def test_an_interim_response_is_forwarded_as_it_arrives(interim: bytes) -> None:
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


async def test_interim_responses_and_the_final_one_may_arrive_in_one_read() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        responses = (
            head("HTTP/1.1 100 Continue")
            + head("HTTP/1.1 103 Early Hints", "Link: </a>")
            + head("HTTP/1.1 103 Early Hints", "Link: </b>")
            + FINAL
        )
        await upstream.says(responses)
        await client.gets(responses)


async def test_hop_by_hop_fields_of_an_interim_response_are_removed() -> None:
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
async def test_framing_of_an_interim_response_is_ignored_and_the_next_bytes_are_a_head(
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
async def test_an_expectation_is_forwarded_and_100_is_returned(value: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair(
            head("POST / HTTP/1.1", "Host: a", f"Expect: {value}", ROUTE, "Content-Length: 4")
        )
        await upstream.gets(
            head("POST / HTTP/1.1", "Host: a", f"Expect: {value}", "Content-Length: 4")
        )
        await expect_continue(client, upstream)


async def test_a_client_that_expects_may_send_its_body_without_waiting() -> None:
    async with stage() as on:
        fields = ["Expect: 100-continue", "Content-Length: 4"]
        client, upstream = await on.post(*fields, body=b"body")
        await upstream.says(FINAL)
        await client.gets(FINAL)


async def test_an_upstream_may_refuse_a_body_before_it_is_sent() -> None:
    async with stage() as on:
        client, upstream = await on.post("Expect: 100-continue", "Content-Length: 9")
        await upstream.says(head("HTTP/1.1 413 Content Too Large", "Content-Length: 0"))
        # The client may or may not send the body now, so neither connection is reused.
        await client.gets(
            head("HTTP/1.1 413 Content Too Large", "Content-Length: 0", "Connection: close")
        )
        await client.gets_end()
        await upstream.gets_cut()
        await client.says(get("/2"))
        await on.nothing_reached_upstream()


async def test_after_100_the_upstream_connection_is_reused() -> None:
    async with stage() as on:
        client, upstream = await on.post("Expect: 100-continue", "Content-Length: 4")
        await expect_continue(client, upstream)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_an_empty_expectation_is_ignored() -> None:
    """Without a 100, both connections stay open, because the client does not wait for one."""
    async with stage() as on:
        client, upstream = await on.post("Expect: ", "Content-Length: 4", body=b"body")
        await upstream.says(FINAL)
        await client.gets(FINAL)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_an_expectation_on_two_lines_is_one_expectation() -> None:
    async with stage() as on:
        lines = ["Expect: 100-continue", "Content-Length: 4", "expect: 100-Continue"]
        client, upstream = await on.post(*lines)
        await expect_continue(client, upstream)


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

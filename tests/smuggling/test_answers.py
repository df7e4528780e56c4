"""What an upstream answers is given to whoever asked, once, and in one reading or not at all.

Each dialogue ends with another client that asks: it is served by a connection that is not spoiled.
"""

import pytest

from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.smuggling.attacks import ANSWERS, CHUNKS

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
HIDDEN = head("HTTP/1.1 200 OK", "Content-Length: 6") + b"hidden"
NO_CONTENT = head("HTTP/1.1 204 No Content")
NOT_MODIFIED = head("HTTP/1.1 304 Not Modified", "Content-Length: 2")
CHUNKED = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n"


async def is_refused(on: Stage, client: Peer, upstream: Peer) -> None:
    """Fail unless the client gets a 502 and nothing else, and the next one its own answer."""
    await client.gets_error(502, "http_protocol_error")
    await upstream.gets_end()
    await on.nothing_reached_upstream()


async def is_served_elsewhere(on: Stage, client: Peer, path: str) -> None:
    """Fail unless what a client asks next is asked, and answered, over a new connection."""
    another = await on.upstream()
    await another.gets(head(f"GET {path} HTTP/1.1", "Host: a"))
    await another.says(NO_CONTENT)
    await client.gets(NO_CONTENT)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_ambiguous_answer_is_a_502(answer: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(answer + b"\r\n" + CHUNKS)
        await is_refused(on, client, upstream)


# What splits an answer in two for a reader that takes less than CRLF for a line end, or more.
SPLITS = {
    "bare LF": b"HTTP/1.1 302 Found\r\nLocation: /\n\nHTTP/1.1 200 OK\r\n",
    "bare CR": b"HTTP/1.1 302 Found\r\nLocation: /\r\rHTTP/1.1 200 OK\r\n",
    "LF CR": b"HTTP/1.1 302 Found\r\nLocation: /\n\rSet-Cookie: a\r\n",
    "NUL": b"HTTP/1.1 302 Found\r\nLocation: /\x00Set-Cookie: a\r\n",
    "vertical tab": b"HTTP/1.1 302 Found\r\nLocation: /\x0bSet-Cookie: a\r\n",
    "bare LF in the reason": b"HTTP/1.1 200 OK\nSet-Cookie: a\r\n",
    "bare CR in the reason": b"HTTP/1.1 200 OK\rSet-Cookie: a\r\n",
    "blank before a colon": b"HTTP/1.1 200 OK\r\nSet-Cookie : a\r\n",
    "name with a blank": b"HTTP/1.1 200 OK\r\nSet Cookie: a\r\n",
    "leading blank": b"HTTP/1.1 200 OK\r\n Set-Cookie: a\r\n",
    "status of two digits": b"HTTP/1.1 20\r\n",
    "status with a sign": b"HTTP/1.1 +200 OK\r\n",
    "another version": b"HTTP/1.2 200 OK\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\n",
    "a body first": b"okHTTP/1.1 200 OK\r\n",
}


@pytest.mark.parametrize("answer", SPLITS.values(), ids=SPLITS)
async def test_an_answer_that_splits_is_a_502(answer: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(answer + b"Content-Length: 0\r\n\r\n" + HIDDEN)
        await is_refused(on, client, upstream)


# The method, what the upstream says in one piece, and what of it is the client's.
QUEUES = {
    "behind a length": ("GET", OK, OK),
    "behind chunks": ("GET", CHUNKED, CHUNKED),
    "behind 204": ("GET", NO_CONTENT, NO_CONTENT),
    "behind 304": ("GET", NOT_MODIFIED, NOT_MODIFIED),
    "behind HEAD": ("HEAD", OK[:-2], OK[:-2]),
    "a body to HEAD": ("HEAD", OK, OK[:-2]),
    "a body of 304": ("GET", NOT_MODIFIED + b"ok", NOT_MODIFIED),
}


@pytest.mark.parametrize(("method", "said", "expected"), QUEUES.values(), ids=QUEUES)
async def test_a_second_answer_is_nobody_s(method: str, said: bytes, expected: bytes) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"{method} / HTTP/1.1", "Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.says(said + HIDDEN)
        await client.gets(expected)
        await upstream.gets_end()
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("said", [OK, CHUNKED, NO_CONTENT], ids=["length", "chunks", "204"])
async def test_a_second_answer_is_not_that_of_the_next_pipelined_request(said: bytes) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/1") + get("/2"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(said + HIDDEN)
        await client.gets(said)
        await is_served_elsewhere(on, client, "/2")
        await upstream.gets_end()


async def test_an_answer_that_comes_before_the_request_is_nobody_s() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        await upstream.says(HIDDEN)
        await upstream.gets_end()
        await on.nothing_reached_upstream()


async def test_an_answer_without_a_length_is_the_last_of_its_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK") + HIDDEN)
        upstream.ends()
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await client.gets(b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n")
        await on.nothing_reached_upstream()


# 1xx: what the upstream says, and what of it is the client's.

CONTINUE = head("HTTP/1.1 100 Continue")
INTERIM = {
    "with a length": (b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok", b""),
    "with a coding": (b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    "with a body": (CONTINUE + b"ok" + OK, CONTINUE),
    "with a bare LF": (b"HTTP/1.1 103 Hints\r\nLink: a\n\r\n", b""),
    "a switch unasked": (head("HTTP/1.1 101 X", "Connection: upgrade", "Upgrade: a"), b""),
    "a switch without a protocol": (head("HTTP/1.1 101 X"), b""),
    "a status below 100": (head("HTTP/1.1 099 X"), b""),
}


@pytest.mark.parametrize(("said", "expected"), INTERIM.values(), ids=INTERIM)
async def test_an_interim_response_that_is_more_than_that_is_a_502(
    said: bytes, expected: bytes
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(said + HIDDEN)
        await client.gets(expected)
        await is_refused(on, client, upstream)


async def test_interim_responses_are_those_of_the_request_in_flight_only() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/1") + get("/2"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(OK + head("HTTP/1.1 100 Continue"))
        await client.gets(OK)
        await is_served_elsewhere(on, client, "/2")


async def test_an_upgrade_that_was_refused_opens_no_tunnel() -> None:
    """What the client sends as if it had been granted is judged like any other request."""
    async with stage() as on:
        client = await on.client()
        fields = ["Host: a", ROUTE, "Connection: upgrade", "Upgrade: a"]
        await client.says(head("GET / HTTP/1.1", *fields) + head("GET /hidden HTTP/1.1", "Host: a"))
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.says(OK)
        await client.gets(OK)
        await client.gets_error(400, "http_request_error")
        other = await on.client()
        await other.says(get("/other"))
        await upstream.gets(head("GET /other HTTP/1.1", "Host: a"))


# Early answers


async def test_the_rest_of_a_body_that_was_answered_early_is_no_request() -> None:
    hidden = head("GET /hidden HTTP/1.1", "Host: a")
    async with stage() as on:
        client, upstream = await on.posted(f"Content-Length: {len(hidden)}")
        await upstream.says(OK)
        await client.gets(OK)
        await client.says(hidden + get("/next"))
        await upstream.gets(hidden)
        # An upstream that has not read the body takes it for a request, whose answer is nobody's.
        await is_served_elsewhere(on, client, "/next")
        await upstream.gets_end()


async def test_a_connection_that_was_answered_early_is_in_nobody_s_pool() -> None:
    async with stage() as on:
        client, upstream = await on.posted("Content-Length: 5")
        await upstream.says(OK)
        await client.gets(OK)
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("interim", [b"", head("HTTP/1.1 103 Early Hints")], ids=["", "hints"])
async def test_an_answer_to_an_expectation_is_the_last_of_its_connection(interim: bytes) -> None:
    """The body came unasked, and an upstream that did not want it takes it for a request."""
    hidden = head("GET /hidden HTTP/1.1", "Host: a")
    fields = ["Expect: 100-continue", f"Content-Length: {len(hidden)}"]
    async with stage() as on:
        client, upstream = await on.posted(*fields, body=hidden)
        await upstream.says(interim + OK)
        await client.gets(interim + OK)
        await on.nothing_reached_upstream()
        await upstream.gets_end()


async def test_a_body_that_turns_bad_behind_an_early_answer_spoils_the_connection() -> None:
    async with stage() as on:
        client, upstream = await on.posted("Transfer-Encoding: chunked")
        await upstream.says(OK)
        await client.gets(OK)
        await client.says(b"0 \r\n\r\n" + get("/hidden"))
        await client.gets_cut()
        await upstream.gets_cut()
        await on.nothing_reached_upstream()


async def test_a_second_answer_to_a_body_under_way_is_nobody_s() -> None:
    async with stage() as on:
        client, upstream = await on.posted("Content-Length: 5")
        await upstream.says(OK)
        await client.gets(OK)
        await upstream.says(HIDDEN)
        await upstream.gets_end()
        assert HIDDEN not in await client.gets_cut()
        await on.nothing_reached_upstream()

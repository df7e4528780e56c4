"""What an upstream answers is given to whoever asked, once, and in one reading or not at all.

Each dialogue ends with another client that asks: it is served by a connection that is not spoiled.
"""

import pytest

from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.smuggling.attacks import ANSWERS, CHUNKS, CODING, LENGTH, NORMALIZED

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
    "bare CR": b"HTTP/1.1 302 Found\r\nLocation: /\r\rHTTP/1.1 200 OK\r\n",
    "LF CR": b"HTTP/1.1 302 Found\r\nLocation: /\n\rSet-Cookie: a\r\n",
    "NUL": b"HTTP/1.1 302 Found\r\nLocation: /\x00Set-Cookie: a\r\n",
    "vertical tab": b"HTTP/1.1 302 Found\r\nLocation: /\x0bSet-Cookie: a\r\n",
    "bare CR in the reason": b"HTTP/1.1 200 OK\rSet-Cookie: a\r\n",
    "blank before a colon": b"HTTP/1.1 200 OK\r\nSet-Cookie : a\r\n",
    "name with a blank": b"HTTP/1.1 200 OK\r\nSet Cookie: a\r\n",
    "leading blank": b"HTTP/1.1 200 OK\r\n Set-Cookie: a\r\n",
    "status of two digits": b"HTTP/1.1 20\r\n",
    "status with a sign": b"HTTP/1.1 +200 OK\r\n",
    "another version": b"HTTP/2.0 200 OK\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\n",
    "a body first": b"okHTTP/1.1 200 OK\r\n",
}


@pytest.mark.parametrize("answer", SPLITS.values(), ids=SPLITS)
async def test_an_answer_that_splits_is_a_502(answer: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(answer + b"Content-Length: 0\r\n\r\n" + HIDDEN)
        await is_refused(on, client, upstream)


@pytest.mark.parametrize(("answer", "clean"), NORMALIZED.values(), ids=NORMALIZED)
async def test_an_answer_with_one_reading_is_the_last_of_its_connection(
    answer: bytes, clean: bytes
) -> None:
    """Surplus bytes reach nobody, also those that come late, and nothing is ambiguous any more."""
    async with stage() as on:
        client, upstream = await on.pair()
        length = 5 if CODING in clean else len(CHUNKS) if LENGTH in clean else 0
        await upstream.says(answer + b"\r\n" + CHUNKS)
        await client.gets(clean + b"\r\n" + CHUNKS[:length])
        await upstream.gets_end()
        await on.nothing_reached_upstream()


async def test_what_follows_a_bare_blank_line_is_the_body_of_that_answer() -> None:
    said = b"HTTP/1.1 302 Found\r\nLocation: /\n\n"
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(said + HIDDEN)
        upstream.ends()
        await client.gets(
            head("HTTP/1.1 302 Found", "Location: /", "Transfer-Encoding: chunked")
            + b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"
        )  # fmt: skip
        await on.nothing_reached_upstream()


# A response without a body that tells of one: what comes late is nobody's.
LATE = {
    "HEAD with a length": ("HEAD", head("HTTP/1.1 200 OK", "Content-Length: 2"), b"ok"),
    "HEAD with a coding": (
        "HEAD",
        head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
        b"2\r\nok\r\n0\r\n\r\n",
    ),
    "304 with a length": ("GET", head("HTTP/1.1 304 X", "Content-Length: 2"), b"ok"),
    "304 with a coding": ("GET", head("HTTP/1.1 304 X", "Transfer-Encoding: chunked"), HIDDEN),
}


@pytest.mark.parametrize(("method", "said", "late"), LATE.values(), ids=LATE)
async def test_a_body_that_comes_late_where_none_belongs_is_no_answer(
    method: str, said: bytes, late: bytes
) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"{method} / HTTP/1.1", "Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.says(said)
        await client.gets(said)
        await upstream.gets_end()
        await client.says(get("/next"))
        await is_served_elsewhere(on, client, "/next")


# A chunk line that says the same in other bytes, and what of it is the client's.
CHUNK_LINES = {
    "blanks behind a size": b"2  \r\nok\r\n0\t\r\n\r\n",
    "zeros before a size": b"00000000000000000002\r\nok\r\n00\r\n\r\n",
    "blanks around an extension": b'2 ; a = "b"\r\nok\r\n0 ;c\r\n\r\n',
}


@pytest.mark.parametrize("said", CHUNK_LINES.values(), ids=CHUNK_LINES)
async def test_a_loose_chunk_line_leaves_cleanly_and_is_the_last_of_its_connection(
    said: bytes,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
        await upstream.says(start + said)
        await client.gets(start + b"2\r\nok\r\n0\r\n\r\n")
        await upstream.gets_end()
        await on.nothing_reached_upstream()


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
    "with a length and a body": (
        b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok",
        CONTINUE,
    ),
    "with a coding and a body": (
        b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head("HTTP/1.1 103 Hints"),
    ),
    "with a body": (CONTINUE + b"ok" + OK, CONTINUE),
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


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"HTTP/1.1 103 X\r\nContent-Length: 2\r\n\r\n", head("HTTP/1.1 103 X")),
        (b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n", head("HTTP/1.1 103 X")),
        (b"HTTP/1.1 103 X\nLink: a\n\n", head("HTTP/1.1 103 X", "Link: a")),
        (b"HTTP/1.3 103\r\n\r\n" * 3, head("HTTP/1.1 103 ") * 3),
    ],
    ids=["length", "coding", "bare LF", "three of a later version"],
)
@pytest.mark.parametrize("size", [2, 4096])
async def test_an_interim_response_is_normalized_and_its_connection_not_used_again(
    said: bytes, expected: bytes, size: int
) -> None:
    final = head("HTTP/1.1 200 OK", f"Content-Length: {size}") + b"k" * size
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(said + final)
        await client.gets(expected + final)
        await upstream.gets_end()
        await on.nothing_reached_upstream()


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

"""A response is forwarded to its request only, once, and only if it has one reading.

Each dialogue ends with a request of another client, which is served by a valid connection.
"""

import pytest

from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.smuggling.attacks import AMBIGUOUS_RESPONSES, CHUNKS, CODING, LENGTH, NORMALIZED

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
HIDDEN = head("HTTP/1.1 200 OK", "Content-Length: 6") + b"hidden"
NO_CONTENT = head("HTTP/1.1 204 No Content")
NOT_MODIFIED = head("HTTP/1.1 304 Not Modified", "Content-Length: 2")
CHUNKED = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n"


async def is_refused(on: Stage, client: Peer, upstream: Peer) -> None:
    """Fail unless the client gets a 502, and the next client its own response."""
    await client.gets_error(502, "http_protocol_error")
    await upstream.gets_end()
    await on.nothing_reached_upstream()


async def is_served_by_a_new_connection(on: Stage, client: Peer, path: str) -> None:
    """Fail unless the next request of a client is sent over a new connection, and served."""
    fresh = await on.upstream()
    await fresh.gets(head(f"GET {path} HTTP/1.1", "Host: a"))
    await fresh.says(NO_CONTENT)
    await client.gets(NO_CONTENT)


@pytest.mark.parametrize("response", AMBIGUOUS_RESPONSES.values(), ids=AMBIGUOUS_RESPONSES)
async def test_an_ambiguous_response_is_a_502(response: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(response + b"\r\n" + CHUNKS)
        await is_refused(on, client, upstream)


# Responses that are two responses for a reader with other line ends than CRLF.
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


@pytest.mark.parametrize("response", SPLITS.values(), ids=SPLITS)
async def test_a_response_that_could_be_split_is_a_502(response: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(response + b"Content-Length: 0\r\n\r\n" + HIDDEN)
        await is_refused(on, client, upstream)


@pytest.mark.parametrize(("response", "clean"), NORMALIZED.values(), ids=NORMALIZED)
async def test_a_normalized_response_is_the_last_of_its_connection(
    response: bytes, clean: bytes
) -> None:
    """Surplus bytes are not forwarded, also if they come late; the result is unambiguous."""
    async with stage() as on:
        client, upstream = await on.pair()
        length = 5 if CODING in clean else len(CHUNKS) if LENGTH in clean else 0
        await upstream.says(response + b"\r\n" + CHUNKS)
        await client.gets(clean + b"\r\n" + CHUNKS[:length])
        await upstream.gets_end()
        await on.nothing_reached_upstream()


async def test_bytes_after_a_bare_blank_line_are_the_body() -> None:
    sent = b"HTTP/1.1 302 Found\r\nLocation: /\n\n"
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(sent + HIDDEN)
        upstream.ends()
        await client.gets(
            head("HTTP/1.1 302 Found", "Location: /", "Transfer-Encoding: chunked")
            + b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"
        )  # fmt: skip
        await on.nothing_reached_upstream()


# Responses without a body whose fields announce one, and a body that comes late.
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


@pytest.mark.parametrize(("method", "sent", "late"), LATE.values(), ids=LATE)
async def test_a_late_body_is_not_read_as_a_response(method: str, sent: bytes, late: bytes) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"{method} / HTTP/1.1", "Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.says(sent)
        await client.gets(sent)
        await upstream.gets_end()
        await client.says(get("/next"))
        await is_served_by_a_new_connection(on, client, "/next")


# Chunk lines that are normalized.
CHUNK_LINES = {
    "blanks after a size": b"2  \r\nok\r\n0\t\r\n\r\n",
    "zeros before a size": b"00000000000000000002\r\nok\r\n00\r\n\r\n",
    "blanks around an extension": b'2 ; a = "b"\r\nok\r\n0 ;c\r\n\r\n',
}


@pytest.mark.parametrize("sent", CHUNK_LINES.values(), ids=CHUNK_LINES)
async def test_a_normalized_chunk_line_is_the_last_of_its_connection(
    sent: bytes,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
        await upstream.says(start + sent)
        await client.gets(start + b"2\r\nok\r\n0\r\n\r\n")
        await upstream.gets_end()
        await on.nothing_reached_upstream()


# The method, the bytes of the upstream in one piece, and those that are forwarded.
QUEUES = {
    "after a length": ("GET", OK, OK),
    "after chunks": ("GET", CHUNKED, CHUNKED),
    "after 204": ("GET", NO_CONTENT, NO_CONTENT),
    "after 304": ("GET", NOT_MODIFIED, NOT_MODIFIED),
    "after HEAD": ("HEAD", OK[:-2], OK[:-2]),
    "a body to HEAD": ("HEAD", OK, OK[:-2]),
    "a body of 304": ("GET", NOT_MODIFIED + b"ok", NOT_MODIFIED),
}


@pytest.mark.parametrize(("method", "sent", "expected"), QUEUES.values(), ids=QUEUES)
async def test_a_second_response_is_not_forwarded(
    method: str, sent: bytes, expected: bytes
) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"{method} / HTTP/1.1", "Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.says(sent + HIDDEN)
        await client.gets(expected)
        await upstream.gets_end()
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("sent", [OK, CHUNKED, NO_CONTENT], ids=["length", "chunks", "204"])
async def test_a_second_response_is_not_that_of_the_next_pipelined_request(sent: bytes) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/1") + get("/2"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(sent + HIDDEN)
        await client.gets(sent)
        await is_served_by_a_new_connection(on, client, "/2")
        await upstream.gets_end()


async def test_a_response_before_its_request_is_not_forwarded() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        await upstream.says(HIDDEN)
        await upstream.gets_end()
        await on.nothing_reached_upstream()


async def test_a_response_without_a_length_is_the_last_of_its_connection() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK") + HIDDEN)
        upstream.ends()
        await client.gets(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await client.gets(b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n")
        await on.nothing_reached_upstream()


# Interim responses: the bytes of the upstream, and those that are forwarded.

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
    "an unrequested switch": (head("HTTP/1.1 101 X", "Connection: upgrade", "Upgrade: a"), b""),
    "a switch without a protocol": (head("HTTP/1.1 101 X"), b""),
    "a status below 100": (head("HTTP/1.1 099 X"), b""),
}


@pytest.mark.parametrize(("sent", "expected"), INTERIM.values(), ids=INTERIM)
async def test_an_interim_response_with_content_is_a_502(sent: bytes, expected: bytes) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(sent + HIDDEN)
        await client.gets(expected)
        await is_refused(on, client, upstream)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"HTTP/1.1 103 X\r\nContent-Length: 2\r\n\r\n", head("HTTP/1.1 103 X")),
        (b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n", head("HTTP/1.1 103 X")),
        (b"HTTP/1.1 103 X\nLink: a\n\n", head("HTTP/1.1 103 X", "Link: a")),
        (b"HTTP/1.3 103\r\n\r\n" * 3, head("HTTP/1.1 103 ") * 3),
    ],
    ids=["length", "coding", "bare LF", "three of a later version"],
)
@pytest.mark.parametrize("size", [2, 4096])
async def test_a_normalized_interim_response_is_on_the_last_use_of_its_connection(
    sent: bytes, expected: bytes, size: int
) -> None:
    final = head("HTTP/1.1 200 OK", f"Content-Length: {size}") + b"k" * size
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(sent + final)
        await client.gets(expected + final)
        await upstream.gets_end()
        await on.nothing_reached_upstream()


async def test_interim_responses_belong_to_the_request_in_flight_only() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(get("/1") + get("/2"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /1 HTTP/1.1", "Host: a"))
        await upstream.says(OK + head("HTTP/1.1 100 Continue"))
        await client.gets(OK)
        await is_served_by_a_new_connection(on, client, "/2")


async def test_a_refused_upgrade_opens_no_tunnel() -> None:
    """Bytes that the client sends in advance are checked like any other request."""
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


# Early responses


async def test_the_rest_of_a_body_after_an_early_response_is_no_request() -> None:
    hidden = head("GET /hidden HTTP/1.1", "Host: a")
    async with stage() as on:
        client, upstream = await on.post(f"Content-Length: {len(hidden)}")
        await upstream.says(OK)
        await client.gets(OK)
        await client.says(hidden + get("/next"))
        await upstream.gets(hidden)
        # An upstream that has not read the body would read it as a request, and respond to it.
        await is_served_by_a_new_connection(on, client, "/next")
        await upstream.gets_end()


async def test_a_connection_after_an_early_response_is_not_pooled() -> None:
    async with stage() as on:
        client, upstream = await on.post("Content-Length: 5")
        await upstream.says(OK)
        await client.gets(OK)
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("interim", [b"", head("HTTP/1.1 103 Early Hints")], ids=["", "hints"])
async def test_a_response_to_an_expectation_is_the_last_of_its_connection(interim: bytes) -> None:
    """The body was sent without a 100 response; the upstream could read it as a request."""
    hidden = head("GET /hidden HTTP/1.1", "Host: a")
    fields = ["Expect: 100-continue", f"Content-Length: {len(hidden)}"]
    async with stage() as on:
        client, upstream = await on.post(*fields, body=hidden)
        await upstream.says(interim + OK)
        await client.gets(interim + OK)
        await on.nothing_reached_upstream()
        await upstream.gets_end()


async def test_an_invalid_body_after_an_early_response_ends_the_connection() -> None:
    async with stage() as on:
        client, upstream = await on.post("Transfer-Encoding: chunked")
        await upstream.says(OK)
        await client.gets(OK)
        await client.says(b"0 \r\n\r\n" + get("/hidden"))
        await client.gets_cut()
        await upstream.gets_cut()
        await on.nothing_reached_upstream()


async def test_a_second_response_during_the_body_is_not_forwarded() -> None:
    async with stage() as on:
        client, upstream = await on.post("Content-Length: 5")
        await upstream.says(OK)
        await client.gets(OK)
        await upstream.says(HIDDEN)
        await upstream.gets_end()
        assert HIDDEN not in await client.gets_cut()
        await on.nothing_reached_upstream()

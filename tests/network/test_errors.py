"""Error responses of the proxy, and that nothing reaches the upstream (contract, 6 and 7).

`gets_error` checks every part of a response: status line, content type and length, Cache-Control,
Proxy-Status, Date, and a body of one line.
"""

import asyncio
import resource
from collections.abc import Iterator

import pytest

from cmux_proxy import Limits
from tests.helpers.proxies import local_config
from tests.helpers.script import ROUTE, get, head, stage
from tests.helpers.timing import later

# Requests that two parsers could read differently. None of them is repaired and forwarded.
MALFORMED = {
    "a bare LF": b"GET / HTTP/1.1\nHost: a\n<route>\n\n",
    "a bare LF between fields": b"GET / HTTP/1.1\r\nHost: a\n<route>\r\n\r\n",
    "a bare CR": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n<route>\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\x00\r\n<route>\r\n\r\n",
    "a control byte": b"GET / HTTP/1.1\r\nHost: a\r\nA: \x7f\r\n<route>\r\n\r\n",
    "a blank before a colon": b"GET / HTTP/1.1\r\nHost : a\r\n<route>\r\n\r\n",
    "a blank in a name": b"GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n<route>\r\n\r\n",
    "a blank before the first field": b"GET / HTTP/1.1\r\n Host: a\r\n<route>\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n<route>\r\n\r\n",
    "an empty name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n<route>\r\n\r\n",
    "a name that is no token": b"GET / HTTP/1.1\r\nHost: a\r\nA(b): c\r\n<route>\r\n\r\n",
    "a line without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nA\r\n<route>\r\n\r\n",
    "length and coding": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\nab",
    "a length twice": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nContent-Length: 1\r\n"
    b"Content-Length: 1\r\n\r\na",
    "a signed length": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nContent-Length: +1\r\n\r\na",
    "a negative length": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nContent-Length: -1\r\n\r\na",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nContent-Length: 1, 1\r\n\r\na",
    "an empty length": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nContent-Length:\r\n\r\n",
    "a huge length": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Content-Length: 99999999999999999999\r\n\r\na",
    "another coding": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nTransfer-Encoding: gzip\r\n\r\n",
    "identity": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nTransfer-Encoding: identity\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked with a parameter": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    "chunked with a vertical tab": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a signed chunk": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
    "a chunk with a prefix": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "a chunk size that overflows": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n",
    "a chunk without its CRLF": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a bare LF in an extension": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
    "a malformed trailer": b"POST / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\nA : b\r\n\r\n",
    "a connection option that is no token": b"GET / HTTP/1.1\r\nHost: a\r\n<route>\r\n"
    b"Connection: a b\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
async def test_an_ambiguous_request_gets_400_and_is_not_forwarded(
    request_bytes: bytes,
) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(request_bytes.replace(b"<route>", ROUTE.encode()))
        text = await client.gets_error(400, "http_request_error", closes=True)
        assert text.startswith("bad request: ")
        await on.nothing_reached_upstream()


LIMITS = local_config(limits=Limits(request_line=100, header_section=1000, header_fields=5))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"GET /" + b"a" * 200, 414, id="an open request line"),
        pytest.param(b"a" * 200, 400, id="an open method"),
        pytest.param(head("a" * 200 + " / HTTP/1.1", "Host: a", ROUTE), 400, id="a method"),
        pytest.param(get("/" + "a" * 200), 414, id="a request line"),
        pytest.param(get("/", "A: " + "a" * 2000), 431, id="a long field"),
        pytest.param(get("/", "A: 1", "B: 2", "C: 3", "D: 4"), 431, id="many fields"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"a" * 2000, 431, id="an open field"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300, 431, id="an open section"),
    ],
)
async def test_a_head_is_refused_as_soon_as_it_is_too_large(
    request_bytes: bytes, status: int
) -> None:
    async with stage(LIMITS) as on:
        client = await on.client()
        await client.says(request_bytes)
        await client.gets_error(status, "http_request_error", closes=True)
        await on.nothing_reached_upstream()


async def test_a_head_within_its_limits_is_served() -> None:
    async with stage(LIMITS) as on:
        _client, upstream = await on.pair(get("/" + "a" * 80, "A: " + "a" * 800, "B: 2", "C: 3"))
        await upstream.gets(
            head(f"GET /{'a' * 80} HTTP/1.1", "Host: a", f"A: {'a' * 800}", "B: 2", "C: 3")
        )


async def test_an_error_for_head_has_no_body() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("HEAD / HTTP/1.1", "Host: a"))
        await client.gets_error(400, "http_request_error", with_body=False)
        on.listener.close()
        await client.says(head("HEAD / HTTP/1.1", "Host: a", ROUTE))
        await client.gets_error(502, "connection_refused", with_body=False)


async def test_with_connection_close_the_connection_closes_after_an_error() -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        await client.says(get("/", "Connection: close"))
        await client.gets_error(502, "connection_refused", closes=True)


async def test_after_a_complete_request_the_connection_survives_an_error() -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        for _ in range(3):
            body = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 2") + b"ok"
            await client.says(body)
            await client.gets_error(502, "connection_refused")


async def test_the_body_of_a_refused_request_is_not_parsed_as_a_request() -> None:
    async with stage() as on:
        client = await on.client()
        hidden = get("/hidden").replace(b"<port>", b"%d" % on.port)
        fields = ["Host: a", f"Content-Length: {len(hidden)}"]
        await client.says(head("POST / HTTP/1.1", *fields))
        await client.gets_error(400, "http_request_error", closes=True)
        await client.says(hidden)
        await on.nothing_reached_upstream()


@pytest.mark.parametrize(
    "fields",
    [["Content-Length: 5242880"], ["Transfer-Encoding: chunked"]],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize(
    ("route", "status", "error"),
    [
        pytest.param(ROUTE, 502, "connection_refused", id="refused port"),
        pytest.param("A: b", 400, "http_request_error", id="no route"),
        pytest.param("X-Cmux-Port-Internal: 0", 400, "http_request_error", id="no port"),
        pytest.param("Expect: x", 417, "http_request_error", id="expectation"),
    ],
)
async def test_a_client_that_sends_a_large_body_can_read_the_error(
    route: str, status: int, error: str, fields: list[str]
) -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        await client.says(head("POST / HTTP/1.1", "Host: a", route, *fields))
        # The client reads the response after it has sent the body: no reset may destroy it.
        data = b"10000\r\n" + bytes(65_536) + b"\r\n" if "chunked" in fields[0] else bytes(65_536)
        for _ in range(80):
            await later(client.wire.send(data))
        client.ends()
        await client.gets_error(status, error, closes=True)


async def test_an_error_can_be_read_while_the_body_is_sent() -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        await client.says(head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 5242880"))
        sending = asyncio.get_running_loop().create_task(client.wire.send(bytes(5_242_880)))
        await client.gets_error(502, "connection_refused", closes=True)
        await later(sending)


@pytest.fixture
def descriptor_limits() -> Iterator[list[int]]:
    """Return the soft and the hard limit of descriptors; restore them at the end."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield [*limits]
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_without_a_descriptor_for_the_dial_a_request_gets_503_with_retry_after(
    descriptor_limits: list[int],
) -> None:
    async with stage() as on:
        client = await on.client()
        await on.serves()
        hard = descriptor_limits[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await client.says(get())
            text = await client.gets_error(503, "connection_limit_reached", "Retry-After: 1")
            assert text.startswith("no resources left for a connection to 127.0.0.1:")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor_limits[0], hard))
        await client.says(get())
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a"))

"""Field lines are forwarded byte for byte, except hop-by-hop fields (contract, section 2)."""

import pytest

from tests.helpers.script import ROUTE, head, stage

UNUSUAL_LINES = [
    "Accept: text/html,*/*;q=0.8",
    "accept:  two blanks  ",
    "ACCEPT:",
    "X:\t tab \t",
    "Cookie: a=b; c=d",
    "Cookie: e=f",
    "!#$%&'*+-.^_`|~09aZ: every byte of a token",
    "Obs-Text: \x80\xe4\xff",
    "Quoted: \"a, b\" 'c' (d) <e>",
    "Colon: a:b::c",
    "X-Forwarded-For: 1.2.3.4",
    "Via: 1.0 somebody",
    "Authorization: Basic YTpi",
    "Range: bytes=0-1",
    "Trailer: X-Sum",
    "X-Cmux-Port: not ours",
    "Long: " + "v" * 5000,
]


async def test_request_fields_are_forwarded_byte_for_byte_in_order() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", *UNUSUAL_LINES, ROUTE, "hOsT: a", *UNUSUAL_LINES))
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", *UNUSUAL_LINES, "hOsT: a", *UNUSUAL_LINES))
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content"))


async def test_response_fields_are_forwarded_byte_for_byte_in_order() -> None:
    cookies = [f"Set-Cookie: c{n}={n}; Expires=Wed, 21 Oct 2026 07:28:00 GMT" for n in range(5)]
    lines = [cookies[0], *UNUSUAL_LINES, *cookies[1:], "set-cookie: c0=other", "Server: x"]
    async with stage() as on:
        client, upstream = await on.pair()
        response = head("HTTP/1.1 200 All's well!", *lines, "content-LENGTH: 2") + b"ok"
        await upstream.says(response)
        await client.gets(response)


@pytest.mark.parametrize("line", ["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 299 \xe4"])
async def test_the_status_line_is_forwarded_byte_for_byte(line: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head(line, "Content-Length: 0"))
        await client.gets(head(line, "Content-Length: 0"))


@pytest.mark.parametrize(
    ("line", "normalized"),
    [("HTTP/1.1 200", "HTTP/1.1 200 "), ("HTTP/1.2 200 OK", "HTTP/1.1 200 OK")],
)
async def test_a_status_line_is_normalized(line: str, normalized: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head(line, "Content-Length: 0"))
        await client.gets(head(normalized, "Content-Length: 0"))
        await upstream.gets_end()


async def test_the_version_in_the_status_line_is_1_1() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.0 200 OK", "Content-Length: 2") + b"ok")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        await upstream.gets_end()


HOP_BY_HOP = [
    "Connection: keep-alive",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: trailers;q=1",
    "Upgrade: h2c",
    "Proxy-Authenticate: Basic",
    "Proxy-Authorization: Basic YTpi",
    "CONNECTION:",
    "te: gzip",
]


@pytest.mark.parametrize("line", HOP_BY_HOP)
async def test_a_hop_by_hop_field_is_not_forwarded_to_the_upstream(line: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", "A: 1", line, "B: 2", ROUTE))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a", "A: 1", "B: 2"))


async def test_te_trailers_is_sent_to_the_upstream_and_trailers_to_the_client() -> None:
    trailers = b"0\r\nServer-Timing: a\r\n\r\n"
    async with stage() as on:
        client = await on.client()
        lines = ["Host: a", "te: deflate;q=0.5, Trailers", "Connection: te, close", "A: 1"]
        await client.says(head("GET / HTTP/1.1", *lines, ROUTE))
        upstream = await on.upstream()
        await upstream.gets(
            head("GET / HTTP/1.1", "Host: a", "A: 1", "TE: trailers", "Connection: TE")
        )
        await upstream.says(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + trailers)
        await client.gets(
            head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Connection: close") + trailers
        )
        await client.gets_end()


@pytest.mark.parametrize("line", [*HOP_BY_HOP, "TE: trailers"])
async def test_a_hop_by_hop_field_is_not_forwarded_to_the_client(line: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 204 No Content", "A: 1", line, "B: 2"))
        await client.gets(head("HTTP/1.1 204 No Content", "A: 1", "B: 2"))


async def test_fields_that_connection_nominates_are_removed_in_any_case() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(
            head(
                "GET / HTTP/1.1",
                "X-One: goes",
                "Host: a",
                "Connection: x-one, keep-alive",
                "X-Onemore: stays",
                "connection: ,X-TWO ,,not-there",
                "x-two: goes",
                ROUTE,
                "X-ONE: goes too",
                "End: stays",
            )
        )
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a", "X-Onemore: stays", "End: stays"))
        await upstream.says(
            head("HTTP/1.1 204 No Content", "Connection: A-B", "a-b: goes", "a-bc: stays")
        )
        await client.gets(head("HTTP/1.1 204 No Content", "a-bc: stays"))


@pytest.mark.parametrize(
    "name",
    ["Content-Length", "Transfer-Encoding", "Host", "X-Cmux-Port-Internal", "x-cmux-Anything"],
)
async def test_a_request_that_nominates_framing_or_routing_fields_gets_400(name: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(
            head("GET / HTTP/1.1", "Host: a", ROUTE, f"Connection: keep-alive, {name}")
        )
        text = await client.gets_error(400, "http_request_error", closes=True)
        assert text == f"bad request: Connection may not name {name.lower()}"
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding"])
async def test_a_response_that_nominates_its_framing_keeps_it(name: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", f"Connection: {name}", "Content-Length: 0"))
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 0"))
        await upstream.gets_end()


async def test_a_reserved_field_of_a_response_is_forwarded() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        response = head("HTTP/1.1 204 No Content", "X-Cmux-Port-Internal: 1")
        await upstream.says(response)
        await client.gets(response)


async def test_a_head_may_arrive_byte_by_byte() -> None:
    async with stage() as on:
        client = await on.client()
        request = head("GET /slow HTTP/1.1", "Host: a", ROUTE, "A: b")
        for byte in request.replace(b"<port>", str(on.port).encode()):
            await client.says(bytes([byte]))
        upstream = await on.upstream()
        await upstream.gets(head("GET /slow HTTP/1.1", "Host: a", "A: b"))
        response = head("HTTP/1.1 200 OK", "Content-Length: 3")
        for byte in response:
            await upstream.says(bytes([byte]))
        await client.gets(response)
        for byte in b"abc":
            await upstream.says(bytes([byte]))
            await client.gets(bytes([byte]))


async def test_empty_lines_before_a_request_are_ignored() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(b"\r\n\r\n" + head("GET / HTTP/1.1", "Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content"))
        await client.says(b"\r\n")
        await client.says(b"\r")
        await client.says(b"\n" + head("GET /again HTTP/1.1", "Host: a", ROUTE))
        await upstream.gets(head("GET /again HTTP/1.1", "Host: a"))


async def test_a_lone_carriage_return_before_a_request_gets_400() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(b"\r")
        await on.nothing_reached_upstream()
        await client.says(b"GET / HTTP/1.1\r\n")
        await client.gets_error(400, "http_request_error", closes=True)

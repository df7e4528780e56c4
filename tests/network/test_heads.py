"""Header lines travel byte for byte, and only those that may not travel go (section 2)."""

import pytest

from tests.helpers.script import ROUTE, head, stage

STRANGE_LINES = [
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


async def test_request_lines_travel_byte_for_byte_in_order_and_nothing_is_added() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", *STRANGE_LINES, ROUTE, "hOsT: a", *STRANGE_LINES))
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", *STRANGE_LINES, "hOsT: a", *STRANGE_LINES))
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content"))


async def test_response_lines_travel_byte_for_byte_in_order_and_nothing_is_added() -> None:
    cookies = [f"Set-Cookie: c{n}={n}; Expires=Wed, 21 Oct 2026 07:28:00 GMT" for n in range(5)]
    lines = [cookies[0], *STRANGE_LINES, *cookies[1:], "set-cookie: c0=other", "Server: x"]
    async with stage() as on:
        client, upstream = await on.pair()
        answer = head("HTTP/1.1 200 All's well!", *lines, "content-LENGTH: 2") + b"ok"
        await upstream.says(answer)
        await client.gets(answer)


@pytest.mark.parametrize("line", ["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 299 \xe4"])
async def test_the_status_line_travels_byte_for_byte(line: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head(line, "Content-Length: 0"))
        await client.gets(head(line, "Content-Length: 0"))


@pytest.mark.parametrize(
    ("line", "clean"),
    [("HTTP/1.1 200", "HTTP/1.1 200 "), ("HTTP/1.2 200 OK", "HTTP/1.1 200 OK")],
)
async def test_a_status_line_leaves_as_it_should_be(line: str, clean: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head(line, "Content-Length: 0"))
        await client.gets(head(clean, "Content-Length: 0"))
        await upstream.gets_end()


async def test_the_version_in_the_status_line_is_our_own() -> None:
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
async def test_a_hop_by_hop_line_does_not_reach_the_upstream(line: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", "A: 1", line, "B: 2", ROUTE))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a", "A: 1", "B: 2"))


async def test_trailers_that_a_client_takes_reach_it_since_the_upstream_learns_of_that() -> None:
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
async def test_a_hop_by_hop_line_does_not_reach_the_client(line: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 204 No Content", "A: 1", line, "B: 2"))
        await client.gets(head("HTTP/1.1 204 No Content", "A: 1", "B: 2"))


async def test_what_connection_nominates_goes_in_every_line_and_any_case() -> None:
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
async def test_connection_may_not_nominate_framing_or_routing_away(name: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(
            head("GET / HTTP/1.1", "Host: a", ROUTE, f"Connection: keep-alive, {name}")
        )
        text = await client.gets_error(400, "http_request_error", closes=True)
        assert text == f"bad request: Connection may not name {name.lower()}"
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding"])
async def test_a_response_does_not_nominate_its_framing_away(name: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", f"Connection: {name}", "Content-Length: 0"))
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 0"))
        await upstream.gets_end()


async def test_a_response_may_carry_a_field_of_the_routing_family() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        answer = head("HTTP/1.1 204 No Content", "X-Cmux-Port-Internal: 1")
        await upstream.says(answer)
        await client.gets(answer)


async def test_a_head_may_come_byte_by_byte() -> None:
    async with stage() as on:
        client = await on.client()
        request = head("GET /slow HTTP/1.1", "Host: a", ROUTE, "A: b")
        for byte in request.replace(b"<port>", str(on.port).encode()):
            await client.says(bytes([byte]))
        upstream = await on.upstream()
        await upstream.gets(head("GET /slow HTTP/1.1", "Host: a", "A: b"))
        answer = head("HTTP/1.1 200 OK", "Content-Length: 3")
        for byte in answer:
            await upstream.says(bytes([byte]))
        await client.gets(answer)
        for byte in b"abc":
            await upstream.says(bytes([byte]))
            await client.gets(bytes([byte]))


async def test_empty_lines_before_a_request_are_passed_over() -> None:
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


async def test_a_lone_carriage_return_disturbs_nobody() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(b"\r")
        await on.nothing_reached_upstream()
        await client.says(b"GET / HTTP/1.1\r\n")
        await client.gets_error(400, "http_request_error", closes=True)

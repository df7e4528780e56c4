"""Upgrades: requested, granted, refused, and without a request (contract, section 3)."""

import pytest

from tests.helpers.script import ROUTE, SWITCHING, UPGRADE, get, head, stage

SENT = UPGRADE.replace(ROUTE.encode() + b"\r\n", b"")
NO_CONTENT = head("HTTP/1.1 204 No Content")


async def test_a_handshake_is_forwarded_in_both_directions_and_becomes_a_tunnel() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(SWITCHING)
        await client.gets(SWITCHING)
        for number in range(3):
            await client.says(b"\x81\x85GET / HTTP/1.1\r\n\r\n%d" % number)
            await upstream.gets(b"\x81\x85GET / HTTP/1.1\r\n\r\n%d" % number)
            await upstream.says(b"HTTP/1.1 200 OK\r\n\r\n\x00%d" % number)
            await client.gets(b"HTTP/1.1 200 OK\r\n\r\n\x00%d" % number)


async def test_bytes_that_arrive_with_the_101_are_delivered_first() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(SWITCHING + b"early")
        await upstream.says(b" late")
        await client.gets(SWITCHING + b"early late")


async def test_bytes_that_arrive_with_the_request_are_delivered_after_the_101() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE + b"early")
        await upstream.gets(SENT)
        await client.says(b" and more")
        assert upstream.wire.take_arrived() == b""
        await upstream.says(SWITCHING + b"hello")
        await client.gets(SWITCHING + b"hello")
        await upstream.gets(b"early and more")
        await client.says(b" late")
        await upstream.gets(b" late")


async def test_many_early_bytes_are_buffered_and_delivered() -> None:
    early = bytes(range(256)) * 256
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE + early)
        await upstream.gets(SENT)
        await client.says(early)
        await upstream.says(SWITCHING)
        await client.gets(SWITCHING)
        await upstream.gets(early + early)
        await client.says(b"end")
        await upstream.gets(b"end")


async def test_several_protocols_may_be_requested_and_one_granted() -> None:
    async with stage() as on:
        client, upstream = await on.pair(
            head("GET / HTTP/1.1", "Host: a", "Upgrade: foo/2, Bar", "Connection: upgrade", ROUTE)
        )
        await upstream.gets(
            head("GET / HTTP/1.1", "Host: a", "Upgrade: foo/2, Bar", "Connection: upgrade")
        )
        response = head("HTTP/1.1 101 Go", "connection: UPGRADE", "upgrade: bar")
        await upstream.says(response)
        await client.gets(response)
        await client.says(b"x")
        await upstream.gets(b"x")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Connection: Upgrade", "Upgrade: x"], id="plain"),
        pytest.param(["Connection: keep-alive, upgrade", "Upgrade: x"], id="in a list"),
        pytest.param(["Connection: close", "Connection: UPGRADE", "Upgrade: x"], id="2nd line"),
        pytest.param(["upgrade: x", "connection: upgrade"], id="lower case, other order"),
        pytest.param(["Connection:upgrade,", "Upgrade: x"], id="an empty element"),
        pytest.param(["Connection: Upgrade", "Upgrade: x", "Upgrade: y"], id="two Upgrade lines"),
    ],
)
async def test_upgrade_is_a_token_over_all_connection_lines(lines: list[str]) -> None:
    async with stage() as on:
        client, upstream = await on.pair(head("GET / HTTP/1.1", *lines, "Host: a", ROUTE))
        await upstream.gets(head("GET / HTTP/1.1", *lines, "Host: a"))
        response = head("HTTP/1.1 101 Go", "Upgrade: x", "Connection: upgrade")
        await upstream.says(response)
        await client.gets(response)


async def test_a_nominated_field_is_removed_and_the_handshake_is_forwarded() -> None:
    async with stage() as on:
        client, upstream = await on.pair(
            head(
                "GET / HTTP/1.1",
                "Host: a",
                "Connection: upgrade, x-hop",
                "X-Hop: 1",
                "Upgrade: x",
                ROUTE,
            )
        )
        await upstream.gets(head("GET / HTTP/1.1", "Host: a", "Upgrade: x", "Connection: upgrade"))
        response = head("HTTP/1.1 101 Go", "Upgrade: x", "Connection: upgrade")
        await upstream.says(response)
        await client.gets(response)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Upgrade: x"], id="no Connection"),
        pytest.param(["Connection: upgrade"], id="no Upgrade"),
        pytest.param(["Connection: upgraded", "Upgrade: x"], id="another token"),
        pytest.param(["Connection: x-upgrade", "Upgrade: x"], id="a token with more"),
        pytest.param(["Connection: upgrade", "Upgrade:"], id="no protocol"),
    ],
)
async def test_an_incomplete_upgrade_request_is_forwarded_without_upgrade_fields(
    lines: list[str],
) -> None:
    async with stage() as on:
        client, upstream = await on.pair(head("GET / HTTP/1.1", *lines, "Host: a", ROUTE))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(SWITCHING)
        text = await client.gets_error(502, "http_protocol_error")
        assert text.endswith("a 101 response to a request without an upgrade")
        await upstream.gets_end()
        await client.says(get())
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a"))


async def test_an_upgrade_of_an_http10_client_is_dropped() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await upstream.gets(SENT.replace(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b""))
        await upstream.says(NO_CONTENT)
        await client.gets(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets_end()


async def test_an_upgrade_list_that_is_malformed_gets_400() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(
            head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: upgrade", "Upgrade: a b")
        )
        await client.gets_error(400, "http_request_error", closes=True)
        await on.nothing_reached_upstream()


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(head("HTTP/1.1 400 Bad Request", "Content-Length: 2") + b"no", id="400"),
        pytest.param(
            head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"2\r\nno\r\n0\r\n\r\n",
            id="200, chunked",
        ),
        pytest.param(NO_CONTENT, id="204"),
        pytest.param(
            head("HTTP/1.1 401 Unauthorized", "WWW-Authenticate: Basic", "Content-Length: 0"),
            id="401",
        ),
    ],
)
async def test_a_refused_upgrade_is_an_ordinary_response_and_keeps_the_connection(
    response: bytes,
) -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(response)
        await client.gets(response)
        await client.says(get())
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(SWITCHING)
        await client.gets(SWITCHING)


async def test_bytes_after_a_refused_upgrade_are_the_next_request() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE + get("/2"))
        await upstream.gets(SENT)
        await upstream.says(head("HTTP/1.1 426 Upgrade Required", "Content-Length: 0"))
        await client.gets(head("HTTP/1.1 426 Upgrade Required", "Content-Length: 0"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


REQUIRED = ["HTTP/1.1 426 Upgrade Required", "Upgrade: TLS/1.3, websocket", "Content-Length: 0"]


async def test_a_426_keeps_its_upgrade() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(head(*REQUIRED, "Connection: upgrade, close"))
        await client.gets(head(*REQUIRED, "Connection: upgrade"))
        await upstream.gets_end()
        await client.says(get("/2", "Connection: close"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
        await upstream.says(head(*REQUIRED))
        await client.gets(head(*REQUIRED, "Connection: upgrade", "Connection: close"))
        await client.gets_end()


async def test_other_responses_are_forwarded_without_upgrade() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(
            head("HTTP/1.1 204 No Content", "Upgrade: h2,h2c", "Connection: Upgrade")
        )
        await client.gets(NO_CONTENT)


# Upgrades to HTTP/2

SETTINGS = "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"
# As the HttpClient of Java 17 sends them.
JAVA = [
    "Connection: Upgrade, HTTP2-Settings",
    "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
    "Upgrade: h2c",
]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", SETTINGS], id="curl"),
        pytest.param(JAVA, id="Java"),
        pytest.param(["Connection: upgrade", SETTINGS, "Upgrade: H2C"], id="not nominated"),
        pytest.param(["Upgrade: h2c", SETTINGS, SETTINGS], id="twice, without Connection"),
    ],
)
async def test_an_upgrade_to_http2_is_an_ordinary_request(lines: list[str]) -> None:
    async with stage() as on:
        client, upstream = await on.pair(get("/", *lines))
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_a_switch_to_http2_that_was_not_forwarded_is_a_502() -> None:
    async with stage() as on:
        lines = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c, websocket", SETTINGS]
        client, upstream = await on.pair(get("/", *lines))
        lines = ["Upgrade: websocket", "Connection: upgrade"]
        await upstream.gets(head("GET / HTTP/1.1", "Host: a", *lines))
        await upstream.says(head("HTTP/1.1 101 Go", "Connection: upgrade", "Upgrade: h2c"))
        await client.gets_error(502, "http_protocol_error")
        await upstream.gets_end()


async def test_another_protocol_next_to_http2_may_be_granted() -> None:
    async with stage() as on:
        lines = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c, websocket", SETTINGS]
        client, upstream = await on.pair(get("/", *lines))
        lines = ["Upgrade: websocket", "Connection: upgrade"]
        await upstream.gets(head("GET / HTTP/1.1", "Host: a", *lines))
        await upstream.says(SWITCHING)
        await client.gets(SWITCHING)


async def test_http2_without_settings_is_an_ordinary_upgrade() -> None:
    """BuildKit sends this, and HTTP/2 with prior knowledge after the 101."""
    async with stage() as on:
        lines = ["Host: a", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 0"]
        client, upstream = await on.pair(head("POST /session HTTP/1.1", *lines, ROUTE))
        await upstream.gets(head("POST /session HTTP/1.1", *lines))
        response = head("HTTP/1.1 101 UPGRADED", "Connection: Upgrade", "Upgrade: h2c")
        await upstream.says(response)
        await client.gets(response)
        await client.says(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await upstream.gets(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


async def test_te_trailers_is_forwarded_with_an_upgrade() -> None:
    async with stage() as on:
        lines = ["Connection: Upgrade, TE", "TE: trailers", "Upgrade: websocket"]
        client, upstream = await on.pair(get("/", *lines))
        lines = ["Upgrade: websocket", "TE: trailers", "Connection: upgrade, TE"]
        await upstream.gets(head("GET / HTTP/1.1", "Host: a", *lines))
        await upstream.says(SWITCHING)
        await client.gets(SWITCHING)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["Connection: Upgrade", "Upgrade: h2c"], id="another"),
        pytest.param(["Connection: Upgrade", "Upgrade: websocket, h2c"], id="one more"),
        pytest.param(["Connection: Upgrade", "Upgrade: websocket/13"], id="another version"),
        pytest.param(["Connection: Upgrade"], id="none"),
        pytest.param(["Connection: Upgrade", "Upgrade: web socket"], id="malformed"),
    ],
)
async def test_a_switch_to_a_protocol_that_was_not_requested_is_a_502(fields: list[str]) -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(head("HTTP/1.1 101 Switching Protocols", *fields))
        await client.gets_error(502, "http_protocol_error")
        await upstream.gets_end()


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_a_switch_that_announces_a_body_is_a_502(field: str) -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(SWITCHING[:-2] + field.encode() + b"\r\n\r\n")
        await client.gets_error(502, "http_protocol_error")
        await upstream.gets_end()


async def test_a_switch_with_content_length_0_is_granted() -> None:
    switch = SWITCHING[:-2] + b"Content-Length: 0\r\n\r\n"
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(switch + b"x")
        await client.gets(switch + b"x")


async def test_a_switch_without_an_upgrade_request_is_a_502() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(SWITCHING + b"evil")
        await client.gets_error(502, "http_protocol_error")
        assert await upstream.gets_cut() == b""


@pytest.mark.parametrize("size", [1, 4096])
async def test_an_interim_response_may_precede_the_switch(size: int) -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(head("HTTP/1.1 103 Early Hints") + SWITCHING + b"x" * size)
        await client.gets(head("HTTP/1.1 103 Early Hints") + SWITCHING + b"x" * size)


async def test_a_request_with_a_body_may_request_an_upgrade() -> None:
    async with stage() as on:
        lines = ["Host: a", "Connection: upgrade", "Upgrade: x", "Content-Length: 4"]
        client, upstream = await on.pair(head("POST / HTTP/1.1", ROUTE, *lines) + b"bo")
        await upstream.gets(head("POST / HTTP/1.1", *lines) + b"bo")
        await client.says(b"dyearly")
        await upstream.gets(b"dy")
        response = head("HTTP/1.1 101 Go", "Upgrade: x", "Connection: upgrade")
        await upstream.says(response)
        await client.gets(response)
        await upstream.gets(b"early")


async def test_a_switch_within_the_request_body_is_a_502() -> None:
    async with stage() as on:
        lines = ["Host: a", "Connection: upgrade", "Upgrade: x", "Content-Length: 4"]
        client, upstream = await on.pair(head("POST / HTTP/1.1", ROUTE, *lines) + b"bo")
        await upstream.gets(head("POST / HTTP/1.1", *lines) + b"bo")
        await upstream.says(head("HTTP/1.1 101 Go", "Upgrade: x", "Connection: upgrade"))
        await client.gets_error(502, "http_protocol_error", closes=True)
        assert await upstream.gets_cut() == b""


async def test_a_pooled_connection_may_be_upgraded_and_leaves_the_pool() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(UPGRADE)
        await upstream.gets(SENT)
        await upstream.says(SWITCHING)
        await client.gets(SWITCHING)
        other = await on.client()
        await other.says(get("/other"))
        await (await on.upstream()).gets(head("GET /other HTTP/1.1", "Host: a"))


async def test_early_bytes_and_a_half_close_after_the_handshake_are_passed_on() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE + b"all")
        client.ends()
        await upstream.gets(SENT)
        await upstream.says(SWITCHING + b"hello")
        await client.gets(SWITCHING + b"hello")
        await upstream.gets(b"all")
        await upstream.gets_end()
        await upstream.says(b" and bye")
        await client.gets(b" and bye")
        upstream.ends()
        await client.gets_end()


async def test_a_half_close_directly_after_the_handshake_is_passed_on() -> None:
    async with stage() as on:
        client, upstream = await on.pair(UPGRADE)
        client.ends()
        await upstream.gets(SENT)
        await upstream.gets_end()
        await upstream.says(SWITCHING + b"hello")
        await client.gets(SWITCHING + b"hello")
        upstream.ends()
        await client.gets_end()

"""Routing through real sockets (contract, section 1)."""

import pytest

from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, UPGRADE, Peer, Stage, get, head, stage
from tests.helpers.wire import WireListener, closed_port

NO_CONTENT = head("HTTP/1.1 204 No Content")
MISSING = "missing required header: X-Cmux-Port-Internal"
INVALID = "invalid header: X-Cmux-Port-Internal must be a port from 1 to 65535"
TWICE = "header given more than once: X-Cmux-Port-Internal"

INVALID_VALUES = {
    "empty": "",
    "only blanks": " \t ",
    "zero": "0",
    "five zeros": "00000",
    "one too many": "65536",
    "five nines": "99999",
    "signed": "+80",
    "negative": "-1",
    "a blank inside": "8 0",
    "hexadecimal": "0x50",
    "a list": "80,81",
    "a list of one": "80,",
    "letters": "http",
    "a unit": "80/tcp",
    "an underscore": "8_0",
    "a fraction": "80.0",
    "an exponent": "8e1",
    "twenty digits": "00000000000000000080",
    "quoted": '"80"',
    "superscript in Latin-1": "8\xb2",
    "Arabic digits in UTF-8": "٨٠".encode().decode("latin-1"),
    "a no-break space": "80\xa0",
}


@pytest.mark.parametrize(
    "name", ["X-Cmux-Port-Internal", "x-cmux-port-internal", "X-CMUX-PORT-INTERNAL"]
)
async def test_the_port_field_selects_the_upstream_in_any_case_and_is_not_forwarded(
    name: str,
) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET /a HTTP/1.1", f"{name}: <port>", "Host: a"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /a HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("X-Cmux-Port-Internal:<port>", id="no blank"),
        pytest.param("X-Cmux-Port-Internal: \t  <port>", id="blanks before"),
        pytest.param("X-Cmux-Port-Internal: <port> \t ", id="blanks after"),
    ],
)
async def test_white_space_around_the_port_is_trimmed(line: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET /a HTTP/1.1", "Host: a", line))
        await (await on.upstream()).gets(head("GET /a HTTP/1.1", "Host: a"))


@pytest.mark.parametrize("value", INVALID_VALUES.values(), ids=INVALID_VALUES)
async def test_a_value_that_is_no_port_gets_400_and_is_not_forwarded(value: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {value}"))
        assert await client.gets_error(400, "http_request_error") == INVALID
        await on.nothing_reached_upstream()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(ROUTE, ROUTE, id="the same value"),
        pytest.param(ROUTE, "X-Cmux-Port-Internal: 9", id="another value after"),
        pytest.param("X-Cmux-Port-Internal: 9", ROUTE, id="another value before"),
        pytest.param(ROUTE, "X-Cmux-Port-Internal:", id="an empty one"),
        pytest.param(ROUTE, ROUTE.lower(), id="another case"),
    ],
)
async def test_a_second_port_field_gets_400(first: str, second: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", first, "Host: a", second))
        assert await client.gets_error(400, "http_request_error") == TWICE
        await on.nothing_reached_upstream()


async def test_a_request_without_the_port_field_gets_400_and_keeps_the_connection() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a"))
        assert await client.gets_error(400, "http_request_error") == MISSING
        await client.says(get())
        await _serve_get(await on.upstream(), client)


async def test_the_second_request_of_a_connection_needs_the_port_field_too() -> None:
    async with stage() as on:
        client, upstream = await on.pair()
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(head("GET /second HTTP/1.1", "Host: a"))
        assert await client.gets_error(400, "http_request_error") == MISSING
        await client.says(get("/third"))
        await upstream.gets(head("GET /third HTTP/1.1", "Host: a"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_each_request_of_a_connection_is_routed_by_its_own_field() -> None:
    async with stage() as on:
        other = Stage(on.proxy, WireListener())
        try:
            client = await on.client()
            await client.says(get("/here"))
            here = await on.upstream()
            await here.gets(head("GET /here HTTP/1.1", "Host: a"))
            await here.says(NO_CONTENT)
            await client.gets(NO_CONTENT)
            await client.says(
                head("GET /there HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {other.port}")
            )
            there = await other.upstream()
            await there.gets(head("GET /there HTTP/1.1", "Host: a"))
            await there.says(NO_CONTENT)
            await client.gets(NO_CONTENT)
            await client.says(get("/here/again"))
            await here.gets(head("GET /here/again HTTP/1.1", "Host: a"))
            other.check()
        finally:
            other.close()


@pytest.mark.parametrize(
    "request_head",
    [
        pytest.param(head("CONNECT a:1 HTTP/1.1", "Host: a:1"), id="CONNECT"),
        pytest.param(UPGRADE.replace(ROUTE.encode() + b"\r\n", b""), id="upgrade"),
        pytest.param(head("POST / HTTP/1.1", "Host: a", "Content-Length: 0"), id="POST"),
        pytest.param(head("OPTIONS * HTTP/1.1", "Host: a"), id="OPTIONS"),
    ],
)
async def test_other_requests_need_the_port_field_too(request_head: bytes) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(request_head)
        closes = request_head.startswith(b"CONNECT")
        assert await client.gets_error(400, "http_request_error", closes=closes) == MISSING
        await on.nothing_reached_upstream()


async def test_other_reserved_fields_are_not_forwarded() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(
            head(
                "GET / HTTP/1.1",
                "Host: a",
                "X-Cmux-Later-Internal: w",
                "X-Cmux-Public: yes",
                ROUTE,
                "x-cmux-anything-at-all-internal: 1",
                "X-Cmux-Internal-Not: yes",
            )
        )
        await (await on.upstream()).gets(
            head(
                "GET / HTTP/1.1",
                "Host: a",
                "X-Cmux-Public: yes",
                "X-Cmux-Internal-Not: yes",
            )
        )


async def test_connect_is_routed_by_the_port_field_not_by_the_authority() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("CONNECT elsewhere.test:443 HTTP/1.1", "Host: b:1", ROUTE))
        upstream = await on.upstream()
        await client.gets(ESTABLISHED)
        await upstream.says(b"hello")
        await client.gets(b"hello")


async def test_an_upstream_on_the_ipv6_loopback_is_found_and_remembered() -> None:
    async with stage(upstream_host="::1") as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets(NO_CONTENT)
        # Another program takes the port on 127.0.0.1; the address that has accepted stays first.
        other = WireListener("127.0.0.1", on.port)
        try:
            await client.says(get("/again"))
            reconnected = await on.upstream()
            await reconnected.gets(head("GET /again HTTP/1.1", "Host: a"))
            await reconnected.says(NO_CONTENT)
            await client.gets(NO_CONTENT)
        finally:
            other.close()


async def test_an_upstream_that_moves_from_ipv6_to_ipv4_is_found() -> None:
    async with stage(upstream_host="::1") as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 204 No Content", "Connection: close"))
        await client.gets(NO_CONTENT)
        upstream.closes()
        on.listener.close()
        other = Stage(on.proxy, WireListener("127.0.0.1", on.port))
        try:
            await client.says(get("/again"))
            reconnected = await other.upstream()
            await reconnected.gets(head("GET /again HTTP/1.1", "Host: a"))
            await reconnected.says(NO_CONTENT)
            await client.gets(NO_CONTENT)
        finally:
            other.close()


async def test_a_port_that_is_closed_on_both_loopbacks_is_refused() -> None:
    async with stage() as on:
        on.listener.close()
        client = await on.client()
        await client.says(get())
        text = await client.gets_error(502, "connection_refused")
        assert text == (
            f"nothing listens on 127.0.0.1:{on.port}; start the service or check the port"
        )


async def test_a_configured_upstream_host_is_tried_alone() -> None:
    async with stage(local_config(upstream_host="127.0.0.1"), upstream_host="::1") as on:
        client = await on.client()
        await client.says(get())
        await client.gets_error(502, "connection_refused")


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "[::1]", "localhost"])
async def test_the_upstream_host_may_be_a_name_or_an_address(host: str) -> None:
    listens_on = "127.0.0.1" if host == "localhost" else host.strip("[]")
    async with stage(local_config(upstream_host=host), upstream_host=listens_on) as on:
        client, upstream = await on.pair()
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)


async def test_an_upstream_host_that_cannot_be_resolved_is_a_502() -> None:
    async with stage(local_config(upstream_host="nowhere.invalid")) as on:
        client = await on.client()
        await client.says(get())
        text = await client.gets_error(502, "dns_error")
        # The end of the text depends on whether this machine has a name server.
        assert text.startswith(f"the host of nowhere.invalid:{on.port} ")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["GET / HTTP/1.1"], id="GET"),
        pytest.param(["CONNECT a:1 HTTP/1.1"], id="CONNECT"),
        pytest.param(["GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: x"], id="upgrade"),
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"])
async def test_a_request_for_the_proxy_itself_gets_508(address: str, lines: list[str]) -> None:
    async with stage(local_config(listen=["127.0.0.1:0", address])) as on:
        own = on.proxy.addresses[-1]
        client = await on.client()
        await client.says(head(*lines, "Host: a", f"X-Cmux-Port-Internal: {own.port}"))
        closes = lines[0].startswith("CONNECT")
        text = await client.gets_error(508, "proxy_loop_detected", closes=closes)
        assert text == (
            f"port {own.port} is the proxy itself; name the port of the service behind it"
        )
        await on.nothing_reached_upstream()


async def test_a_loop_through_a_host_name_is_found() -> None:
    async with stage(local_config(upstream_host="localhost")) as on:
        client = await on.client()
        await client.says(
            head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {on.address.port}")
        )
        await client.gets_error(508, "proxy_loop_detected")


async def test_another_address_with_the_port_of_the_proxy_is_not_a_loop() -> None:
    with closed_port() as port:
        await assert_no_loop(port)


async def assert_no_loop(port: int) -> None:
    config = local_config(listen=[f"127.0.0.2:{port}"], upstream_host="127.0.0.1")
    async with stage(config) as on:
        other = Stage(on.proxy, WireListener("127.0.0.1", port))
        try:
            client, upstream = await other.pair()
            await upstream.says(NO_CONTENT)
            await client.gets(NO_CONTENT)
        finally:
            other.close()


async def test_a_loop_through_the_second_loopback_is_found() -> None:
    async with stage(local_config(listen=["[::1]:0"])) as on:
        client = await on.client()
        await client.says(
            head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {on.address.port}")
        )
        await client.gets_error(508, "proxy_loop_detected")


async def _serve_get(upstream: Peer, client: Peer) -> None:
    await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
    await upstream.says(NO_CONTENT)
    await client.gets(NO_CONTENT)

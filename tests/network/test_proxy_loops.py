"""X-Cmux-Hops counts proxies, so that requests routed by Host do not loop (contract, section 1)."""

from typing import Any

import pytest

from cmux_proxy import Config, Observability, Proxy, Rewriting, Routing
from cmux_proxy.observe.record import Record
from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, head, stage
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

HOST = "Host: <port>.localhost"
UPGRADE = ("Connection: upgrade", "Upgrade: websocket")
NO_CONTENT = head("HTTP/1.1 204 No Content")


def recording(records: list[Record], listen: str, upstream_host: str) -> Proxy:
    """Return a proxy that records each request."""
    config = Config(
        listen=[listen], upstream_host=upstream_host, observability=Observability(access_log="all")
    )
    return Proxy(config, on_record=records.append)


@pytest.mark.parametrize("fields", [(), UPGRADE], ids=["plain", "upgrade"])
async def test_two_proxies_that_are_each_others_upstream_host_respond_with_508(
    fields: tuple[str, ...],
) -> None:
    records: list[Record] = []
    async with recording(records, "127.0.0.1:0", "127.0.0.2") as first:
        port = first.addresses[0].port
        async with recording(records, f"127.0.0.2:{port}", "127.0.0.1"):
            with await Wire.to("127.0.0.1", port) as client:
                await client.send(head("GET / HTTP/1.1", f"Host: {port}.localhost", *fields))
                response = await soon(client.receive())
    assert response.startswith(b"HTTP/1.1 508 ")
    assert b"\r\nProxy-Status: cmux-proxy; error=proxy_loop_detected\r\n" in response
    # The client's request, and six that the proxies have forwarded.
    assert [record.status for record in records] == [508] * 7


@pytest.mark.parametrize(
    ("received", "sent"),
    [
        pytest.param([HOST], [HOST, "X-Cmux-Hops: 1"], id="first proxy"),
        pytest.param([HOST, "X-Cmux-Hops: 1"], [HOST, "X-Cmux-Hops: 2"], id="second proxy"),
        pytest.param(["x-cmux-hops:\t5 ", HOST], [HOST, "X-Cmux-Hops: 6"], id="last proxy"),
        pytest.param([HOST, ROUTE], [HOST, "X-Cmux-Hops: 1"], id="the same port by field"),
        pytest.param(
            [HOST, *UPGRADE, "A: b", "X-Cmux-Hops: 1"],
            [HOST, *UPGRADE, "A: b", "X-Cmux-Hops: 2"],
            id="upgrade",
        ),
        pytest.param(
            [HOST, "Connection: close, A", "A: b", "TE: x"],
            [HOST, "X-Cmux-Hops: 1"],
            id="removed fields",
        ),
        pytest.param(
            [HOST, "X-Cmux-Host-Override: b", "A: b"],
            ["Host: b", "A: b", "X-Cmux-Hops: 1"],
            id="host override",
        ),
        pytest.param(["Host: a", ROUTE, "A: b"], ["Host: a", "A: b"], id="routed by field"),
        pytest.param(
            ["Host: a", ROUTE, "X-Cmux-Hops: 5"], ["Host: a"], id="routed by field, with a count"
        ),
        pytest.param(
            ["Host: a", ROUTE, *UPGRADE, "X-Cmux-Hops: 5"],
            ["Host: a", *UPGRADE],
            id="upgrade, routed by field",
        ),
    ],
)
async def test_a_request_routed_by_host_has_a_count(received: list[str], sent: list[str]) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", *received))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", *sent))


async def test_a_count_is_sent_with_a_body_and_with_other_versions_and_targets() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("POST / HTTP/1.1", HOST, "Content-Length: 2") + b"hi")
        upstream = await on.upstream()
        lines = [HOST, "Content-Length: 2", "X-Cmux-Hops: 1"]
        await upstream.gets(head("POST / HTTP/1.1", *lines) + b"hi")
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(head("GET http://<port>.localhost/ HTTP/1.1", "Host: a"))
        await upstream.gets(head("GET / HTTP/1.1", HOST, "X-Cmux-Hops: 1"))
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await client.says(head("GET / HTTP/1.0", HOST))
        await upstream.gets(head("GET / HTTP/1.1", HOST, "X-Cmux-Hops: 1"))


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"routing": Routing(no_host_routing=True)}, [HOST, ROUTE]),
        ({"routing": Routing(host_suffixes=["dev.test"])}, ["Host: a.dev.test", ROUTE]),
    ],
    ids=["no host routing", "host without a port"],
)
async def test_other_requests_have_no_count(options: dict[str, Any], lines: list[str]) -> None:
    async with stage(local_config(**options)) as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", *lines))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", lines[0]))


async def test_a_count_is_sent_together_with_rewritten_fields() -> None:
    rewriting = Rewriting(forwarded="append", host_header="upstream")
    async with stage(local_config(rewriting=rewriting)) as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", HOST, "X-Cmux-Hops: 1"))
        lines = (await (await on.upstream()).gets_head()).split(b"\r\n")
        assert b"Host: localhost:%d" % on.port in lines
        assert lines.count(b"X-Cmux-Hops: 2") == 1
        assert not [line for line in lines if line.startswith(b"X-Cmux-Hops: 1")]


@pytest.mark.parametrize(
    ("count", "status", "text"),
    [
        ("6", 508, "the request has come through 6 proxies; do they send it to each other?"),
        ("100", 508, "the request has come through 100 proxies; do they send it to each other?"),
        ("", 400, "invalid header: X-Cmux-Hops must be a whole number"),
        ("+1", 400, "invalid header: X-Cmux-Hops must be a whole number"),
        ("1, 1", 400, "invalid header: X-Cmux-Hops must be a whole number"),
        ("1\r\nX-Cmux-Hops: 1", 400, "header given more than once: X-Cmux-Hops"),
        ("1\r\nConnection: x-cmux-hops", 400, "bad request: Connection may not name x-cmux-hops"),
    ],
)
@pytest.mark.parametrize("route", [HOST, f"Host: a\r\n{ROUTE}"], ids=["host", "field"])
async def test_a_loop_or_a_malformed_count_is_refused(
    route: str, count: str, status: int, text: str
) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", route, f"X-Cmux-Hops: {count}"))
        error = "proxy_loop_detected" if status == 508 else "http_request_error"
        closes = text.startswith("bad request")
        assert await client.gets_error(status, error, closes=closes) == text
        await on.nothing_reached_upstream()


async def test_the_count_of_a_connect_is_checked() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE, "X-Cmux-Hops: 5"))
        await on.upstream()
        await client.gets(ESTABLISHED)
        refused = await on.client()
        await refused.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE, "X-Cmux-Hops: 6"))
        await refused.gets_error(508, "proxy_loop_detected", closes=True)

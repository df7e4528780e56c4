"""Routing by workspace and by host name, through real sockets."""

import pytest

from cmux_proxy import Config, Routing, workspace_ip
from tests.helpers.origins import echo, origin, responding
from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, UPGRADE, Stage, get, head, stage
from tests.helpers.tools import finish, tool
from tests.helpers.wire import WireListener

WORKSPACE = "X-Cmux-Workspace-Internal: agent-7"
NO_CONTENT = head("HTTP/1.1 204 No Content")
CONTRADICTION = "invalid header: X-Cmux-{}-Internal contradicts the host; leave it out"


async def both_on_one_port(on: Stage) -> Stage:
    """Return a stage whose upstream listens on the same port, in workspace 7."""
    return Stage(on.proxy, WireListener(workspace_ip("agent-7"), on.port))


@pytest.mark.parametrize(
    ("request_bytes", "sent"),
    [
        (get(), head("GET / HTTP/1.1", "Host: a")),
        (UPGRADE, UPGRADE.replace(ROUTE.encode() + b"\r\n", b"")),
    ],
    ids=["plain", "upgrade"],
)
async def test_servers_in_two_workspaces_share_a_port(request_bytes: bytes, sent: bytes) -> None:
    async with stage() as on:
        other = await both_on_one_port(on)
        client = await on.client()
        await client.says(request_bytes[:-2] + f"{WORKSPACE}\r\n\r\n".encode())
        await (await other.upstream()).gets(sent)
        second = await on.client()
        await second.says(request_bytes)
        await (await on.upstream()).gets(sent)
        other.close()


async def test_a_tunnel_leads_into_a_workspace() -> None:
    async with stage() as on:
        other = await both_on_one_port(on)
        client = await on.client()
        await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE, WORKSPACE))
        upstream = await other.upstream()
        await client.gets(ESTABLISHED)
        await upstream.says(b"in here")
        await client.gets(b"in here")
        other.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_workspace_is_never_served_by_another_address(host: str) -> None:
    async with stage(upstream_host=host) as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", ROUTE, WORKSPACE))
        text = await client.gets_error(502, "connection_refused")
        assert text.startswith(f"nothing listens on 127.18.0.7:{on.port};")
        await client.says(head("GET / HTTP/1.1", f"Host: agent-7-{on.port}.localhost"))
        await client.gets_error(502, "connection_refused")


async def test_a_malformed_workspace_gets_400() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(
            head("GET / HTTP/1.1", "Host: a", ROUTE, "X-Cmux-Workspace-Internal: agent-65537")
        )
        text = await client.gets_error(400, "http_request_error")
        assert text == "invalid header: X-Cmux-Workspace-Internal ends with a number above 65535"
        await on.nothing_reached_upstream()


@pytest.mark.parametrize(
    "name", ["2130706433", "0x7f000001", "017700000001", "0", "localhost", "LocalHost"]
)
async def test_a_workspace_cannot_form_a_loopback_address_or_name(name: str) -> None:
    async with stage(local_config(routing=Routing(workspace_host="{workspace}"))) as on:
        client = await on.client()
        field = f"X-Cmux-Workspace-Internal: {name}"
        for lines in (["Host: a", ROUTE, field], [f"Host: {name}-<port>.localhost"]):
            await client.says(head("GET / HTTP/1.1", *lines))
            text = await client.gets_error(400, "http_request_error")
            assert " makes a host that is " in text
        tunnel = await on.client()
        await tunnel.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE, field))
        await tunnel.gets_error(400, "http_request_error", closes=True)
        await on.nothing_reached_upstream()


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: a", ROUTE, f"X-Cmux-Workspace-Internal: {'1' * 60_000}a"],
        [f"Host: {'1' * 60_000}a-<port>.localhost"],
    ],
    ids=["field", "host"],
)
async def test_a_workspace_of_60_kilobytes_gets_400(lines: list[str]) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", *lines))
        text = await client.gets_error(400, "http_request_error")
        assert text.endswith(" has more than 255 bytes")
        await on.nothing_reached_upstream()


# Hosts


def by_host(on: Stage, request: bytes = UPGRADE) -> bytes:
    """Return a request that names the upstream's port only in its host."""
    return request.replace(ROUTE.encode() + b"\r\n", b"").replace(
        b"Host: a", b"Host: %d.localhost" % on.port
    )


@pytest.mark.parametrize("request_bytes", [get(), UPGRADE], ids=["plain", "upgrade"])
async def test_a_host_selects_a_port_and_is_forwarded_unchanged(request_bytes: bytes) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(by_host(on, request_bytes))
        await (await on.upstream()).gets(
            by_host(on, request_bytes)[:-2] + b"X-Cmux-Hops: 1\r\n\r\n"
        )


async def test_the_host_of_the_target_overrides_the_host_field() -> None:
    async with stage() as on:
        client = await on.client()
        target = f"http://{on.port}.localhost/x"
        await client.says(head(f"GET {target} HTTP/1.1", "Host: 1.localhost"))
        await (await on.upstream()).gets(
            head("GET /x HTTP/1.1", "Host: <port>.localhost", "X-Cmux-Hops: 1")
        )


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        pytest.param("GET / HTTP/1.1", ["Host: 3000.localhost"], id="plain"),
        pytest.param("GET / HTTP/1.1", ["Host: 3000.LocalHost:8080"], id="in another case"),
        pytest.param("GET / HTTP/1.1", ["Host: 3000.localhost.:8080"], id="a dot at the end"),
        pytest.param("GET / HTTP/1.1", ["Host: 3000.localhost:<port>"], id="with that port"),
        pytest.param("GET / HTTP/1.1", ["Host: ws-1-3000.localhost"], id="a workspace"),
        pytest.param("GET / HTTP/1.1", ["Host: 3000.dev.test"], id="another suffix"),
        pytest.param("GET / HTTP/1.0", ["Host: 3000.localhost"], id="HTTP/1.0"),
        pytest.param("GET http://3000.localhost/ HTTP/1.1", ["Host: a"], id="absolute form"),
        pytest.param("GET http://3000.localhost:1/ HTTP/1.0", [], id="absolute form, HTTP/1.0"),
        pytest.param(
            "GET / HTTP/1.1",
            ["Host: 3000.localhost", "Connection: upgrade", "Upgrade: websocket"],
            id="upgrade",
        ),
    ],
)
async def test_a_port_field_that_contradicts_the_host_gets_400(
    line: str, fields: list[str]
) -> None:
    """What a page on 3000.localhost can send with `fetch` to its own origin."""
    async with stage(local_config(routing=Routing(host_suffixes=["dev.test"]))) as on:
        client = await on.client()
        await client.says(head(line, *fields, ROUTE))
        closes = line.endswith("1.0")
        text = await client.gets_error(400, "http_request_error", closes=closes)
        assert text == CONTRADICTION.format("Port")
        await on.nothing_reached_upstream()


@pytest.mark.parametrize(
    "host", ["agent-8-<port>.localhost", "<port>.localhost", "agent-70-<port>.dev.test"]
)
async def test_a_workspace_field_that_contradicts_the_host_gets_400(host: str) -> None:
    async with stage(local_config(routing=Routing(host_suffixes=["dev.test"]))) as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", f"Host: {host}", WORKSPACE))
        text = await client.gets_error(400, "http_request_error")
        assert text == CONTRADICTION.format("Workspace")
        await on.nothing_reached_upstream()


async def test_with_a_port_field_the_workspace_of_the_host_still_counts() -> None:
    async with stage() as on:
        other = await both_on_one_port(on)
        client = await on.client()
        for fields in ([ROUTE], [ROUTE, "X-Cmux-Workspace-Internal: d/AGENT-7"]):
            await client.says(head("GET / HTTP/1.1", "Host: agent-7-<port>.localhost", *fields))
        upstream = await other.upstream()
        sent = head("GET / HTTP/1.1", "Host: agent-7-<port>.localhost", "X-Cmux-Hops: 1")
        await upstream.gets(sent)
        await upstream.says(NO_CONTENT)
        await client.gets(NO_CONTENT)
        await upstream.gets(sent)
        await on.nothing_reached_upstream()
        other.close()


async def test_other_reserved_fields_work_with_host_routing() -> None:
    async with stage() as on:
        client = await on.client()
        fields = ["X-Cmux-Wait: 1s", "X-Cmux-Host-Override: b", "X-Cmux-Later-Internal: 1", ROUTE]
        await client.says(head("GET / HTTP/1.1", "Host: <port>.localhost", *fields))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: b", "X-Cmux-Hops: 1"))


async def test_http10_without_a_host_and_connect_are_routed_by_fields() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.0", ROUTE))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: 127.0.0.1:<port>"))
        tunnel = await on.client()
        await tunnel.says(head("CONNECT 1.localhost:80 HTTP/1.1", "Host: 1.localhost:80", ROUTE))
        await on.upstream()
        await tunnel.gets(ESTABLISHED)


@pytest.mark.parametrize(
    "config",
    [
        local_config(routing=Routing(no_host_routing=True)),
        local_config(routing=Routing(no_host_routing=True, host_suffixes=["localhost.test"])),
    ],
    ids=["localhost", "a suffix"],
)
async def test_host_routing_can_be_disabled(config: Config) -> None:
    async with stage(config) as on:
        client = await on.client()
        await client.says(by_host(on))
        await client.gets_error(400, "http_request_error")


async def test_a_configured_suffix_selects_ports() -> None:
    async with stage(local_config(routing=Routing(host_suffixes=["dev.test"]))) as on:
        client = await on.client()
        host = "Host: <port>.Dev.Test:8080"
        await client.says(head("GET / HTTP/1.1", host))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", host, "X-Cmux-Hops: 1"))


async def test_curl_resolves_names_below_localhost() -> None:
    async with origin(responding(echo)) as upstream, stage() as on:
        url = f"http://{upstream.port}.localhost:{on.address.port}/"
        finished = await finish(tool("curl"), "-q", "-sSf", "--noproxy", "*", url)
        assert (finished.status, finished.errors) == (0, b"")
        assert upstream.requests[0].field("host") == url[len("http://") : -1]

"""The access rules through real sockets: each with plain requests, upgrades and CONNECT.

tests/relay tests tokens, patterns and ranges in detail, without sockets.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import Access
from tests.helpers.origins import echo, origin, responding
from tests.helpers.proxies import local_config, proxy_process
from tests.helpers.script import ESTABLISHED, ROUTE, UPGRADE, get, head, stage
from tests.helpers.tools import finish, tool

TOKEN = "correct-horse"
OK = head("HTTP/1.1 204 No Content")
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE)
REQUESTS = {"plain": get(), "upgrade": UPGRADE, "connect": CONNECT}


def restricted(**access: Any) -> Any:
    return stage(local_config(access=Access(**access)))


def with_line(request: bytes, line: str) -> bytes:
    return request[:-2] + line.encode() + b"\r\n\r\n"


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(
    ("rules", "flag"),
    [({"deny_ports": ["1-65535"]}, "--deny-port"), ({"allow_ports": ["1"]}, "--allow-port")],
    ids=["denied", "not allowed"],
)
async def test_a_denied_port_gets_403(
    name: str, rules: dict[str, Sequence[str]], flag: str
) -> None:
    async with restricted(**rules) as on:
        client = await on.client()
        await client.says(REQUESTS[name])
        text = await client.gets_error(403, "http_request_denied", closes=name == "connect")
        assert f"port {on.port} is" in text
        assert flag in text


@pytest.mark.parametrize("name", REQUESTS)
async def test_without_a_token_nothing_reaches_the_upstream(name: str) -> None:
    async with restricted(tokens=[TOKEN]) as on:
        client = await on.client()
        await client.says(with_line(REQUESTS[name], "X-Cmux-Token: wrong-horse"))
        if name == "connect":
            challenge = [
                'Proxy-Authenticate: Basic realm="cmux-proxy"',
                'Proxy-Authenticate: Bearer realm="cmux-proxy"',
            ]
            await client.gets_error(407, "http_request_denied", *challenge, closes=True)
            client = await on.client()
        else:
            challenge = ['WWW-Authenticate: Cmux-Token realm="cmux-proxy"']
            await client.gets_error(401, "http_request_denied", *challenge)
        await client.says(with_line(get("/next"), f"X-Cmux-Token: {TOKEN}"))
        upstream = await on.upstream()
        await upstream.gets(head("GET /next HTTP/1.1", "Host: a"))


async def test_a_token_admits_upgrades_and_connect_and_is_not_forwarded() -> None:
    async with restricted(tokens=[TOKEN]) as on:
        client = await on.client()
        await client.says(with_line(CONNECT, f"Proxy-Authorization: Bearer {TOKEN}"))
        await on.upstream()
        await client.gets(ESTABLISHED)
        other = await on.client()
        await other.says(with_line(UPGRADE, f"X-Cmux-Token: {TOKEN}"))
        upstream = await on.upstream()
        await upstream.gets(UPGRADE.replace(ROUTE.encode() + b"\r\n", b""))


async def test_a_token_in_a_trailer_does_not_count() -> None:
    async with restricted(tokens=[TOKEN]) as on:
        client = await on.client()
        post = head("POST / HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked")
        await client.says(post + b"0\r\nX-Cmux-Token: " + TOKEN.encode() + b"\r\n\r\n")
        challenge = 'WWW-Authenticate: Cmux-Token realm="cmux-proxy"'
        await client.gets_error(401, "http_request_denied", challenge)


async def test_another_host_gets_421() -> None:
    async with restricted(allow_hosts=["localhost", "*.good.test"]) as on:
        client = await on.client()
        for host in ("evil.test", "good.test", "localhost.evil.test"):
            await client.says(head("GET / HTTP/1.1", f"Host: {host}", ROUTE))
            await client.gets_error(421, "http_request_denied")
        await client.says(head("GET / HTTP/1.1", "Host: a.Good.Test:8080", ROUTE))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a.Good.Test:8080"))
        other = await on.client()
        await other.says(head("GET / HTTP/1.0", ROUTE))
        await other.gets_error(421, "http_request_denied", closes=True)


async def test_a_client_from_another_network_gets_403() -> None:
    async with restricted(allow_clients=["192.0.2.0/24", "::1"]) as on:
        client = await on.client()
        await client.says(get())
        text = await client.gets_error(403, "http_request_denied", closes=True)
        assert text == "clients of this address are not served here (--allow-client)"
        client.closes()
    async with restricted(allow_clients=["127.0.0.0/8"]) as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)


async def test_curl_sends_its_token_in_every_form(loop_name: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n")
    async with (
        origin(responding(echo)) as upstream,
        proxy_process(loop_name, "--auth-token-file", str(path)) as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.port}/"
        route = f"X-Cmux-Port-Internal: {upstream.port}"
        through = ("--proxytunnel", "--proxy", url, "--proxy-header", route)
        for arguments in (
            ("-H", route, "-H", f"X-Cmux-Token: {TOKEN}", url),
            ("-H", route, "-H", f"Proxy-Authorization: Bearer {TOKEN}", url),
            (*through, "--proxy-user", f"me:{TOKEN}", "http://a/"),
            (*through, "--proxy-anyauth", "--proxy-user", f"me:{TOKEN}", "http://a/"),
            (*through, "--proxy-header", f"X-Cmux-Token: {TOKEN}", "http://a/"),
        ):
            finished = await finish(tool("curl"), "-q", "-sSf", *arguments)
            assert (finished.status, finished.errors) == (0, b"")
        assert [TOKEN in repr(request.fields) for request in upstream.requests] == [False] * 5
        proxy.signal()
        status, errors = await proxy.ended()
        assert (status, TOKEN in errors) == (0, False)

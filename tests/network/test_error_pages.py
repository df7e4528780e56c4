"""Error responses as text, JSON and HTML, over real connections."""

import json
import re

import pytest

from cmux_proxy import Access
from tests.helpers.origins import fixed_length, origin
from tests.helpers.proxies import local_config
from tests.helpers.script import Peer, Stage, get, head, stage
from tests.helpers.wire import closed_port

NAVIGATES = "Sec-Fetch-Mode: navigate"


async def request(client: Peer, port: int, *lines: str, method: str = "GET") -> tuple[str, bytes]:
    """Return head and body of the response to a request for a port."""
    host = f"Host: {port}.localhost"
    await client.says(head(f"{method} / HTTP/1.1", host, *lines))
    response_head = (await client.gets_head()).decode("ascii")
    match = re.search(r"\r\nContent-Length: ([0-9]+)\r\n", response_head)
    assert match is not None
    return response_head, b"" if method == "HEAD" else await client.gets_bytes(int(match[1]))


async def serves(on: Stage, client: Peer) -> None:
    """Fail unless the connection serves another request."""
    await client.says(get())
    upstream = await on.upstream()
    await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
    await upstream.says(head("HTTP/1.1 204 No Content"))
    await client.gets(head("HTTP/1.1 204 No Content"))


async def test_all_formats_have_the_same_status_and_keep_the_connection() -> None:
    async with stage() as on:
        client = await on.client()
        media_types = []
        with closed_port() as port:
            for lines in ((), ("Accept: application/json",), (NAVIGATES,)):
                response_head, body = await request(client, port, *lines)
                assert response_head.startswith("HTTP/1.1 502 Bad Gateway\r\n")
                assert "\r\nProxy-Status: cmux-proxy; error=connection_refused\r\n" in response_head
                assert "\r\nCache-Control: no-store\r\n" in response_head
                assert f"nothing listens on 127.0.0.1:{port}".encode() in body
                media_types += re.findall(r"\r\nContent-Type: ([^;\r]*)", response_head)
        assert media_types == ["text/plain", "application/json", "text/html"]
        await serves(on, client)


@pytest.mark.parametrize("line", ["Accept: application/json", NAVIGATES])
async def test_an_error_for_head_has_no_body(line: str) -> None:
    async with stage() as on:
        client = await on.client()
        with closed_port() as port:
            response_head, _ = await request(client, port, line, method="HEAD")
        assert "Content-Length: 0\r\n" not in response_head
        await serves(on, client)


async def test_other_refusals_have_all_formats() -> None:
    async with stage(local_config(access=Access(tokens=["secret"]))) as on:
        client = await on.client()
        response_head, body = await request(client, on.port, "Accept: application/json")
        assert response_head.startswith("HTTP/1.1 401 ")
        assert "\r\nWWW-Authenticate: Cmux-Token" in response_head
        assert json.loads(body)["error"] == "http_request_denied"
        response_head, body = await request(client, on.port, NAVIGATES)
        assert response_head.startswith("HTTP/1.1 401 ")
        assert b"<h1>Unauthorized</h1>" in body


async def test_a_malformed_head_gets_plain_text() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", NAVIGATES, "a b"))
        await client.gets_error(400, "http_request_error", closes=True)


async def test_a_page_lists_other_listeners_but_no_denied_ports() -> None:
    async with origin(fixed_length(b"")) as listed, origin(fixed_length(b"")) as denied:
        config = local_config(access=Access(deny_ports=[str(denied.port)]))
        async with stage(config) as on:
            client = await on.client()
            with closed_port() as port:
                _, body = await request(client, port, NAVIGATES)
            ports = {int(text) for text in re.findall(rb">([0-9]+)</a>", body)}
            assert b"What listens instead" in body
            assert denied.port not in ports
            assert on.address.port not in ports
            assert listed.port in ports or b"more</p>" in body

"""Errors for programs and for people, over real connections."""

import json
import re

import pytest

from cmux_proxy import Access
from tests.helpers.origins import fixed_length, origin
from tests.helpers.proxies import local_config
from tests.helpers.script import Peer, Stage, get, head, stage
from tests.helpers.wire import closed_port

NAVIGATES = "Sec-Fetch-Mode: navigate"


async def ask(client: Peer, port: int, *lines: str, method: str = "GET") -> tuple[str, bytes]:
    """Return head and body of the answer for a port."""
    host = f"Host: {port}.localhost"
    await client.says(head(f"{method} / HTTP/1.1", host, *lines))
    http_response = (await client.gets_head()).decode("ascii")
    match = re.search(r"\r\nContent-Length: ([0-9]+)\r\n", http_response)
    assert match is not None
    return http_response, b"" if method == "HEAD" else await client.gets_bytes(int(match[1]))


async def serves(on: Stage, client: Peer) -> None:
    """Fail unless the connection goes on."""
    await client.says(get())
    upstream = await on.upstream()
    await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
    await upstream.says(head("HTTP/1.1 204 No Content"))
    await client.gets(head("HTTP/1.1 204 No Content"))


async def test_all_forms_have_the_same_status_and_the_connection_goes_on() -> None:
    async with stage() as on:
        client = await on.client()
        kinds = []
        with closed_port() as port:
            for lines in ((), ("Accept: application/json",), (NAVIGATES,)):
                http_response, body = await ask(client, port, *lines)
                assert http_response.startswith("HTTP/1.1 502 Bad Gateway\r\n")
                assert "\r\nProxy-Status: cmux-proxy; error=connection_refused\r\n" in http_response
                assert "\r\nCache-Control: no-store\r\n" in http_response
                assert f"nothing listens on 127.0.0.1:{port}".encode() in body
                kinds += re.findall(r"\r\nContent-Type: ([^;\r]*)", http_response)
        assert kinds == ["text/plain", "application/json", "text/html"]
        await serves(on, client)


@pytest.mark.parametrize("line", ["Accept: application/json", NAVIGATES])
async def test_an_answer_to_head_has_no_body(line: str) -> None:
    async with stage() as on:
        client = await on.client()
        with closed_port() as port:
            http_response, _ = await ask(client, port, line, method="HEAD")
        assert "Content-Length: 0\r\n" not in http_response
        await serves(on, client)


async def test_other_refusals_come_in_all_forms_too() -> None:
    async with stage(local_config(access=Access(tokens=["secret"]))) as on:
        client = await on.client()
        http_response, body = await ask(client, on.port, "Accept: application/json")
        assert http_response.startswith("HTTP/1.1 401 ")
        assert "\r\nWWW-Authenticate: Cmux-Token" in http_response
        assert json.loads(body)["error"] == "http_request_denied"
        http_response, body = await ask(client, on.port, NAVIGATES)
        assert http_response.startswith("HTTP/1.1 401 ")
        assert b"<h1>Unauthorized</h1>" in body


async def test_a_malformed_head_is_told_in_plain_text() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", NAVIGATES, "a b"))
        await client.gets_error(400, "http_request_error", closes=True)


async def test_a_page_names_what_listens_instead_and_not_what_is_denied() -> None:
    async with origin(fixed_length(b"")) as one, origin(fixed_length(b"")) as other:
        config = local_config(access=Access(deny_ports=[str(other.port)]))
        async with stage(config) as on:
            client = await on.client()
            with closed_port() as port:
                _, body = await ask(client, port, NAVIGATES)
            named = {int(text) for text in re.findall(rb">([0-9]+)</a>", body)}
            assert b"What listens instead" in body
            assert other.port not in named
            assert on.address.port not in named
            assert one.port in named or b"more</p>" in body

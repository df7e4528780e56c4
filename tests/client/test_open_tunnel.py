"""Opening a tunnel: the request, and all kinds of responses."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator

import pytest

from cmux_proxy.client.open_tunnel import (
    Tunnel,
    TunnelError,
    TunnelTimeout,
    open_tunnel,
    refusal_reason,
    system_error_text,
)
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tunnel_request import TunnelRequest
from tests.helpers.http_proxies import http_proxy
from tests.helpers.script import head, stage
from tests.helpers.timing import MS, SOON, soon
from tests.helpers.wire import Wire, WireListener, closed_port

REQUEST = TunnelRequest(6379)


@contextlib.asynccontextmanager
async def proxy_that_sends(response: bytes | None) -> AsyncIterator[ProxyUrl]:
    """Run a server that sends bytes after the first request, and closes; None sends nothing."""
    listener = WireListener()
    wires: list[Wire] = []

    async def serve() -> None:
        wires.append(await listener.accept())
        await wires[0].receive()
        if response is not None:
            await wires[0].send(response)
            wires[0].end()

    serving = asyncio.get_running_loop().create_task(serve())
    try:
        yield ProxyUrl("127.0.0.1", listener.port, False)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        for wire in [*wires]:
            wire.close()
        listener.close()


async def refusal(url: ProxyUrl, timeout: float = SOON) -> str:
    with pytest.raises(TunnelError) as caught:
        await open_tunnel(url, REQUEST, timeout)
    return str(caught.value)


def test_the_request_names_port_workspace_and_other_fields() -> None:
    assert REQUEST.connect_head() == head(
        "CONNECT 127.0.0.1:6379 HTTP/1.1", "Host: 127.0.0.1:6379", "X-Cmux-Port-Internal: 6379"
    )
    assert TunnelRequest(22, "agent-1", ["A: 1", "B: 2"]).connect_head() == head(
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "Host: 127.0.0.1:22",
        "X-Cmux-Port-Internal: 22",
        "X-Cmux-Workspace-Internal: agent-1",
        "A: 1",
        "B: 2",
    )


async def test_a_tunnel_carries_bytes_and_half_closes() -> None:
    async with stage() as on:
        url = ProxyUrl(on.address.host, on.address.port, False)
        tunnel = await soon(open_tunnel(url, TunnelRequest(on.port), SOON))
        upstream = await on.upstream()
        await upstream.says(b"hello")
        assert await soon(tunnel.reader.readexactly(5)) == b"hello"
        tunnel.writer.write(b"bye")
        tunnel.writer.write_eof()
        await upstream.gets(b"bye")
        await upstream.gets_end()
        await upstream.says(b"last")
        upstream.ends()
        assert await soon(tunnel.reader.read()) == b"last"
        tunnel.writer.close()


async def test_bytes_that_arrive_with_the_response_belong_to_the_tunnel() -> None:
    async with proxy_that_sends(head("HTTP/1.1 200 OK") + b"early") as url:
        tunnel: Tunnel = await soon(open_tunnel(url, REQUEST, SOON))
        assert await soon(tunnel.reader.read()) == b"early"
        tunnel.writer.close()


async def test_interim_responses_are_not_the_response() -> None:
    interim = head("HTTP/1.1 100 Continue") + head("HTTP/1.1 103 Hints", "Link: </a>")
    async with proxy_that_sends(interim + head("HTTP/1.1 200 OK") + b"early") as url:
        tunnel = await soon(open_tunnel(url, REQUEST, SOON))
        assert await soon(tunnel.reader.read()) == b"early"
        tunnel.writer.close()


async def test_a_reason_that_arrives_in_parts_is_read_completely() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"no")
    reading = asyncio.get_running_loop().create_task(
        refusal_reason(reader, head("HTTP/1.1 403 X", TEXT))
    )
    await asyncio.sleep(0)
    reader.feed_data(b" way")
    await asyncio.sleep(0)
    reader.feed_data(b"\nmore")
    assert await soon(reading) == "no way"


async def test_the_text_of_a_refusal_is_in_the_error() -> None:
    async with stage() as on:
        on.listener.close()
        url = ProxyUrl(on.address.host, on.address.port, False)
        with pytest.raises(TunnelError) as caught:
            await open_tunnel(url, TunnelRequest(on.port), SOON)
        assert str(caught.value) == (
            f"{url} responded with 502: nothing listens on 127.0.0.1:{on.port}; "
            "start the service or check the port"
        )


TEXT = "Content-Type: text/plain"
OURS = "Proxy-Status: edge, cmux-proxy; error=http_request_error"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"", "closed the connection without a response; is it a proxy?"),
        (b"HTTP/1.1 200", "closed the connection in the middle of its response; is it a proxy?"),
        (b"220 smtp.example\r\n\r\n", "does not respond like a proxy"),
        (b"x" * 200_000, "does not respond like a proxy"),
        (head("HTTP/1.1 404 Not Found"), "responded with 404: Not Found; is it a cmux-proxy?"),
        (head("HTTP/1.1 404"), "responded with 404: no reason given; is it a cmux-proxy?"),
        (head("HTTP/1.1 400 X", TEXT, OURS) + b"no port\n", "responded with 400: no port"),
        (head("HTTP/1.1 403 X", TEXT) + b"no way\nmore", "responded with 403: no way"),
        (head("HTTP/1.1 403 X", "Content-Type: text/html") + b"<html>", "responded with 403: X"),
        (head("HTTP/1.1 403 X", TEXT) + b"\x1b[2Jevil\n", "responded with 403: ?[2Jevil"),
        (head("HTTP/1.1 101 Switching"), "responded with 101: Switching"),
        (head("HTTP/1.1 100 C", "A: b") + head("HTTP/1.1 403 N"), "responded with 403: N"),
        (head("HTTP/1.1 100 C"), "closed the connection without a response; is it a proxy?"),
        (head("HTTP/1.1 200 OK", "Server: Caddy", "Content-Length: 0"),
         "responded with 200 and a body (Server: Caddy), which is no tunnel; is it a cmux-proxy?"),
        (head("HTTP/1.1 204 X", "transfer-encoding: chunked"),
         "responded with 204 and a body, which is no tunnel; is it a cmux-proxy?"),
        (head("HTTP/1.1 2 OK"), "does not respond like a proxy"),
        (head("HTTP/1.1 2000 OK"), "does not respond like a proxy"),
    ],
    ids=["nothing", "a part", "another protocol", "endless", "status", "bare status", "our own",
         "text", "html", "control bytes", "101", "interim", "interim only",
         "a length", "a coding", "one digit", "four digits"],
)  # fmt: skip
async def test_a_response_without_a_tunnel_is_one_line(response: bytes, expected: str) -> None:
    async with proxy_that_sends(response) as url:
        assert await refusal(url) == f"{url} {expected}"


async def test_a_refused_connection_is_an_error() -> None:
    with closed_port() as port:
        url = ProxyUrl("127.0.0.1", port, False)
        for unreachable in (url, ProxyUrl("localhost", port, False)):
            assert await refusal(unreachable) == (
                f"cannot connect to {unreachable}: Connection refused; is the proxy running?"
            )
    text = await refusal(ProxyUrl("no.such.invalid", 80, False))
    assert text.startswith("cannot connect to http://no.such.invalid:80: ")


def test_equal_errors_of_several_addresses_are_reported_once() -> None:
    refused = "[Errno {}] Connect call failed ('::1', 1, 0, 0), [Errno {}] Connect call failed"
    same = refused.format(errno.ECONNREFUSED, errno.ECONNREFUSED)
    assert system_error_text(OSError(same)) == "Connection refused"
    others = refused.format(errno.ENETUNREACH, errno.ECONNREFUSED)
    assert system_error_text(OSError(others)) == others
    assert system_error_text(OSError("no number")) == "no number"


async def test_a_proxy_that_does_not_respond_is_a_timeout() -> None:
    async with proxy_that_sends(None) as url:
        with pytest.raises(TunnelTimeout, match="has not opened a tunnel within"):
            await open_tunnel(url, REQUEST, 50 * MS)


async def test_a_server_without_tls_is_an_error() -> None:
    async with proxy_that_sends(head("HTTP/1.1 400 Bad Request")) as url:
        tls = ProxyUrl(url.host, url.port, True)
        assert (await refusal(tls)).startswith(f"{tls} does not speak TLS: ")


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have no HTTP proxy but what the test sets."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


async def test_an_http_proxy_opens_the_tunnel(variables: pytest.MonkeyPatch) -> None:
    async with stage() as on, http_proxy(on.address.host, on.address.port) as front_proxy:
        variables.setenv("http_proxy", front_proxy.url)
        tunnel = await soon(
            open_tunnel(ProxyUrl("vm.invalid", 80, False), TunnelRequest(on.port), SOON)
        )
        upstream = await on.upstream()
        await upstream.says(b"hello")
        assert await soon(tunnel.reader.readexactly(5)) == b"hello"
        assert front_proxy.heads == [head("CONNECT vm.invalid:80 HTTP/1.1", "Host: vm.invalid:80")]
        tunnel.writer.close()
        await upstream.gets_end()


async def test_an_http_proxy_that_refuses_or_is_down_is_named(
    variables: pytest.MonkeyPatch,
) -> None:
    url = ProxyUrl("vm.invalid", 80, False)
    async with http_proxy("127.0.0.1", 1, head("HTTP/1.1 403 Not you")) as front_proxy:
        variables.setenv("http_proxy", front_proxy.url)
        address = front_proxy.url.removeprefix("http://")
        assert await refusal(url) == (
            f"{address} (http_proxy) opens no tunnel to {url}: 403 Not you; "
            "no_proxy=vm.invalid bypasses it"
        )
    with closed_port() as port:
        variables.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert (await refusal(url)).startswith(
            f"cannot connect to 127.0.0.1:{port} (http_proxy): Connection refused"
        )
    variables.setenv("http_proxy", "socks5://127.0.0.1")
    assert "http_proxy names a proxy that speaks socks5" in await refusal(url)


async def test_a_server_behind_an_http_proxy_is_named_with_it(
    variables: pytest.MonkeyPatch,
) -> None:
    response = head("HTTP/1.1 200 OK", "Server: Caddy", "Content-Length: 0")
    async with (
        proxy_that_sends(response) as last,
        http_proxy(last.host, last.port) as front_proxy,
    ):
        variables.setenv("ALL_PROXY", front_proxy.url)
        address = front_proxy.url.removeprefix("http://")
        assert await refusal(ProxyUrl("vm.invalid", 80, False)) == (
            f"http://vm.invalid:80, through {address} (ALL_PROXY), responded with 200 and a body "
            "(Server: Caddy), which is no tunnel; is it a cmux-proxy?"
        )

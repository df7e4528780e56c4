"""One request of a diagnosis, and its response."""

import asyncio

import pytest

from cmux_proxy.client.probe import NoResponse, ProbeRequest, ProbeResponse, send_probe
from cmux_proxy.client.proxy_url import ProxyUrl
from tests.helpers.http_proxies import http_proxy
from tests.helpers.origins import (
    Behaviour,
    OriginConnection,
    chunk,
    http_response,
    origin,
    responding,
    silent,
)
from tests.helpers.script import head
from tests.helpers.timing import MS, SOON
from tests.helpers.wire import closed_port

REQUEST = ProbeRequest("/a?b", [("Host", "h.example"), ("X-Y", "1")])


def url(port: int, is_tls: bool = False) -> ProxyUrl:
    return ProxyUrl("127.0.0.1", port, is_tls)


async def probe(behaviour: Behaviour, timeout: float = SOON) -> ProbeResponse:
    """Return the response of an upstream with a behaviour."""
    async with origin(behaviour) as upstream:
        return await asyncio.to_thread(send_probe, url(upstream.port), REQUEST, timeout)


async def test_only_the_request_is_sent() -> None:
    async with origin(responding(lambda _: http_response(b""))) as upstream:
        await asyncio.to_thread(send_probe, url(upstream.port), REQUEST, SOON)
        (connection,) = upstream.connections
    assert connection.received == head("GET /a?b HTTP/1.1", "Host: h.example", "X-Y: 1")


async def test_a_response_has_status_fields_and_text() -> None:
    response_bytes = http_response(
        b"\n  one\x1b \ntwo\n", "Content-Type: text/plain", "A: b", status="404 No"
    )
    response = await probe(responding(lambda _: response_bytes))
    assert (response.status, response.fields["A"], response.text, response.has_body) == (
        404,
        "b",
        "one",
        True,
    )
    assert response.first_byte_after is not None
    assert 0 < response.head_after <= response.first_byte_after


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/html", b"<!doctype html><title>T</title><style>\na</style>\n<h1 id=1>Hi</h1>", "Hi"),
        ("text/plain", b"x" * 200, "x" * 160 + "..."),
        ("text/plain", b"a\x1b[31mb\xff", "a [31mb\N{REPLACEMENT CHARACTER}"),
        ("application/json", b"{}", ""),
        ("text/plain", b"", ""),
    ],
    ids=["HTML", "long", "harmful", "no text", "empty"],
)
async def test_a_text_is_shortened_to_its_first_visible_line(
    content_type: str, body: bytes, text: str
) -> None:
    response_bytes = http_response(body, f"Content-Type: {content_type}")
    response = await probe(responding(lambda _: response_bytes))
    assert (response.text, response.has_body) == (text, body != b"")


async def test_a_stream_is_not_read_to_its_end() -> None:
    async def stream(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(
            head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunk(b"first")
        )
        await connection.request()

    response = await probe(stream)
    assert response.has_body
    assert response.first_byte_after is not None


async def test_a_body_that_does_not_begin_has_no_first_byte() -> None:
    async def stalled(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await connection.request()

    response = await probe(stalled, 50 * MS)
    assert (response.status, response.first_byte_after, response.has_body) == (200, None, False)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("cmux-proxy; error=connection_refused", "connection_refused"),
        ("other; error=connection_refused", None),
        ("cmux-proxy", None),
    ],
)
async def test_a_response_of_the_proxy_is_not_one_of_the_service(
    value: str, error: str | None
) -> None:
    response_bytes = http_response(b"", f"Proxy-Status: {value}", status="502 Bad Gateway")
    assert (await probe(responding(lambda _: response_bytes))).proxy_error == error
    assert (await probe(responding(lambda _: http_response(b"")))).proxy_error is None


async def test_a_switch_of_protocols_is_a_response() -> None:
    response_bytes = head("HTTP/1.1 101 Switching Protocols", "Upgrade: a", "Connection: upgrade")
    response = await probe(responding(lambda _: response_bytes))
    assert (response.status, response.has_body) == (101, False)


async def test_interim_responses_are_not_the_response() -> None:
    interim = head("HTTP/1.1 100 Continue") + head("HTTP/1.1 103 Early Hints", "Link: </a>")
    response = await probe(
        responding(lambda _: interim + http_response(b"one", "Content-Type: text/plain"))
    )
    assert (response.status, response.text, "Link" in response.fields) == (200, "one", False)


async def broken(connection: OriginConnection) -> None:
    await connection.request()
    connection.wire.close()


async def greeting(connection: OriginConnection) -> None:
    await connection.send(b"SSH-2.0-x\r\n")
    await connection.request()


@pytest.mark.parametrize(
    ("behaviour", "expected", "is_timeout"),
    [
        (silent, "has not responded within 0.05 s", True),
        (broken, "closed the connection without a response", False),
        (greeting, "does not respond in HTTP", False),
    ],
    ids=["silent", "closes", "no HTTP"],
)
async def test_a_missing_response_has_a_reason(
    behaviour: Behaviour, expected: str, is_timeout: bool
) -> None:
    with pytest.raises(NoResponse, match=expected) as caught:
        await probe(behaviour, 0.05 if is_timeout else SOON)
    assert caught.value.is_timeout == is_timeout


def test_a_refused_connection_has_a_reason() -> None:
    with (
        closed_port() as port,
        pytest.raises(NoResponse, match=r"cannot send to .*: Connection ref"),
    ):
        send_probe(url(port), REQUEST, SOON)


async def test_a_server_without_tls_has_a_reason() -> None:
    async def plain(connection: OriginConnection) -> None:
        await connection.wire.receive()
        await connection.send(http_response(b""))

    async with origin(plain) as upstream:
        with pytest.raises(NoResponse, match="does not speak TLS"):
            await asyncio.to_thread(send_probe, url(upstream.port, is_tls=True), REQUEST, SOON)


async def test_an_http_proxy_opens_the_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    url_behind = ProxyUrl("vm.invalid", 80, False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with (
        origin(responding(lambda _: http_response(b"hi", "Content-Type: text/plain"))) as upstream,
        http_proxy("127.0.0.1", upstream.port) as front_proxy,
    ):
        monkeypatch.setenv("http_proxy", front_proxy.url)
        assert (await asyncio.to_thread(send_probe, url_behind, REQUEST, SOON)).text == "hi"
        assert front_proxy.heads == [head("CONNECT vm.invalid:80 HTTP/1.1", "Host: vm.invalid:80")]


def saying(data: bytes) -> Behaviour:
    """Send data after a request, and close."""

    async def behave(connection: OriginConnection) -> None:
        await connection.head()
        await connection.send(data)

    return behave


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (saying(head("HTTP/1.1 403 No")), "opens no tunnel to {}: 403 No"),
        (saying(b"x" * 70_000), "does not respond like an HTTP proxy"),
        (saying(b""), "does not respond like an HTTP proxy"),
        (silent, "it does not respond in time"),
    ],
    ids=["refusal", "another protocol", "end", "silence"],
)
async def test_an_http_proxy_that_opens_no_tunnel_is_named(
    behaviour: Behaviour, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url_behind = ProxyUrl("vm.invalid", 80, False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with origin(behaviour) as upstream:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{upstream.port}")
        with pytest.raises(NoResponse) as caught:
            await asyncio.to_thread(
                send_probe, url_behind, REQUEST, 50 * MS if behaviour is silent else SOON
            )
    assert f"127.0.0.1:{upstream.port} (http_proxy)" in str(caught.value)
    assert expected.format(url_behind) in str(caught.value)

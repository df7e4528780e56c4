"""One question, and what comes of it."""

import asyncio

import pytest

from cmux_proxy.client.probe import Answer, NoAnswer, Question, ask
from cmux_proxy.client.proxy_url import ProxyUrl
from tests.helpers.http_proxies import http_proxy
from tests.helpers.origins import Behaviour, Visit, answer, answering, chunk, origin, silent
from tests.helpers.script import head
from tests.helpers.timing import MS, SOON
from tests.helpers.wire import closed_port

QUESTION = Question("/a?b", [("Host", "h.example"), ("X-Y", "1")])


def url(port: int, is_tls: bool = False) -> ProxyUrl:
    return ProxyUrl("127.0.0.1", port, is_tls)


async def asked(behaviour: Behaviour, timeout: float = SOON) -> Answer:
    """Return what an upstream of that behaviour answers."""
    async with origin(behaviour) as upstream:
        return await asyncio.to_thread(ask, url(upstream.port), QUESTION, timeout)


async def test_nothing_is_sent_but_what_was_asked_for() -> None:
    async with origin(answering(lambda _: answer(b""))) as upstream:
        await asyncio.to_thread(ask, url(upstream.port), QUESTION, SOON)
        (visit,) = upstream.visits
    assert visit.received == head("GET /a?b HTTP/1.1", "Host: h.example", "X-Y: 1")


async def test_status_fields_and_text_are_told() -> None:
    reply = answer(b"\n  one\x1b \ntwo\n", "Content-Type: text/plain", "A: b", status="404 No")
    got = await asked(answering(lambda _: reply))
    assert (got.status, got.fields["A"], got.text, got.has_body) == (404, "b", "one", True)
    assert got.first_byte_after is not None
    assert 0 < got.head_after <= got.first_byte_after


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/html", b"<!doctype html><title>T</title><style>\na</style>\n<h1 id=1>Hi</h1>", "Hi"),
        ("text/plain", b"x" * 200, "x" * 160 + "..."),
        ("text/plain", b"a\x1b[31mb\xff", "a [31mb\N{REPLACEMENT CHARACTER}"),
        ("application/json", b"{}", ""),
        ("text/plain", b"", ""),
    ],
    ids=["HTML", "long", "harmful", "no text", "empty"],
)
async def test_a_text_is_shortened_to_what_a_reader_sees(kind: str, body: bytes, text: str) -> None:
    reply = answer(body, f"Content-Type: {kind}")
    got = await asked(answering(lambda _: reply))
    assert (got.text, got.has_body) == (text, body != b"")


async def test_a_stream_is_not_waited_for_to_its_end() -> None:
    async def stream(visit: Visit) -> None:
        await visit.request()
        await visit.say(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunk(b"first"))
        await visit.request()

    got = await asked(stream)
    assert got.has_body
    assert got.first_byte_after is not None


async def test_a_body_that_does_not_begin_has_no_first_byte() -> None:
    async def stalled(visit: Visit) -> None:
        await visit.request()
        await visit.say(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await visit.request()

    got = await asked(stalled, 50 * MS)
    assert (got.status, got.first_byte_after, got.has_body) == (200, None, False)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("cmux-proxy; error=connection_refused", "connection_refused"),
        ("other; error=connection_refused", None),
        ("cmux-proxy", None),
    ],
)
async def test_an_answer_of_the_proxy_is_told_from_one_of_the_service(
    value: str, error: str | None
) -> None:
    reply = answer(b"", f"Proxy-Status: {value}", status="502 Bad Gateway")
    assert (await asked(answering(lambda _: reply))).proxy_error == error
    assert (await asked(answering(lambda _: answer(b"")))).proxy_error is None


async def test_a_switch_of_protocols_is_an_answer() -> None:
    reply = head("HTTP/1.1 101 Switching Protocols", "Upgrade: a", "Connection: upgrade")
    got = await asked(answering(lambda _: reply))
    assert (got.status, got.has_body) == (101, False)


async def test_interim_answers_are_not_the_answer() -> None:
    interim = head("HTTP/1.1 100 Continue") + head("HTTP/1.1 103 Early Hints", "Link: </a>")
    got = await asked(answering(lambda _: interim + answer(b"one", "Content-Type: text/plain")))
    assert (got.status, got.text, "Link" in got.fields) == (200, "one", False)


async def broken(visit: Visit) -> None:
    await visit.request()
    visit.wire.close()


async def greeting(visit: Visit) -> None:
    await visit.say(b"SSH-2.0-x\r\n")
    await visit.request()


@pytest.mark.parametrize(
    ("behaviour", "says", "is_timeout"),
    [
        (silent, "has not answered within 0.05 s", True),
        (broken, "closed the connection without an answer", False),
        (greeting, "does not answer in HTTP", False),
    ],
    ids=["silent", "closes", "no HTTP"],
)
async def test_no_answer_is_told(behaviour: Behaviour, says: str, is_timeout: bool) -> None:
    with pytest.raises(NoAnswer, match=says) as caught:
        await asked(behaviour, 0.05 if is_timeout else SOON)
    assert caught.value.is_timeout == is_timeout


def test_nobody_there_is_told() -> None:
    with closed_port() as port, pytest.raises(NoAnswer, match=r"cannot talk to .*: Connection ref"):
        ask(url(port), QUESTION, SOON)


async def test_who_speaks_no_tls_is_told() -> None:
    async def plain(visit: Visit) -> None:
        await visit.wire.receive()
        await visit.say(answer(b""))

    async with origin(plain) as upstream:
        with pytest.raises(NoAnswer, match="does not speak TLS"):
            await asyncio.to_thread(ask, url(upstream.port, is_tls=True), QUESTION, SOON)


async def test_an_http_proxy_is_asked_for_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    far = ProxyUrl("vm.invalid", 80, False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with (
        origin(answering(lambda _: answer(b"hi", "Content-Type: text/plain"))) as upstream,
        http_proxy("127.0.0.1", upstream.port) as way,
    ):
        monkeypatch.setenv("http_proxy", way.url)
        assert (await asyncio.to_thread(ask, far, QUESTION, SOON)).text == "hi"
        assert way.asked == [head("CONNECT vm.invalid:80 HTTP/1.1", "Host: vm.invalid:80")]


def saying(data: bytes) -> Behaviour:
    """Say so much to a request, and close."""

    async def behave(visit: Visit) -> None:
        await visit.head()
        await visit.say(data)

    return behave


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (saying(head("HTTP/1.1 403 No")), "lets nobody through to {}: 403 No"),
        (saying(b"x" * 70_000), "does not answer like an HTTP proxy"),
        (saying(b""), "does not answer like an HTTP proxy"),
        (silent, "it does not answer in time"),
    ],
    ids=["refusal", "another protocol", "end", "silence"],
)
async def test_an_http_proxy_that_opens_no_way_is_named(
    behaviour: Behaviour, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = ProxyUrl("vm.invalid", 80, False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with origin(behaviour) as upstream:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{upstream.port}")
        with pytest.raises(NoAnswer) as caught:
            await asyncio.to_thread(ask, far, QUESTION, 50 * MS if behaviour is silent else SOON)
    assert f"127.0.0.1:{upstream.port} (http_proxy)" in str(caught.value)
    assert says.format(far) in str(caught.value)

"""WebSockets over HTTP/2 (RFC 8441), bridged to an upgrade of HTTP/1.1."""

import base64
import hashlib
from collections.abc import Sequence

import pytest

from cmux_proxy.http2.error_codes import CANCEL, CONNECT_ERROR
from cmux_proxy.http2.frame_types import ENABLE_CONNECT_PROTOCOL, PREFACE, SETTINGS
from tests.helpers.h2_peer import Fields, H2Peer
from tests.helpers.http2_frames import frame
from tests.helpers.http2_wire import Http2Wire
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.wire import Wire
from tests.network.test_http2 import Stage, gets, stage

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DEFLATE = "permessage-deflate; client_max_window_bits"


def extended(port: int, *more: tuple[str, str], protocol: str = "websocket") -> Fields:
    """Return the fields of an extended CONNECT."""
    return [
        (":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", "/ws?a"),
        (":authority", "a"), ("sec-websocket-version", "13"), ("x-cmux-port-internal", str(port)),
        *more,
    ]  # fmt: skip


async def ask(on: Stage, *more: tuple[str, str]) -> tuple[int, Wire, dict[bytes, bytes]]:
    """Ask for a WebSocket; return its stream, its upstream and the lines that this has got."""
    # The client may send an extended CONNECT once the proxy has announced it.
    await on.client.step()
    stream = await on.client.ask(extended(on.port, *more), False)
    upstream = await on.accept()
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += await soon(upstream.receive())
    first, *lines = request[:-4].split(b"\r\n")
    assert first == b"GET /ws?a HTTP/1.1"
    fields = dict(line.split(b": ", 1) for line in lines)
    return stream, upstream, {name.removeprefix(b"sec-websocket-"): fields[name] for name in fields}


def switch(key: bytes, *lines: str) -> bytes:
    """Return the 101 to an upgrade with this key."""
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
    start = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    return head(*start, f"Sec-WebSocket-Accept: {accept}", *lines)


async def test_it_is_announced_in_the_first_settings() -> None:
    async with stage() as on:
        with await Http2Wire.to(on.proxy.addresses[0].port) as client:
            await client.send(PREFACE + frame(SETTINGS, 0, 0))
            first = await client.frame()
        assert first.kind == SETTINGS
        settings = [first.payload[at : at + 6] for at in range(0, len(first.payload), 6)]
        assert bytes([0, ENABLE_CONNECT_PROTOCOL, 0, 0, 0, 1]) in settings


async def test_extensions_and_protocols_pass_in_both_directions() -> None:
    async with stage() as on:
        stream, upstream, lines = await ask(
            on, ("sec-websocket-extensions", DEFLATE), ("sec-websocket-protocol", "vite-hmr, b"),
            ("origin", "http://a"), ("sec-websocket-key", "mine"),
        )  # fmt: skip
        with upstream:
            assert lines[b"extensions"] == DEFLATE.encode()
            assert lines[b"protocol"] == b"vite-hmr, b"
            assert lines[b"version"] == b"13"
            assert (lines[b"connection"], lines[b"upgrade"]) == (b"upgrade", b"websocket")
            assert lines[b"origin"] == b"http://a"
            assert len(base64.b64decode(lines[b"key"])) == 16
            granted = ("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: b")
            await upstream.send(switch(lines[b"key"], *granted))
            assert await on.client.head(stream) == {
                ":status": "200",
                "sec-websocket-extensions": "permessage-deflate",
                "sec-websocket-protocol": "b",
            }


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299])
async def test_a_2xx_of_the_upstream_does_not_open_it(status: int) -> None:
    async with stage() as on:
        stream, upstream, _lines = await ask(on)
        with upstream:
            length = () if status == 204 else ("Content-Length: 2",)
            await upstream.send(head(f"HTTP/1.1 {status} Fine", *length) + b"ok" * len(length))
            response = await on.client.complete(stream)
            assert response.status == "502"
            reason = f"a {status} response to a WebSocket, not a 101\n"
            assert response.body.decode().endswith(reason)
            assert await soon(upstream.receive()) == b""


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 426, 500, 503])
async def test_every_other_status_passes_as_it_is(status: int) -> None:
    async with stage() as on:
        stream, upstream, _lines = await ask(on)
        with upstream:
            lines = ("Content-Length: 2", "X-A: 1")
            await upstream.send(head(f"HTTP/1.1 {status} No", *lines) + b"no")
            response = await on.client.complete(stream)
            assert (response.status, response.body) == (str(status), b"no")
            assert response.heads == [{":status": str(status), "content-length": "2", "x-a": "1"}]


async def test_interim_responses_pass() -> None:
    async with stage() as on:
        stream, upstream, lines = await ask(on)
        with upstream:
            await upstream.send(head("HTTP/1.1 103 Early Hints") + switch(lines[b"key"]))
            heads = on.client.responses[stream].heads
            while len(heads) < 2:
                await on.client.step()
            assert heads == [{":status": "103"}, {":status": "200"}]


ACCEPTS: dict[str, Sequence[str]] = {
    "missing": (),
    "wrong": ("Sec-WebSocket-Accept: wrong",),
    "empty": ("Sec-WebSocket-Accept:",),
    "of-another-key": ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",),
    "twice": ("Sec-WebSocket-Accept: <right>", "Sec-WebSocket-Accept: <right>"),
    "list": ("Sec-WebSocket-Accept: <right>, <right>",),
}


@pytest.mark.parametrize("accepts", ACCEPTS.values(), ids=ACCEPTS)
async def test_an_upstream_that_does_not_prove_the_key_is_a_502(accepts: Sequence[str]) -> None:
    async with stage() as on:
        stream, upstream, lines = await ask(on)
        right = base64.b64encode(hashlib.sha1(lines[b"key"] + _GUID).digest()).decode()
        with upstream:
            start = ("HTTP/1.1 101 Fine", "Upgrade: websocket", "Connection: Upgrade")
            await upstream.send(head(*start, *(line.replace("<right>", right) for line in accepts)))
            response = await on.client.complete(stream)
            assert response.status == "502"
            assert response.body.endswith(b"a 101 response with a wrong Sec-WebSocket-Accept\n")
            assert await soon(upstream.receive()) == b""


async def test_a_101_with_another_protocol_is_a_502() -> None:
    async with stage() as on:
        stream, upstream, lines = await ask(on)
        with upstream:
            await upstream.send(switch(lines[b"key"]).replace(b"websocket", b"other"))
            assert (await on.client.complete(stream)).status == "502"


@pytest.mark.parametrize("protocol", ["connect-udp", "webtransport", "websocket2", "h2c"])
async def test_an_unknown_protocol_gets_a_501(protocol: str) -> None:
    async with stage() as on:
        await on.client.step()
        stream = await on.client.ask(extended(on.port, protocol=protocol), False)
        response = await on.client.complete(stream)
        assert response.status == "501"
        assert response.body == b"bad request: the protocol is not websocket\n"
        await reaches_nothing(on)


async def test_the_name_of_the_protocol_is_not_case_sensitive() -> None:
    async with stage() as on:
        await on.client.step()
        await on.client.ask(extended(on.port, protocol="WebSocket"), False)
        with await on.accept() as upstream:
            assert b"upgrade: WebSocket\r\n" in await soon(upstream.receive())


async def reaches_nothing(on: Stage) -> None:
    """Check that the next connection to the upstream is that of another request."""
    other = await H2Peer.to(on.proxy.addresses[0].port)
    with other:
        await other.ask([
            (":method", "GET"), (":path", "/next"), (":scheme", "http"), (":authority", "a"),
            ("x-cmux-port-internal", str(on.port)),
        ])  # fmt: skip
        with await on.accept() as upstream:
            assert (await soon(upstream.receive())).startswith(b"GET /next ")


async def opened(on: Stage) -> tuple[int, Wire]:
    """Open a WebSocket."""
    stream, upstream, lines = await ask(on)
    await upstream.send(switch(lines[b"key"]))
    assert (await on.client.head(stream))[":status"] == "200"
    return stream, upstream


async def test_a_reset_of_the_client_resets_the_upstream() -> None:
    async with stage() as on:
        stream, upstream = await opened(on)
        with upstream:
            await on.client.send(stream, b"half a fr")
            await gets(upstream, b"half a fr")
            on.client.h2.reset_stream(stream, CANCEL)
            await on.client.flush()
            with pytest.raises(ConnectionResetError):
                await soon(upstream.receive())
        assert len(on.proxy.services.registry.tunnels) == 0


async def test_a_reset_of_the_upstream_resets_the_stream() -> None:
    async with stage() as on:
        stream, upstream = await opened(on)
        upstream.reset()
        assert (await on.client.complete(stream)).reset == CONNECT_ERROR


async def test_ends_are_half_closes_in_both_directions() -> None:
    async with stage() as on:
        stream, upstream = await opened(on)
        with upstream:
            await on.client.send(stream, b"bye", True)
            await gets(upstream, b"bye")
            assert await soon(upstream.receive()) == b""
            await upstream.send(b"still")
            upstream.end()
            response = await on.client.complete(stream)
            assert (response.body, response.reset) == (b"still", None)
        assert len(on.proxy.services.registry.tunnels) == 0


async def test_the_upstream_may_end_first() -> None:
    async with stage() as on:
        stream, upstream = await opened(on)
        with upstream:
            upstream.end()
            assert (await on.client.complete(stream)).reset is None
            await on.client.send(stream, b"late", True)
            await gets(upstream, b"late")
            assert await soon(upstream.receive()) == b""

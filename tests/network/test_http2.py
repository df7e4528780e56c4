"""HTTP/2 by prior knowledge, with the library h2 as the client and sockets as upstreams."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator

from cmux_proxy import Proxy
from cmux_proxy.http2.frame_types import DATA, GOAWAY
from tests.helpers.h2_peer import H2Peer, fields
from tests.helpers.http2_frames import read_frames
from tests.helpers.proxies import local_config
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
NO_ERROR, INTERNAL_ERROR, CANCEL = 0, 2, 8
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Stage:
    """A proxy, its client over HTTP/2, and one upstream."""

    def __init__(self, proxy: Proxy, client: H2Peer, listener: WireListener) -> None:
        self.proxy = proxy
        self.client = client
        self.listener = listener

    @property
    def port(self) -> int:
        """The upstream's port."""
        return self.listener.port

    async def accept(self) -> Wire:
        """Return the next connection to the upstream."""
        return await soon(self.listener.accept())


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Start a proxy, and connect to it."""
    with contextlib.closing(WireListener()) as listener:
        async with Proxy(local_config()) as proxy:
            with await H2Peer.to(proxy.addresses[0].port) as client:
                yield Stage(proxy, client, listener)


async def gets(upstream: Wire, expected: bytes) -> None:
    """Read so many bytes, and require them to be these."""
    data = b""
    while len(data) < len(expected):
        part = await soon(upstream.receive())
        assert part, data
        data += part
    assert data == expected


async def test_a_request_becomes_one_of_http_1_and_its_response_comes_back() -> None:
    async with stage() as on:
        stream = await on.client.ask(fields(on.port, "GET", "/x?y", ("accept", "*/*")))
        with await on.accept() as upstream:
            await gets(upstream, head("GET /x?y HTTP/1.1", "host: a", "accept: */*"))
            await upstream.send(OK)
            response = await on.client.complete(stream)
            assert (response.status, response.body) == ("200", b"ok")
            assert response.heads == [{":status": "200", "content-length": "2"}]


async def test_a_body_without_a_length_is_chunked_and_trailers_go_both_ways() -> None:
    async with stage() as on:
        stream = await on.client.ask(fields(on.port, "POST", "/", ("te", "trailers")), False)
        await on.client.send(stream, b"abc")
        on.client.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
        await on.client.flush()
        with await on.accept() as upstream:
            request = b""
            while not request.endswith(b"0\r\nx-sum: 1\r\n\r\n"):
                request += await soon(upstream.receive())
            assert b"transfer-encoding: chunked\r\n" in request
            assert b"3\r\nabc\r\n" in request
            await upstream.send(
                head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: x-end")
                + b"2\r\nok\r\n0\r\nx-end: 2\r\n\r\n"
            )
            response = await on.client.complete(stream)
            assert (response.body, response.trailers) == (b"ok", {"x-end": "2"})
            assert "transfer-encoding" not in response.heads[-1]


async def test_a_body_of_a_known_length_is_sent_as_it_is() -> None:
    async with stage() as on:
        request = fields(on.port, "PUT", "/", ("content-length", "6"))
        stream = await on.client.ask(request, False)
        await on.client.send(stream, b"abc")
        await on.client.send(stream, b"def", True)
        with await on.accept() as upstream:
            await gets(upstream, head("PUT / HTTP/1.1", "host: a", "content-length: 6") + b"abcdef")
            await upstream.send(OK)
            assert (await on.client.complete(stream)).body == b"ok"


async def test_interim_responses_and_a_response_to_head() -> None:
    async with stage() as on:
        stream = await on.client.ask(fields(on.port, "HEAD"))
        with await on.accept() as upstream:
            await upstream.receive()
            await upstream.send(head("HTTP/1.1 103 Early Hints", "Link: </a>"))
            await upstream.send(head("HTTP/1.1 200 OK", "Content-Length: 1000"))
            response = await on.client.complete(stream)
            assert [part[":status"] for part in response.heads] == ["103", "200"]
            assert response.body == b""


async def test_a_body_that_is_asked_for_comes_after_the_100() -> None:
    async with stage() as on:
        fields_of_a_put = [*fields(on.port, "PUT"), ("expect", "100-continue")]
        stream = await on.client.ask(fields_of_a_put, False)
        with await on.accept() as upstream:
            assert b"expect: 100-continue\r\n" in await soon(upstream.receive())
            await upstream.send(head("HTTP/1.1 100 Continue"))
            assert (await on.client.head(stream))[":status"] == "100"
            await on.client.send(stream, b"body", True)
            while not upstream.received.endswith(b"body\r\n0\r\n\r\n"):
                assert await soon(upstream.receive())
            await upstream.send(head("HTTP/1.1 204 No Content"))
            response = await on.client.complete(stream)
            assert [part[":status"] for part in response.heads] == ["100", "204"]


async def test_streams_do_not_wait_for_each_other() -> None:
    async with stage() as on:
        streams = [await on.client.ask(fields(on.port, "GET", f"/{n}")) for n in range(20)]
        upstreams = [await on.accept() for _ in streams]
        for upstream in reversed(upstreams):
            path = (await soon(upstream.receive())).split(b" ")[1]
            await upstream.send(head("HTTP/1.1 200 OK", f"Content-Length: {len(path)}") + path)
        for number, stream in enumerate(streams):
            assert (await on.client.complete(stream)).body == b"/%d" % number
        for upstream in upstreams:
            upstream.close()


async def test_a_reset_of_the_client_closes_the_upstream() -> None:
    async with stage() as on:
        stream = await on.client.ask(fields(on.port))
        with await on.accept() as upstream:
            await upstream.receive()
            await on.client.reset(stream)
            assert await soon(upstream.receive()) == b""
        assert len(on.proxy.services.registry.streams) == 0


async def test_a_response_that_breaks_off_resets_the_stream_and_no_other() -> None:
    async with stage() as on:
        stream = await on.client.ask(fields(on.port))
        with await on.accept() as upstream:
            await upstream.receive()
            await upstream.send(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"half")
            await on.client.body(stream, 4)
        assert (await on.client.complete(stream)).reset == INTERNAL_ERROR
        other = await on.client.ask(fields(on.port))
        with await on.accept() as upstream:
            await upstream.receive()
            await upstream.send(OK)
            assert (await on.client.complete(other)).body == b"ok"


async def test_an_early_answer_ends_the_stream_and_its_request() -> None:
    async with stage() as on:
        stream = await on.client.ask(fields(on.port, "POST"), False)
        with await on.accept() as upstream:
            await upstream.receive()
            await upstream.send(head("HTTP/1.1 413 Too Large", "Connection: close") + b"no")
            upstream.end()
            response = await on.client.complete(stream)
            assert (response.status, response.body) == ("413", b"no")
            while response.reset is None:
                await on.client.step()
            assert response.reset == NO_ERROR


async def test_a_refused_request_gets_its_status() -> None:
    async with stage() as on:
        pseudo = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]
        response = await on.client.complete(await on.client.ask(pseudo))
        assert (response.status, response.body) == (
            "400", b"missing required header: X-Cmux-Port-Internal\n",
        )  # fmt: skip


async def test_a_large_body_waits_for_the_windows_and_stops_the_upstream() -> None:
    body = b"z" * 3_000_000
    async with stage() as on:
        on.client.reads = False
        stream = await on.client.ask(fields(on.port))
        with await on.accept() as upstream:
            await upstream.receive()
            await upstream.send(head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}"))
            sending = asyncio.get_running_loop().create_task(upstream.send(body))
            await on.client.body(stream, 65535)
            assert len(on.client.responses[stream].body) == 65535
            on.client.reads = True
            on.client.h2.acknowledge_received_data(65535, stream)
            await on.client.flush()
            done, _ = await asyncio.gather(on.client.complete(stream), sending)
            assert done.body == body


async def test_connect_opens_a_tunnel_with_both_half_closes() -> None:
    async with stage() as on:
        request = [(":method", "CONNECT"), (":authority", "a:1")]
        stream = await on.client.ask([*request, ("x-cmux-port-internal", str(on.port))], False)
        with await on.accept() as upstream:
            assert (await on.client.head(stream))[":status"] == "200"
            await on.client.send(stream, b"ping")
            await gets(upstream, b"ping")
            await on.client.send(stream, b"", True)
            assert await soon(upstream.receive()) == b""
            await upstream.send(b"pong")
            upstream.end()
            assert (await on.client.complete(stream)).body == b"pong"
        assert len(on.proxy.services.registry.tunnels) == 0


async def open_websocket(on: Stage, accepts: bool) -> tuple[int, Wire]:
    request = [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"),
        (":authority", "a"), ("sec-websocket-version", "13"),
        ("x-cmux-port-internal", str(on.port)),
    ]  # fmt: skip
    stream = await on.client.ask(request, False)
    upstream = await on.accept()
    received = await soon(upstream.receive())
    assert received.startswith(b"GET /ws HTTP/1.1\r\nhost: a\r\n")
    lines = dict(line.split(b": ", 1) for line in received.split(b"\r\n")[1:-2])
    assert lines[b"upgrade"] == b"websocket"
    key = lines[b"sec-websocket-key"]
    assert len(base64.b64decode(key)) == 16
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()) if accepts else b"wrong"
    await upstream.send(
        head(
            "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept.decode()}", "X-A: 1",
        ) + b"hi"
    )  # fmt: skip
    return stream, upstream


async def test_a_websocket_is_bridged_to_an_upgrade() -> None:
    async with stage() as on:
        # The client may send an extended CONNECT once the proxy has announced it.
        await on.client.step()
        stream, upstream = await open_websocket(on, True)
        with upstream:
            assert await on.client.head(stream) == {":status": "200", "x-a": "1"}
            assert await on.client.body(stream, 2) == b"hi"
            await on.client.send(stream, b"frame")
            await gets(upstream, b"frame")
        await on.client.complete(stream)


async def test_a_websocket_whose_upstream_does_not_know_the_key_is_refused() -> None:
    async with stage() as on:
        await on.client.step()
        stream, upstream = await open_websocket(on, False)
        with upstream:
            response = await on.client.complete(stream)
            assert response.status == "502"
            assert b"Sec-WebSocket-Accept" in response.body


async def test_a_drain_serves_open_streams_and_says_so() -> None:
    async with stage() as on:
        stream = await on.client.ask(fields(on.port))
        with await on.accept() as upstream:
            await upstream.receive()
            drain = asyncio.get_running_loop().create_task(on.proxy.drain(10))
            # The library reads nothing more behind a GOAWAY.
            data = b""
            while not (goaways := _goaways(data)):
                data += await soon(on.client.wire.receive())
            assert goaways == [(2**31 - 1, NO_ERROR)]
            await upstream.send(OK)
            while part := await soon(on.client.wire.receive()):
                data += part
            frames = read_frames(data)
            assert b"".join(each.payload for each in frames if each.kind == DATA) == b"ok"
            assert _goaways(data)[-1] == (stream, NO_ERROR)
            await soon(drain)


def _goaways(data: bytes) -> list[tuple[int, int]]:
    """Return the last streams and codes of the GOAWAY frames among these bytes."""
    return [
        (int.from_bytes(each.payload[:4], "big"), int.from_bytes(each.payload[4:8], "big"))
        for each in read_frames(data)
        if each.kind == GOAWAY
    ]


async def test_a_broken_rule_ends_the_connection_with_its_code() -> None:
    async with stage() as on:
        # A frame on stream 0 that must not be there.
        await on.client.wire.send(b"\0\0\1\0\0\0\0\0\0x")
        with contextlib.suppress(AssertionError):
            while not on.client.goaways:
                await on.client.step()
        assert on.client.goaways[0][1] == 1
        await on.client.until_end()

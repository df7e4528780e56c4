"""HTTP/2 to upstreams: detected for gRPC or asked for, with real sockets on both sides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import h2.errors
import h2.settings
import pytest

from cmux_proxy import Config, Proxy, Target, Upstreams
from cmux_proxy.config.sections import Limits, Observability, Timeouts
from tests.helpers.h2_origin import GRPC_OK, OK, H2Origin, aside
from tests.helpers.h2_peer import H2Peer, fields
from tests.helpers.messages import Message, Reader
from tests.helpers.origins import echo, http_response, origin, responding, serving
from tests.helpers.proxies import local_config
from tests.helpers.timing import soon
from tests.helpers.tls_origin import TlsListener
from tests.helpers.wire import Wire, WireListener

GRPC = (("content-type", "application/grpc"), ("te", "trailers"))
H2C = b"X-Cmux-Protocol: h2c\r\n"
REFUSED = int(h2.errors.ErrorCodes.REFUSED_STREAM)
CANCEL = int(h2.errors.ErrorCodes.CANCEL)
INTERNAL = int(h2.errors.ErrorCodes.INTERNAL_ERROR)


def call(port: int, *more: tuple[str, str]) -> Any:
    """Return the fields of a gRPC call."""
    return fields(port, "POST", "/pkg.Service/Method", *GRPC, *more)


def request(port: int, more: bytes = H2C, line: bytes = b"GET / HTTP/1.1") -> bytes:
    route = b"Host: app.example\r\nX-Cmux-Port-Internal: %d\r\n" % port
    return line + b"\r\n" + route + more + b"\r\n"


async def accept(listener: WireListener, max_streams: int | None = None) -> H2Origin:
    upstream = H2Origin(await soon(listener.accept()), max_streams)
    await upstream.open()
    return upstream


@contextlib.asynccontextmanager
async def both(
    config: Config | None = None, listener: WireListener | None = None
) -> AsyncIterator[tuple[Proxy, H2Peer, WireListener]]:
    """Run a proxy with a client of HTTP/2 and a listening upstream."""
    listening = listener or WireListener()
    async with Proxy(config or local_config()) as proxy:
        with await H2Peer.to(proxy.addresses[0].port) as client:
            yield proxy, client, listening
    listening.close()


async def text_client(proxy: Proxy) -> Reader:
    return Reader(await Wire.to("127.0.0.1", proxy.addresses[0].port))


async def test_grpc_goes_to_its_upstream_in_http2_with_trailers_both_ways() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port, ("grpc-timeout", "1S")), False)
        upstream = await accept(listener)
        request = await upstream.request()
        assert request.fields == {
            ":method": "POST", ":scheme": "http", ":path": "/pkg.Service/Method",
            ":authority": "a", "content-type": "application/grpc", "te": "trailers",
            "grpc-timeout": "1S",
        }  # fmt: skip
        await client.send(stream, b"question")
        client.h2.send_headers(stream, [("x-end", "1")], end_stream=True)
        await client.flush()
        while not request.is_complete:
            await upstream.step()
        assert (request.body, request.trailers) == (b"question", {"x-end": "1"})
        await upstream.respond(request, GRPC_OK, b"answer", [("grpc-status", "0")])
        response = await client.complete(stream)
        assert response.heads == [{":status": "200", "content-type": "application/grpc"}]
        assert (response.body, response.trailers) == (b"answer", {"grpc-status": "0"})
        upstream.wire.close()


async def test_a_response_of_trailers_alone_stays_one() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port))
        upstream = await accept(listener)
        await upstream.respond(
            await upstream.whole_request(), [*GRPC_OK, ("grpc-status", "5"), ("grpc-message", "no")]
        )
        response = await client.complete(stream)
        assert response.status == "200"
        assert response.heads[0]["grpc-status"] == "5"
        assert (response.body, response.trailers) == (b"", {})
        upstream.wire.close()


@pytest.mark.parametrize(
    ("media_type", "is_http2"),
    [
        ("application/grpc", True), ("application/grpc+proto", True),
        ("application/grpc;a=b", True),
        ("application/grpc-web", False), ("application/grpc-web+proto", False),
        ("application/grpcx", False), ("application/json", False),
    ],
)  # fmt: skip
async def test_only_grpc_is_detected(media_type: str, is_http2: bool) -> None:
    async with both() as (_proxy, client, listener):
        await client.ask(fields(listener.port, "POST", "/", ("content-type", media_type)))
        wire = await soon(listener.accept())
        received = await soon(wire.receive())
        assert received.startswith(b"PRI * HTTP/2.0" if is_http2 else b"POST / HTTP/1.1")
        wire.close()


async def test_grpc_of_a_client_of_http1_stays_http1() -> None:
    async with origin(responding(echo)) as upstream, Proxy(local_config()) as proxy:
        client = await text_client(proxy)
        with client.wire:
            await client.wire.send(request(upstream.port, b"Content-Type: application/grpc\r\n"))
            assert (await soon(client.response())).status == 200


async def test_a_field_or_a_port_asks_for_http2_for_clients_of_http1_too() -> None:
    listener = WireListener()
    config = local_config(upstreams=Upstreams(h2c_ports=[str(listener.port)]))
    for more, settings in ((H2C, local_config()), (b"", config)):
        async with Proxy(settings) as proxy:
            client = await text_client(proxy)
            with client.wire:
                body = b"POST /a?b HTTP/1.1"
                chunked = b"Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n"
                await client.wire.send(
                    request(listener.port, more + chunked, body)
                    + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
                )
                upstream = await accept(listener)
                received = await upstream.whole_request()
                assert received.fields == {
                    ":method": "POST", ":scheme": "http", ":path": "/a?b",
                    ":authority": "app.example", "te": "trailers",
                }  # fmt: skip
                assert (received.body, received.trailers) == (b"hello", {"x-sum": "1"})
                upstream.h2.send_headers(received.stream, [(":status", "103"), ("link", "</a>")])
                await upstream.respond(received, OK, b"hi", [("x-end", "2")])
                data = await soon(client.head())
                assert data is not None
                assert (data.status, data.field("link")) == (103, "</a>")
                data = await soon(client.head())
                assert data is not None
                assert data.field("transfer-encoding") == "chunked"
                await client.body(data)
                assert data.body == b"hi"
            upstream.wire.close()
    listener.close()


async def test_requests_of_both_kinds_take_turns_on_one_connection() -> None:
    listener = WireListener()
    async with Proxy(local_config()) as proxy, origin(responding(echo)) as other:
        client = await text_client(proxy)
        with client.wire:
            upstream: H2Origin | None = None
            for _ in range(2):
                await client.wire.send(request(listener.port))
                upstream = upstream or await accept(listener)
                await upstream.respond(await upstream.whole_request(), OK)
                assert (await soon(client.response())).status == 200
                await client.wire.send(request(other.port, b""))
                assert (await soon(client.response())).status == 200
            assert upstream is not None
            upstream.wire.close()
    listener.close()


@pytest.mark.parametrize("value", [b"h2", b"", b"H2C", b"http/1.1"])
async def test_another_protocol_is_a_bad_request(value: bytes) -> None:
    async with Proxy(local_config()) as proxy:
        client = await text_client(proxy)
        with client.wire:
            await client.wire.send(request(1, b"X-Cmux-Protocol: %b\r\n" % value))
            response = await soon(client.response())
            assert response.status == 400
            assert b"X-Cmux-Protocol" in response.body


@pytest.mark.parametrize(
    ("line", "head", "expected"),
    [
        (b"HEAD / HTTP/1.1", [(":status", "200"), ("content-length", "7")], "7"),
        (b"GET / HTTP/1.1", [(":status", "204")], None),
        (b"GET / HTTP/1.1", [(":status", "304"), ("content-length", "7")], "7"),
        (b"GET / HTTP/1.1", [(":status", "200")], "0"),
    ],
    ids=["HEAD", "204", "304", "empty"],
)
async def test_responses_without_a_body_have_none(
    line: bytes, head: Any, expected: str | None
) -> None:
    listener = WireListener()
    async with Proxy(local_config()) as proxy:
        client = await text_client(proxy)
        with client.wire:
            await client.wire.send(request(listener.port, line=line))
            upstream = await accept(listener)
            for _ in range(2):
                # The connection stays usable.
                await upstream.respond(await upstream.whole_request(), head)
                response = await soon(client.response("HEAD"))
                assert response.field("content-length") == expected
                await client.wire.send(request(listener.port, line=line))
            upstream.wire.close()
    listener.close()


def count_upstreams(proxy: Proxy) -> tuple[int, int]:
    """Return how many connections to upstreams there are, and how many of them are idle."""
    stats = proxy.stats()
    return stats.upstreams, stats.idle_upstreams


async def test_requests_share_one_connection() -> None:
    observability = Observability(admin="127.0.0.1:1", access_log="off")
    async with both(local_config(observability=observability)) as (proxy, client, listener):
        streams = [await client.ask(call(listener.port)) for _ in range(50)]
        upstream = await accept(listener)
        requests = [await upstream.whole_request() for _ in streams]
        assert count_upstreams(proxy) == (1, 0)
        for received in requests:
            await upstream.respond(received, GRPC_OK, b"x" * 100, [("grpc-status", "0")])
        for stream in streams:
            assert (await client.complete(stream)).body == b"x" * 100
        assert count_upstreams(proxy) == (1, 1)
        upstream.wire.close()
        with pytest.raises(BlockingIOError):
            listener.sock.accept()


async def test_the_limit_of_streams_is_kept_and_others_get_another_connection() -> None:
    async with both() as (_proxy, client, listener):
        first = await client.ask(call(listener.port))
        upstream = await accept(listener, 1)
        received = await upstream.whole_request()
        second = await client.ask(call(listener.port))
        other = await accept(listener, 1)
        await other.respond(await other.whole_request(), GRPC_OK, b"2")
        assert (await client.complete(second)).body == b"2"
        await upstream.respond(received, GRPC_OK, b"1")
        assert (await client.complete(first)).body == b"1"
        upstream.wire.close()
        other.wire.close()


async def test_requests_wait_for_a_stream_if_there_may_be_no_other_connection() -> None:
    config = local_config(limits=Limits(upstream_connections=1))
    async with both(config) as (_proxy, client, listener):
        first = await client.ask(call(listener.port))
        upstream = await accept(listener, 1)
        received = await upstream.whole_request()
        second = await client.ask(call(listener.port))
        # The same limit as without HTTP/2 counts streams.
        assert (await client.complete(second)).status == "503"
        await upstream.respond(received, GRPC_OK, b"1")
        assert (await client.complete(first)).body == b"1"
        third = await client.ask(call(listener.port))
        await upstream.respond(await upstream.whole_request(), GRPC_OK, b"3")
        assert (await client.complete(third)).body == b"3"
        upstream.wire.close()


# Ends


async def test_a_reset_of_the_client_reaches_the_upstream_and_spares_the_others() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port), False)
        other = await client.ask(call(listener.port))
        upstream = await accept(listener)
        received = await upstream.request()
        kept = await upstream.request()
        await client.reset(stream)
        assert await upstream.until_reset(received) == CANCEL
        await upstream.respond(kept, GRPC_OK, b"kept")
        assert (await client.complete(other)).body == b"kept"
        upstream.wire.close()


async def test_a_lone_stream_that_is_reset_leaves_the_connection() -> None:
    async with both() as (_proxy, client, listener):
        upstream: H2Origin | None = None
        for _ in range(3):
            stream = await client.ask(call(listener.port), False)
            upstream = upstream or await accept(listener)
            received = await upstream.request()
            await client.reset(stream)
            await upstream.until_reset(received)
        assert upstream is not None
        upstream.wire.close()


async def test_frames_that_come_late_for_a_stream_that_was_reset_are_ignored() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port))
        other = await client.ask(call(listener.port))
        upstream = await accept(listener)
        received = await upstream.whole_request()
        kept = await upstream.whole_request()
        await client.reset(stream)
        # The reset is on its way, and the upstream has not read it.
        await upstream.respond(received, GRPC_OK, b"late" * 1000, [("grpc-status", "0")])
        await upstream.respond(kept, GRPC_OK, b"kept")
        assert (await client.complete(other)).body == b"kept"
        upstream.wire.close()


async def test_a_field_of_the_client_is_as_good_as_the_media_type() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port, ("x-cmux-protocol", "h2c")))
        upstream = await accept(listener)
        await upstream.respond(await upstream.whole_request(), GRPC_OK, b"1")
        assert (await client.complete(stream)).body == b"1"
        upstream.wire.close()


async def test_an_upstream_that_closes_before_its_settings_is_a_502() -> None:
    listener = WireListener()
    async with Proxy(local_config()) as proxy:
        failing = aside(failure(proxy, request(listener.port)))
        wire = await soon(listener.accept())
        await soon(wire.receive())
        wire.close()
        assert await soon(failing) == (
            502, "connection_terminated",
            f"127.0.0.1:{listener.port} closed the connection before it answered in HTTP/2; does "
            "it speak that?",
        )  # fmt: skip
    listener.close()


async def test_settings_that_do_not_come_count_within_the_connect_timeout() -> None:
    listener = WireListener()
    async with Proxy(local_config(timeouts=Timeouts(connect=0.05))) as proxy:
        failing = aside(failure(proxy, request(listener.port)))
        wire = await soon(listener.accept())
        status, error, _text = await soon(failing)
        assert (status, error) == (504, "connection_timeout")
        with contextlib.suppress(ConnectionResetError):
            await soon(wire.receive_all())
        wire.close()
    listener.close()


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_reset_of_the_upstream_is_what_a_lost_connection_is(has_begun: bool) -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port))
        upstream = await accept(listener)
        received = await upstream.whole_request()
        if has_begun:
            upstream.h2.send_headers(received.stream, GRPC_OK)
            upstream.h2.send_data(received.stream, b"part")
        upstream.h2.reset_stream(received.stream, INTERNAL)
        await upstream.flush()
        response = await client.complete(stream)
        if has_begun:
            assert (response.body, response.reset) == (b"part", INTERNAL)
        else:
            assert response.status == "502"
        upstream.wire.close()


async def test_the_end_of_the_connection_ends_all_its_streams() -> None:
    async with both() as (_proxy, client, listener):
        streams = [await client.ask(call(listener.port)) for _ in range(3)]
        upstream = await accept(listener)
        requests = [await upstream.whole_request() for _ in streams]
        upstream.h2.send_headers(requests[0].stream, GRPC_OK)
        await upstream.flush()
        await client.head(streams[0])
        upstream.wire.close()
        assert (await client.complete(streams[0])).reset == INTERNAL
        for stream in streams[1:]:
            assert (await client.complete(stream)).status == "502"


async def test_an_early_response_lets_the_client_stop() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port), False)
        upstream = await accept(listener)
        received = await upstream.request()
        await upstream.respond(received, [*GRPC_OK, ("grpc-status", "7")])
        upstream.h2.reset_stream(received.stream, 0)
        await upstream.flush()
        response = await client.complete(stream)
        assert response.heads[0]["grpc-status"] == "7"
        upstream.wire.close()


async def test_a_refused_stream_is_sent_again_once() -> None:
    async with both() as (_proxy, client, listener):
        upstream: H2Origin | None = None
        for refusals in (1, 2):
            stream = await client.ask(call(listener.port))
            upstream = upstream or await accept(listener)
            for _ in range(refusals):
                received = await upstream.whole_request()
                upstream.h2.reset_stream(received.stream, REFUSED)
                await upstream.flush()
            if refusals == 1:
                await upstream.respond(await upstream.whole_request(), GRPC_OK, b"again")
                assert (await client.complete(stream)).body == b"again"
        assert (await client.complete(stream)).status == "502"
        assert upstream is not None
        upstream.wire.close()


async def test_a_goaway_lets_processed_streams_finish_and_sends_the_others_elsewhere() -> None:
    async with both() as (_proxy, client, listener):
        first = await client.ask(call(listener.port))
        upstream = await accept(listener)
        processed = await upstream.whole_request()
        second = await client.ask(call(listener.port))
        await upstream.whole_request()
        upstream.h2.close_connection(0, None, processed.stream)
        # The library sends nothing more itself.
        await upstream.flush()
        other = await accept(listener)
        await other.respond(await other.whole_request(), GRPC_OK, b"elsewhere")
        assert (await client.complete(second)).body == b"elsewhere"
        headers = b"\x88"
        frames = b"\0\0\1\1\4" + processed.stream.to_bytes(4, "big") + headers
        frames += b"\0\0\2\0\1" + processed.stream.to_bytes(4, "big") + b"ok"
        await upstream.wire.send(frames)
        assert (await client.complete(first)).body == b"ok"
        # The connection ends behind it, and new requests use the other.
        while await soon(upstream.wire.receive()):
            pass
        third = await client.ask(call(listener.port))
        await other.respond(await other.whole_request(), GRPC_OK, b"3")
        assert (await client.complete(third)).body == b"3"
        upstream.wire.close()
        other.wire.close()


async def test_an_idle_connection_that_gets_a_goaway_is_closed() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port))
        upstream = await accept(listener)
        await upstream.respond(await upstream.whole_request(), GRPC_OK, b"1")
        await client.complete(stream)
        upstream.h2.close_connection()
        await upstream.flush()
        while await soon(upstream.wire.receive()):
            pass
        stream = await client.ask(call(listener.port))
        other = await accept(listener)
        await other.respond(await other.whole_request(), GRPC_OK, b"2")
        assert (await client.complete(stream)).body == b"2"
        upstream.wire.close()
        other.wire.close()


# Flow control


async def test_an_upstream_that_does_not_read_pauses_the_client() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port), False)
        upstream = await accept(listener)
        received = await upstream.request()
        upstream.reads = False
        sent = 0
        while (room := client.h2.local_flow_control_window(stream)) > 0:
            size = min(room, 16_384)
            await client.send(stream, b"x" * size)
            sent += size
            while sent > len(received.body) and len(received.body) < 65_535:
                await upstream.step()
            await asyncio.sleep(0)
            while data := client.wire.take_arrived():
                client.h2.receive_data(data)
        # Both windows, of 64 KiB, are full, and what is between them is little.
        assert 65_535 < sent <= 4 * 65_536
        upstream.reads = True
        upstream.h2.acknowledge_received_data(len(received.body), received.stream)
        await upstream.flush()
        reading = aside(upstream.serve())
        while len(received.body) < sent:  # noqa: ASYNC110
            await asyncio.sleep(0)
        reading.cancel()
        assert received.body == b"x" * sent
        upstream.wire.close()


async def test_a_client_that_does_not_read_pauses_the_upstream_and_no_other_stream() -> None:
    async with both() as (_proxy, client, listener):
        client.reads = False
        stream = await client.ask(call(listener.port))
        upstream = await accept(listener)
        received = await upstream.whole_request()
        upstream.h2.send_headers(received.stream, GRPC_OK)
        sent = 0
        while (room := upstream.h2.local_flow_control_window(received.stream)) > 0:
            size = min(room, 16_384)
            upstream.h2.send_data(received.stream, b"y" * size)
            await upstream.flush()
            sent += size
            while data := upstream.wire.take_arrived():
                upstream.take(data)
            while data := client.wire.take_arrived():
                client._take(data)
            await asyncio.sleep(0)
        assert 65_535 <= sent <= 4 * 65_536
        other = await client.ask(call(listener.port))
        await upstream.respond(await upstream.whole_request(), GRPC_OK, b"free")
        while not client.responses[other].heads:
            await client.step()
        client.reads = True
        client.h2.acknowledge_received_data(len(client.responses[stream].body), stream)
        await client.flush()
        await client.body(stream, sent)
        upstream.wire.close()


# TLS, and upstreams that speak something else


async def test_http2_over_tls_is_chosen_by_alpn() -> None:
    listener = TlsListener(protocols=("http/1.1", "h2"))
    async with both(None, listener) as (_proxy, client, _listener):
        stream = await client.ask(call(listener.port, ("x-cmux-scheme", "https")))
        upstream = H2Origin(await soon(listener.accept()))
        serving_task = aside(answer_all(upstream))
        response = await client.complete(stream)
        assert response.body == b"over TLS"
        assert next(iter(upstream.requests.values())).fields[":scheme"] == "https"
        upstream.wire.close()
        serving_task.cancel()


async def answer_all(upstream: H2Origin) -> None:
    data = await upstream.wire.receive()
    await upstream.open()
    upstream.take(data)
    await upstream.flush()
    await upstream.respond(await upstream.whole_request(), GRPC_OK, b"over TLS")


def error_of(message: Message) -> tuple[int, str, str]:
    status = (message.field("proxy-status") or "").partition("error=")[2].partition(";")[0]
    return message.status, status, message.body.decode().strip()


async def failure(proxy: Proxy, data: bytes) -> tuple[int, str, str]:
    client = await text_client(proxy)
    with client.wire:
        await client.wire.send(data)
        return error_of(await soon(client.response()))


async def test_an_upstream_with_tls_that_offers_no_http2_is_a_502() -> None:
    async with (
        serving(responding(echo), TlsListener(protocols=("http/1.1",))) as upstream,
        serving(responding(echo), TlsListener()) as silent,
        Proxy(local_config()) as proxy,
    ):
        for one in (upstream, silent):
            status, error, _text = await failure(
                proxy, request(one.port, H2C + b"X-Cmux-Scheme: https\r\n")
            )
            assert status == 502
            assert error in ("tls_protocol_error", "tls_alert_received")


async def test_an_upstream_that_speaks_http1_is_told_so() -> None:
    async with (
        origin(responding(lambda _request: http_response(b""))) as upstream,
        Proxy(local_config()) as proxy,
    ):
        result = await failure(proxy, request(upstream.port))
        assert result == (
            502, "http_protocol_error",
            f"127.0.0.1:{upstream.port} did not answer in valid HTTP/2: it speaks HTTP/1",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "rule"),
    [
        (b"\0\0\1\0\0\0\0\0\5x", "DATA is on a stream that was not opened"),
        (b"\0\0\5\5\4\0\0\0\1\0\0\0\2\x82", "PUSH_PROMISE is not allowed here"),
    ],
    ids=["data", "push"],
)
async def test_an_upstream_that_breaks_a_rule_ends_its_connection(frame: bytes, rule: str) -> None:
    listener = WireListener()
    async with Proxy(local_config()) as proxy:
        failing = aside(failure(proxy, request(listener.port)))
        wire = await soon(listener.accept())
        await soon(wire.receive())
        await wire.send(b"\0\0\0\4\0\0\0\0\0" + frame)
        status, error, text = await soon(failing)
        assert (status, error) == (502, "http_protocol_error")
        assert text.endswith(rule)
        received = await soon(wire.receive_all())
        # A GOAWAY.
        assert b"\7\0\0\0\0\0" in received
        wire.close()
    listener.close()


async def test_a_malformed_response_ends_its_stream() -> None:
    async with both() as (_proxy, client, listener):
        stream = await client.ask(call(listener.port))
        upstream = await accept(listener)
        received = await upstream.whole_request()
        # A head without a status.
        block = b"\0\1a\1b"
        await upstream.wire.send(
            len(block).to_bytes(3, "big") + b"\1\5" + received.stream.to_bytes(4, "big") + block
        )
        assert (await client.complete(stream)).status == "502"
        await upstream.until_reset(received)
        upstream.wire.close()


async def test_an_upgrade_and_a_connect_stay_http1() -> None:
    listener = WireListener()
    config = local_config(upstreams=Upstreams(h2c_ports=[str(listener.port)]))
    async with Proxy(config) as proxy:
        upgrade = b"Connection: upgrade\r\nUpgrade: chat\r\n"
        for line in (b"GET / HTTP/1.1", b"CONNECT a:1 HTTP/1.1"):
            client = await text_client(proxy)
            more = b"" if line.startswith(b"CONNECT") else upgrade
            await client.wire.send(request(listener.port, H2C + more, line))
            wire = await soon(listener.accept())
            if more:
                assert (await soon(wire.receive())).startswith(b"GET / HTTP/1.1")
            else:
                await soon(client.wire.receive())
                await client.wire.send(b"raw")
                assert await soon(wire.receive()) == b"raw"
            client.wire.close()
            wire.close()
    listener.close()


async def test_a_stream_may_be_silent_for_longer_than_a_body() -> None:
    config = local_config(timeouts=Timeouts(body=0.05))
    async with both(config) as (proxy, client, listener):
        stream = await client.ask(call(listener.port), False)
        upstream = await accept(listener)
        received = await upstream.request()
        now = proxy.services.ticker.now
        while proxy.services.ticker.now < now + 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await client.send(stream, b"late", True)
        while not received.is_complete:
            await upstream.step()
        await upstream.respond(received, GRPC_OK, b"ok")
        assert (await client.complete(stream)).body == b"ok"
        upstream.wire.close()


async def test_a_connection_ends_with_its_last_slot() -> None:
    config = local_config(timeouts=Timeouts(upstream_idle=0.05))
    async with both(config) as (proxy, client, listener):
        stream = await client.ask(call(listener.port))
        upstream = await accept(listener)
        await upstream.respond(await upstream.whole_request(), GRPC_OK, b"1")
        await client.complete(stream)
        await upstream.until_end()
        assert upstream.goaways == [0]
        pool = proxy.services.pool
        assert len(pool) == 0
        while pool.target_pool(Target("127.0.0.1", listener.port, "h2c")).shared:  # noqa: ASYNC110
            await asyncio.sleep(0)
        upstream.wire.close()


async def test_without_keep_alive_each_request_has_its_connection() -> None:
    config = local_config(timeouts=Timeouts(upstream_idle=0))
    async with both(config) as (_proxy, client, listener):
        for _ in range(2):
            stream = await client.ask(call(listener.port))
            upstream = await accept(listener)
            await upstream.respond(await upstream.whole_request(), GRPC_OK, b"1")
            assert (await client.complete(stream)).body == b"1"
            await upstream.until_end()
            upstream.wire.close()

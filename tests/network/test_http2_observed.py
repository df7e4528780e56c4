"""What is logged, counted and listed of HTTP/2 clients."""

import contextlib

import pytest
from h2.settings import SettingCodes
from prometheus_client.exposition import generate_latest

from cmux_proxy.admin.json_views import connections
from cmux_proxy.admin.metrics import registry_of
from cmux_proxy.admin.overview import overview
from cmux_proxy.admin.reachability import Reachability
from cmux_proxy.http2.error_codes import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
)
from cmux_proxy.observe.outcome import Outcome
from tests.admin.test_schema import check
from tests.helpers.h2_peer import H2Peer, fields, settle
from tests.helpers.h2_stage import OK, ObservedStage, observed_stage
from tests.helpers.http2_frames import frame
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.websockets import switching
from tests.helpers.wire import Wire, WireListener
from tests.network.test_admin import administered, get, metric

DATA, HEADERS, PING = 0, 1, 6


def metrics(on: ObservedStage) -> dict[str, float]:
    """Return the value of each metric, by its name with its labels."""
    text = generate_latest(registry_of(on.stats(), None)).decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("cmux_proxy_"): float(value) for name, value in lines}


async def respond(upstream: Wire, response: bytes) -> None:
    assert await soon(upstream.receive())
    await upstream.send(response)


async def open_websocket(on: ObservedStage) -> tuple[int, Wire]:
    """Open a WebSocket; return its stream and its upstream's connection."""
    await on.client.step()
    stream = await on.client.ask(on.websocket(), False)
    upstream = await on.accept()
    await upstream.send(switching(await soon(upstream.receive())))
    assert (await on.client.head(stream))[":status"] == "200"
    return stream, upstream


async def test_an_exchange_is_recorded_with_its_protocol() -> None:
    async with observed_stage() as on:
        stream, upstream = await on.ask(path="/a?secret")
        with upstream:
            await upstream.send(OK)
            await on.client.complete(stream)
    [record] = on.records
    assert (record.protocol, record.kind, record.method) == ("HTTP/2.0", "request", "GET")
    assert (record.path, record.status, record.port) == ("/a", 200, on.port)
    assert record.sent == len(OK)


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("GET", head("HTTP/1.1 204 No Content")),
        ("GET", head("HTTP/1.1 304 Not Modified", 'ETag: "a"')),
        ("GET", head("HTTP/1.1 200 OK", "Content-Length: 0")),
        ("HEAD", head("HTTP/1.1 204 No Content")),
        ("GET", OK),
    ],
)
async def test_a_response_is_complete_with_and_without_a_body(method: str, response: bytes) -> None:
    async with observed_stage() as on:
        stream = await on.client.ask(fields(on.port, method))
        with await on.accept() as upstream:
            await respond(upstream, response)
            await on.client.complete(stream)
            # The connection to the upstream is used again.
            stream = await on.client.ask(fields(on.port, method))
            await respond(upstream, response)
            await on.client.complete(stream)
        status = int(response.split(b" ")[1])
        assert [each.status for each in on.records] == [status, status]
        assert on.stats().outcomes["complete"] == 2
        assert on.stats().http2_streams == 0


async def test_a_refusal_without_a_body_is_counted_once() -> None:
    async with observed_stage() as on:
        stream = await on.client.ask(fields(0, "HEAD"))
        assert (await on.client.complete(stream)).status == "400"
        await settle(on.client)
        assert sum(on.stats().outcomes.values()) == 1
    assert len(on.records) == 1


async def test_a_websocket_and_a_tunnel_keep_their_kinds() -> None:
    async with observed_stage() as on:
        _, upstream = await open_websocket(on)
        connect = [(":method", "CONNECT"), (":authority", "a:1")]
        port = ("x-cmux-port-internal", str(on.port))
        await on.client.ask([*connect, port], False)
        with upstream, await on.accept():
            stats = on.stats()
            assert stats.tunnels == {"upgrade": 1, "connect": 1}
            assert (stats.clients, stats.http2_connections, stats.http2_streams) == (1, 1, 2)
    assert {(record.protocol, record.kind, record.status) for record in on.records} == {
        ("HTTP/2.0", "upgrade", 101), ("HTTP/2.0", "connect", 200),
    }  # fmt: skip


async def test_streams_under_way_are_counted_and_listed_with_their_connection() -> None:
    async with observed_stage() as on:
        await on.client.step()
        first, one = await on.ask(path="/a")
        second, two = await on.ask(path="/b")
        with one, two, await on.connect() as other:
            await other.step()
            values = metrics(on)
            assert values["requests_in_flight"] == 2
            assert values['connections{side="client"}'] == 2
            assert values['connections{side="upstream"}'] == 2
            assert values["http2_connections"] == 2
            assert values["http2_streams"] == 2
            view = connections(on.stats())
            check("connections", view)
            [opened] = [each for each in view["connections"] if each["state"] == "open"]
            [idle] = [each for each in view["connections"] if each["state"] == "idle"]
            requests = [each for each in view["connections"] if each["state"] == "request"]
            assert (opened["streams"], idle["streams"]) == (2, 0)
            assert opened["connection"] != idle["connection"]
            assert {each["connection"] for each in requests} == {opened["connection"]}
            listed = {each["stream"]: each["path"] for each in requests}
            assert listed == {first: "/a", second: "/b"}
            assert {each["port"] for each in requests} == {on.port}
            assert all(each["bytes_in"] > 0 and each["seconds"] >= 0 for each in requests)
        await settle(on.client)
        values = metrics(on)
        assert (values["requests_in_flight"], values["http2_streams"]) == (0, 0)
        assert values["http2_connections"] == 1


async def test_no_more_entries_are_listed_than_asked_for() -> None:
    async with observed_stage() as on:
        asked = [await on.ask() for _ in range(3)]
        listed = on.stats(max_connections=2).connections
        assert [each["state"] for each in listed] == ["open", "request"]
        for _, upstream in asked:
            upstream.close()


async def test_a_websocket_is_listed_with_its_bytes_and_on_the_dashboard() -> None:
    async with observed_stage() as on:
        stream, upstream = await open_websocket(on)
        with upstream:
            await on.client.send(stream, b"12345")
            assert await soon(upstream.receive()) == b"12345"
            view = connections(on.stats())
            check("connections", view)
            [tunnel] = [each for each in view["connections"] if each["state"] == "tunnel"]
            [opened] = [each for each in view["connections"] if each["state"] == "open"]
            assert (tunnel["stream"], tunnel["kind"]) == (stream, "upgrade")
            assert (tunnel["connection"], opened["streams"]) == (opened["connection"], 1)
            assert (tunnel["port"], tunnel["protocol"]) == (on.port, "HTTP/2.0")
            assert tunnel["bytes_in"] >= 5
            shown = overview(on.stats(), [], Reachability([], None, []))
            assert (shown["clients"], shown["tunnels"]) == (1, 1)
            [row] = shown["open_tunnels"]
            assert row["port"] == on.port


async def test_a_malformed_request_is_logged_and_counted_as_one_of_http_1_is() -> None:
    async with observed_stage() as on:
        on.client.h2.config.validate_outbound_headers = False
        on.client.h2.config.normalize_outbound_headers = False
        stream = await on.client.ask([*fields(on.port), ("connection", "close")])
        assert (await on.client.complete(stream)).reset == PROTOCOL_ERROR
        bad = await on.client.ask(fields(on.port, "GET", "/", ("host", "b")))
        assert (await on.client.complete(bad)).status == "400"
        assert metrics(on)['rejected_total{reason="request"}'] == 2
    assert {(each.status, each.error, each.protocol) for each in on.records} == {
        (400, "http_request_error", "HTTP/2.0"),
    }  # fmt: skip
    assert len(on.records) == 2


async def test_a_body_that_breaks_a_rule_is_a_bad_request() -> None:
    async with observed_stage() as on:
        request = fields(on.port, "POST", "/a", ("content-length", "5"))
        stream = await on.client.ask(request, False)
        with await on.accept() as upstream:
            await soon(upstream.receive())
            await on.client.wire.send(frame(DATA, 1, stream, b"1234"))
            assert (await on.client.complete(stream)).reset == PROTOCOL_ERROR
            while await soon(upstream.receive()):
                pass
    [record] = on.records
    assert (record.status, record.error) == (400, "http_request_error")
    assert (record.method, record.path) == ("POST", "/a")


async def test_a_stream_too_many_is_logged_and_counted_as_a_limit() -> None:
    async with observed_stage() as on:
        await on.client.step()
        settings = on.client.h2.remote_settings
        settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        settings.acknowledge()
        streams = [await on.client.ask(fields(on.port, "POST"), False) for _ in range(101)]
        assert (await on.client.complete(streams[-1])).reset == REFUSED_STREAM
        assert metrics(on)['rejected_total{reason="connections"}'] == 1
    assert [each.status for each in on.records if each.error == "connection_limit_reached"] == [503]


async def test_a_reset_of_the_client_is_recorded_as_a_client_that_is_gone() -> None:
    async with observed_stage() as on:
        stream, upstream = await on.ask()
        with upstream:
            await on.client.reset(stream)
            assert await soon(upstream.receive()) == b""
        [record] = on.records
        assert (record.outcome, record.status) == (Outcome.CLIENT_GONE, 499)
        assert metrics(on)['requests_total{code="499",kind="request",method="GET"}'] == 1


async def test_a_connection_that_breaks_a_rule_is_logged_and_its_goaway_counted() -> None:
    async with observed_stage() as on:
        await on.client.wire.send(frame(DATA, 0, 0, b"x"))
        with contextlib.suppress(AssertionError):
            while not on.client.goaways:
                await on.client.step()
        await on.client.until_end()
        values = metrics(on)
        assert values['http2_goaways_total{code="PROTOCOL_ERROR"}'] == 1
        assert values['rejected_total{reason="request"}'] == 1
        assert values["http2_connections"] == 0
    [record] = on.records
    assert (record.status, record.error, record.protocol) == (400, "http_request_error", "HTTP/2.0")


async def test_goaways_are_counted_once_for_a_connection_and_by_code() -> None:
    async with observed_stage() as on:
        floods = b"".join(frame(PING, 0, 0, b"12345678") for _ in range(2000))
        with await on.connect() as flooding:
            await flooding.wire.send(floods)
            await flooding.until_end()
        with await on.connect() as updating:
            await updating.wire.send(frame(8, 0, 0, (2**31 - 1).to_bytes(4, "big")))
            await updating.until_end()
        await on.proxy.drain(5)
        counted = on.stats().traffic.goaways
        assert counted == {"ENHANCE_YOUR_CALM": 1, "FLOW_CONTROL_ERROR": 1, "NO_ERROR": 1}
        assert {ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, NO_ERROR} == {11, 3, 0}


async def test_a_stream_that_the_proxy_resets_leaves_nothing_behind() -> None:
    async with observed_stage() as on:
        for _ in range(3):
            stream, upstream = await on.ask()
            upstream.close()
            await on.client.complete(stream)
            broken, upstream = await on.ask()
            await upstream.send(OK[:-1])
            upstream.close()
            assert (await on.client.complete(broken)).reset is not None
        await settle(on.client)
        stats = on.stats()
        assert (stats.http2_streams, stats.http2_connections) == (0, 1)
        assert on.proxy.services.registry.budget.count == 0


@pytest.mark.hosting
@pytest.mark.parametrize("workers", [1, 3])
async def test_the_connections_of_all_workers_are_counted(loop_name: str, workers: int) -> None:
    async with administered(loop_name, workers) as (proxy, session):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(await H2Peer.to(proxy.port)) for _ in range(6)]
            listener = stack.enter_context(contextlib.closing(WireListener()))
            for client in clients:
                await client.ask(fields(listener.port))
                stack.enter_context(await soon(listener.accept()))
            assert await metric(session, "cmux_proxy_http2_connections") == 6
            assert await metric(session, "cmux_proxy_http2_streams") == 6
            listed = (await get(session, "/connections"))["connections"]
            check("connections", {"time": 1, "connections": listed})
            names = [each["connection"] for each in listed if each["state"] == "open"]
            assert len(set(names)) == 6
            assert sorted(each["connection"] for each in listed if each["state"] == "request") == (
                sorted(names)
            )
            for client in clients:
                await client.wire.send(frame(DATA, 0, 0, b"x"))
                await client.until_end()
            assert await metric(session, "cmux_proxy_http2_goaways") == 6
            assert await metric(session, "cmux_proxy_http2_connections") == 0
        await proxy.stop()

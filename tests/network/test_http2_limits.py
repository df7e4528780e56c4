"""The limits of HTTP/2 clients, at their values and one above: streams, windows, and addresses."""

from h2.settings import SettingCodes

from cmux_proxy import Limits, Timeouts
from cmux_proxy.http2.error_codes import FLOW_CONTROL_ERROR, REFUSED_STREAM
from cmux_proxy.relay.stream_budget import MAX_WAITING
from tests.helpers.h2_peer import H2Peer, fields, settle
from tests.helpers.h2_stage import OK, ObservedStage, observed_stage
from tests.helpers.http2_frames import frame
from tests.helpers.script import head
from tests.helpers.timing import MS, soon
from tests.helpers.wire import Wire

DATA = 0


def allow_streams(peer: H2Peer, count: int) -> None:
    """Let the client open that many streams, whatever the proxy has announced."""
    settings = peer.h2.remote_settings
    settings[SettingCodes.MAX_CONCURRENT_STREAMS] = count
    settings.acknowledge()


async def respond(upstream: Wire) -> None:
    await soon(upstream.receive())
    await upstream.send(OK)


async def test_the_settings_are_announced() -> None:
    limits = Limits(
        http2_streams=7, http2_stream_window=100_000, http2_connection_window=200_000
    )  # fmt: skip
    async with observed_stage(limits=limits) as on:
        await on.client.step()
        h2 = on.client.h2
        assert h2.remote_settings.max_concurrent_streams == 7
        assert h2.remote_settings.initial_window_size == 100_000
        assert h2.outbound_flow_control_window == 200_000


async def test_streams_beyond_the_limit_are_refused() -> None:
    async with observed_stage(limits=Limits(http2_streams=2)) as on:
        await on.client.step()
        allow_streams(on.client, 10)
        first, upstream = await on.ask()
        second, other = await on.ask()
        third = await on.client.ask(fields(on.port))
        assert (await on.client.complete(third)).reset == REFUSED_STREAM
        await upstream.send(OK)
        await on.client.complete(first)
        fourth = await on.client.ask(fields(on.port))
        with upstream, other:
            await respond(upstream)
            assert (await on.client.complete(fourth)).body == b"ok"
            await other.send(OK)
            assert (await on.client.complete(second)).body == b"ok"


async def wait_for_room(on: ObservedStage) -> tuple[H2Peer, int]:
    """Ask on another connection while there is no room; return it and its stream."""
    other = await on.connect()
    await other.step()
    on.proxy.services.registry.budget.max_exchanges = 1
    stream = await other.ask(fields(on.port, "POST", "/later"), False)
    await other.send(stream, b"body", True)
    await settle(other)
    assert on.proxy.services.registry.budget.is_waiting()
    return other, stream


async def test_a_stream_waits_for_room_and_keeps_its_body() -> None:
    async with observed_stage() as on:
        first, upstream = await on.ask()
        other, second = await wait_for_room(on)
        with other:
            # The first response makes room, and its connection is used no more.
            await upstream.send(head("HTTP/1.1 200 OK", "Connection: close") + b"ok")
            upstream.close()
            await on.client.complete(first)
            with await on.accept() as upstream:
                received = b""
                while not received.endswith(b"0\r\n\r\n"):
                    received += await soon(upstream.receive())
                assert received.startswith(b"POST /later HTTP/1.1\r\n")
                assert b"\r\n\r\n4\r\nbody\r\n" in received
                await upstream.send(OK)
                assert (await other.complete(second)).body == b"ok"
        assert on.proxy.services.registry.budget.count == 0


async def test_a_stream_has_its_window() -> None:
    limits = Limits(http2_stream_window=70_000)
    async with observed_stage(limits=limits) as on:
        _, upstream = await on.ask()
        other, _ = await wait_for_room(on)
        with upstream, other:
            # Nothing is taken while a stream waits.
            stream = await other.ask(fields(on.port, "POST"), False)
            await other.wire.send(frame(DATA, 0, stream, b"x" * 14_000) * 5)
            await settle(other)
            assert other.responses[stream].reset is None
            await other.wire.send(frame(DATA, 0, stream, b"x"))
            assert (await other.complete(stream)).reset == FLOW_CONTROL_ERROR


async def test_a_stream_that_has_waited_for_too_long_is_refused() -> None:
    async with observed_stage(timeouts=Timeouts(connect=50 * MS)) as on:
        _, upstream = await on.ask()
        other, second = await wait_for_room(on)
        with upstream, other:
            assert (await other.complete(second)).reset == REFUSED_STREAM
        assert not on.proxy.services.registry.budget.is_waiting()
        [record] = [each for each in on.records if each.error == "connection_limit_reached"]
        assert (record.status, record.method, record.path) == (503, "POST", "/later")


async def test_a_stream_is_refused_at_once_if_many_wait() -> None:
    async with observed_stage() as on:
        _, upstream = await on.ask()
        budget = on.proxy.services.registry.budget
        budget.max_exchanges = 1
        for number in range(MAX_WAITING):
            assert budget.wait(number, lambda: None)
        with upstream:
            stream = await on.client.ask(fields(on.port))
            assert (await on.client.complete(stream)).reset == REFUSED_STREAM
            for number in range(MAX_WAITING):
                budget.withdraw(number)


async def test_a_client_that_leaves_waits_no_longer() -> None:
    async with observed_stage() as on:
        _, upstream = await on.ask()
        other, second = await wait_for_room(on)
        with upstream, other:
            await other.reset(second)
            await settle(other)
            assert not on.proxy.services.registry.budget.is_waiting()
            assert on.stats().http2_streams == 1


async def test_max_clients_counts_connections_and_not_streams() -> None:
    async with observed_stage(limits=Limits(clients=2)) as on:
        asked = [await on.ask() for _ in range(5)]
        with await on.connect() as other:
            stream = await other.ask(fields(on.port))
            with await on.accept() as upstream:
                await respond(upstream)
                assert (await other.complete(stream)).body == b"ok"
        for _, upstream in asked:
            upstream.close()


async def test_an_address_may_have_a_hundred_requests_for_each_connection() -> None:
    limits = Limits(clients_per_address=1, http2_streams=200, upstream_connections=200)
    async with observed_stage(limits=limits) as on:
        await on.client.step()
        streams = [await on.client.ask(fields(on.port)) for _ in range(101)]
        response = await on.client.complete(streams[-1])
        assert response.status == "503"
        assert response.heads[-1]["retry-after"] == "1"
        assert response.heads[-1]["proxy-status"] == "cmux-proxy; error=connection_limit_reached"
        assert b"--max-clients-per-address" in response.body
        await on.client.reset(streams[0])
        again = await on.client.ask(fields(on.port))
        await settle(on.client)
        assert on.client.responses[again].heads == []
    assert on.proxy.services.admission is not None

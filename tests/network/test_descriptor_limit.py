"""When file descriptors run out, accepting pauses and resumes (contract, section 8)."""

import asyncio
import contextlib

import pytest

from tests.helpers.origins import OriginConnection, origin
from tests.helpers.proxies import ProxyProcess, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.tools import finish, tool
from tests.helpers.wire import Wire, WireListener

LIMIT = 64
# So many streams at least are served at once with such a limit.
MANY = 12
CLIENTS = 100
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


async def connect(proxy: ProxyProcess, count: int, stack: contextlib.ExitStack) -> list[Wire]:
    """Connect `count` clients at once."""
    wires = await later(asyncio.gather(*(Wire.to("127.0.0.1", proxy.port) for _ in range(count))))
    for wire in wires:
        stack.enter_context(wire)
    return wires


@pytest.mark.parametrize(("limit", "clients"), [(LIMIT, CLIENTS), (256, 400)])
async def test_more_clients_than_descriptors_are_served_in_sequence(
    loop_name: str, limit: int, clients: int
) -> None:
    async with proxy_process(loop_name, descriptor_limit=limit) as proxy:
        with contextlib.ExitStack() as stack:
            wires = await connect(proxy, clients, stack)
            await proxy.wait_until_asleep()
            for wire in wires:
                await wire.send(head("GET / HTTP/1.1", "Host: a", "Connection: close"))
            for wire in wires:
                assert (await later(wire.receive_all())).startswith(b"HTTP/1.1 400 ")
                wire.close()
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            await is_served(wire)
        await proxy.stop()


@pytest.mark.hosting
async def test_waiting_clients_are_served_when_others_disconnect(loop_name: str) -> None:
    async with proxy_process(loop_name, descriptor_limit=LIMIT) as proxy:
        with contextlib.ExitStack() as stack:
            wires = await connect(proxy, CLIENTS, stack)
            await is_served(wires[0])
            await proxy.wait_until_asleep()
            assert wires[-1].take_arrived() == b""
            for wire in wires[: -LIMIT // 4]:
                wire.close()
            for wire in wires[-LIMIT // 4 :]:
                await is_served(wire)
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            await is_served(wire)
        await proxy.stop()


async def test_more_streams_than_descriptors_are_served_in_sequence(loop_name: str) -> None:
    at_once: set[OriginConnection] = set()
    many = asyncio.Event()
    most = 0

    async def behave(connection: OriginConnection) -> None:
        nonlocal most
        at_once.add(connection)
        most = max(most, len(at_once))
        while await connection.request() is not None:
            # Nobody gets a response before so many wait for one.
            if len(at_once) >= MANY:
                many.set()
            await many.wait()
            await connection.send(OK)
        at_once.discard(connection)

    async with (
        origin(behave) as upstream,
        proxy_process(loop_name, descriptor_limit=LIMIT) as proxy,
    ):
        done = await finish(
            tool("h2load"), "-n", "600", "-c", "2", "-m", "100",
            "-H", f"X-Cmux-Port-Internal: {upstream.port}", f"http://127.0.0.1:{proxy.port}/",
        )  # fmt: skip
        await proxy.stop()
    assert b" 600 done, 600 succeeded, 0 failed, 0 errored" in done.out, done.out.decode()
    assert MANY <= most < LIMIT


async def test_idle_upstream_connections_may_have_most_descriptors(
    loop_name: str,
) -> None:
    async with proxy_process(loop_name, descriptor_limit=LIMIT) as proxy:
        with contextlib.ExitStack() as stack:
            listeners = [WireListener() for _ in range(LIMIT - 20)]
            for listener in listeners:
                stack.callback(listener.close)
            upstreams = []
            with await Wire.to("127.0.0.1", proxy.port) as client:
                for listener in listeners:
                    await client.send(
                        head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {listener.port}")
                    )
                    upstream = stack.enter_context(await soon(listener.accept()))
                    await soon(upstream.receive())
                    await upstream.send(OK)
                    assert await soon(client.receive()) == OK
                    upstreams.append(upstream)
            # The pool has most descriptors now, so not all clients get one.
            await connect(proxy, CLIENTS, stack)
            await proxy.wait_until_asleep()
            for upstream in upstreams:
                upstream.close()
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            await is_served(wire)
        proxy.signal()
        status, errors = await proxy.ended()
        assert status == 0
        assert "Traceback" not in errors


async def test_clients_and_upstreams_may_exhaust_the_descriptors(
    loop_name: str,
) -> None:
    async with proxy_process(loop_name, descriptor_limit=LIMIT) as proxy:
        listener = WireListener()
        responding = asyncio.get_running_loop().create_task(respond_to_all(listener))
        try:
            with contextlib.ExitStack() as stack:
                wires = await connect(proxy, CLIENTS, stack)
                route = f"X-Cmux-Port-Internal: {listener.port}"
                request = head("GET / HTTP/1.1", "Host: a", route, "Connection: close")
                for wire in wires:
                    await wire.send(request)
                for wire in wires:
                    response = await later(wire.receive_all())
                    assert response.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 ")), response
                    wire.close()
            with await Wire.to("127.0.0.1", proxy.port) as wire:
                await is_served(wire)
        finally:
            responding.cancel()
            await asyncio.gather(responding, return_exceptions=True)
            listener.close()
        proxy.signal()
        status, errors = await proxy.ended()
        assert status == 0
        assert "Traceback" not in errors


async def respond_to_all(listener: WireListener) -> None:
    """Respond to all requests on all connections, until cancelled."""
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(_respond(await listener.accept()))


async def _respond(wire: Wire) -> None:
    with wire:
        while await wire.receive():
            await wire.send(OK)

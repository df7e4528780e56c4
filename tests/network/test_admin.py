"""The admin listener of the command, with one worker and with several, and how they end."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from prometheus_client.parser import text_string_to_metric_families

from cmux_proxy import Address
from cmux_proxy._build import __version__, build_name
from tests.helpers.loops import descriptors, io_of
from tests.helpers.origins import http_response, origin, responding
from tests.helpers.proxies import ProxyProcess, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import SOON, later
from tests.helpers.tools import finish, tool
from tests.helpers.wire import Wire

GREETING = http_response(b"hello")


@contextlib.asynccontextmanager
async def administered(
    loop_name: str, workers: int, *flags: str, **options: Any
) -> AsyncIterator[tuple[ProxyProcess, ClientSession]]:
    """Run a proxy with an admin listener, and give a client of the listener."""
    admin_flags = ("--admin", "127.0.0.1:0", "--workers", str(workers))
    async with proxy_process(loop_name, *admin_flags, *flags, **options) as proxy:
        address = await admin_address(proxy)
        connector = TCPConnector(force_close=True)
        async with ClientSession(f"http://{address}", connector=connector) as session:
            yield proxy, session


async def admin_address(proxy: ProxyProcess) -> str:
    """Return the admin listener's address from the log line that names the kernel's port."""
    prefix, _, address = (await proxy.error_line()).rpartition(" ")
    assert prefix == "cmux-proxy: INFO: admin listener on"
    return address


async def get(session: ClientSession, path: str) -> Any:
    """Return the JSON of a path."""
    async with session.get(path) as response:
        assert response.status == 200
        return await response.json()


async def metric(session: ClientSession, name: str) -> float:
    """Return the value of a metric with one sample."""
    async with session.get("/metrics") as response:
        families = text_string_to_metric_families(await response.text())
        [[sample]] = [family.samples for family in families if family.name == name]
        return sample.value


async def ask(proxy: ProxyProcess, port: int, count: int) -> None:
    """Send `count` requests, each on a connection of its own."""
    for _ in range(count):
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            route = f"X-Cmux-Port-Internal: {port}"
            await wire.send(head("GET / HTTP/1.1", "Host: a", route, "Connection: close"))
            assert (await later(wire.receive_all())).endswith(b"hello")


@pytest.mark.hosting
@pytest.mark.parametrize("workers", [1, 3])
async def test_the_metrics_name_the_event_loop_and_its_io(loop_name: str, workers: int) -> None:
    async with (
        administered(loop_name, workers) as (_proxy, session),
        session.get("/metrics") as response,
    ):
        families = text_string_to_metric_families(await response.text())
        [sample] = [one for family in families for one in family.samples if "build" in one.name]
    assert sample.labels["loop"] == io_of(loop_name)
    assert (sample.labels["version"], sample.labels["build"]) == (__version__, build_name())


@pytest.mark.hosting
@pytest.mark.parametrize("workers", [1, 3])
async def test_it_has_the_statistics_of_all_workers(loop_name: str, workers: int) -> None:
    async with administered(loop_name, workers) as (proxy, session):
        async with origin(responding(lambda _request: GREETING)) as upstream:
            await ask(proxy, upstream.port, 20)
            activity = await get(session, "/activity")
            [port] = activity["ports"]
            assert (port["port"], port["total_requests"]) == (upstream.port, 20)
            assert await metric(session, "cmux_proxy_requests") == 20
            assert await metric(session, "cmux_proxy_workers") == workers
        await proxy.stop()


async def test_promtool_accepts_the_metrics() -> None:
    async with administered("auto", 1, "--metrics-per-port") as (proxy, session):
        async with origin(responding(lambda _request: GREETING)) as upstream:
            await ask(proxy, upstream.port, 1)
            async with session.get("/metrics") as metrics:
                text = await metrics.text()
        done = await finish(tool("promtool"), "check", "metrics", stdin=text.encode())
        assert (done.status, done.out, done.errors) == (0, b"", b"")
        await proxy.stop()


@pytest.mark.hosting
@pytest.mark.parametrize("workers", [1, 2])
async def test_it_serves_during_a_drain(loop_name: str, workers: int) -> None:
    async with administered(loop_name, workers, "--drain-timeout", "60s") as (proxy, session):
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            async with origin(responding(lambda _request: GREETING)) as upstream:
                route = f"X-Cmux-Port-Internal: {upstream.port}"
                await wire.send(head("CONNECT a:1 HTTP/1.1", "Host: a:1", route))
                await later(wire.receive())
                async with session.get("/readyz") as ready:
                    assert ready.status == 200
                proxy.signal()
                async with asyncio.timeout(SOON):
                    while True:
                        async with session.get("/readyz") as ready:
                            if ready.status == 503:
                                break
                async with session.get("/healthz") as health:
                    assert health.status == 200
        await proxy.drains()


async def test_a_worker_that_has_drained_delays_no_request(loop_name: str) -> None:
    # If another process kept the worker's end of its channel, each request would time out there.
    async with administered(loop_name, 2, "--drain-timeout", "60s") as (proxy, session):
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            async with origin(responding(lambda _request: GREETING)) as upstream:
                route = f"X-Cmux-Port-Internal: {upstream.port}"
                await wire.send(head("CONNECT a:1 HTTP/1.1", "Host: a:1", route))
                await later(wire.receive())
                *workers, admin = proxy.workers()
                inherited = {pid: sockets_of(pid) & sockets_of(proxy.pid) for pid in workers}
                proxy.signal()
                async with asyncio.timeout(SOON):
                    while len(left := proxy.workers()) != 2:
                        await metric(session, "cmux_proxy_workers")
                [gone] = set(workers) - set(left)
                assert inherited[gone]
                for pid in (proxy.pid, *left):
                    assert not inherited[gone] & sockets_of(pid)
                assert admin in left
                assert await metric(session, "cmux_proxy_workers") == 1
        await proxy.drains()


def sockets_of(pid: int) -> set[str]:
    """Return the sockets that a process has open, without its standard streams."""
    opened = descriptors(pid)
    streams = {opened[number] for number in ("0", "1", "2")}
    return {name for name in opened.values() if name.startswith("socket:")} - streams


@pytest.mark.parametrize("folder", ["empty", "much-too-long-for-the-path-of-a-socket-" * 3, "none"])
async def test_several_workers_need_no_temporary_folder(
    loop_name: str, folder: str, tmp_path: Path
) -> None:
    path = tmp_path / folder
    if folder != "none":
        path.mkdir()
    async with administered(loop_name, 2, variables={"TMPDIR": str(path)}) as (proxy, session):
        async with session.get("/healthz") as response:
            assert response.status == 200
        assert [names for _, *names in os.walk(path) if names != [[], []]] == []
        await proxy.stop()


async def test_several_workers_need_no_writable_file_system(loop_name: str) -> None:
    # Coverage writes a file for each process, and is not part of the package.
    within = ("sh", "-c", 'unset COVERAGE_PROCESS_CONFIG; ulimit -f 0; exec "$@"', "sh")
    async with administered(loop_name, 2, within=within) as (proxy, session):
        async with session.get("/healthz") as response:
            assert response.status == 200
        await proxy.stop()


@pytest.mark.parametrize("data", [b"", head("GET /events HTTP/1.1", "Host: localhost")[:-1]])
@pytest.mark.parametrize("workers", [1, 2])
async def test_clients_of_the_admin_listener_leave_the_proxy_its_descriptors(
    loop_name: str, workers: int, data: bytes
) -> None:
    async with (
        administered(loop_name, workers, descriptor_limit=256) as (proxy, session),
        origin(responding(lambda _request: GREETING)) as upstream,
    ):
        # aiohttp has no public attribute for it.
        address = Address.parse(str(session._base_url).removeprefix("http://").rstrip("/"))
        with contextlib.ExitStack() as stack:
            for _ in range(260):
                wire = stack.enter_context(await Wire.to(address.host, address.port))
                with contextlib.suppress(ConnectionError):
                    await wire.send(data)
            await ask(proxy, upstream.port, 20)
            assert await metric(session, "cmux_proxy_requests") == 20
            admin = proxy.pid if workers == 1 else proxy.workers()[-1]
            assert len(sockets_of(admin)) < 100
        await proxy.stop()


@pytest.mark.parametrize("limit", [256, 64])
async def test_readers_of_events_leave_connections_for_health_checks(
    loop_name: str, limit: int
) -> None:
    async with administered(loop_name, 2, descriptor_limit=limit) as (proxy, session):
        async with contextlib.AsyncExitStack() as stack:
            statuses = set()
            for _ in range(100):
                response = await stack.enter_async_context(session.get("/events"))
                statuses.add(response.status)
            assert statuses == {200, 503}
            async with session.get("/healthz") as response:
                assert response.status == 200
        await proxy.stop()


async def test_a_worker_that_is_killed_and_the_listener_itself_are_replaced(
    loop_name: str,
) -> None:
    async with administered(loop_name, 2) as (proxy, session):
        for victim in proxy.workers():
            os.kill(victim, signal.SIGKILL)
            assert "was ended by signal 9" in await proxy.error_line()
            async with asyncio.timeout(SOON):
                while True:
                    with contextlib.suppress(OSError):
                        if await metric(session, "cmux_proxy_workers") == 2:
                            break
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            await is_served(wire)
        proxy.signal()
        assert (await proxy.ended())[0] == 0


async def test_what_a_worker_has_counted_outlives_it(loop_name: str) -> None:
    async with administered(loop_name, 2) as (proxy, session):
        async with origin(responding(lambda _request: GREETING)) as upstream:
            await ask(proxy, upstream.port, 20)
        assert await metric(session, "cmux_proxy_requests") == 20
        *victims, _admin = proxy.workers()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
            assert "was ended by signal 9" in await proxy.error_line()
            async with asyncio.timeout(SOON):
                while await metric(session, "cmux_proxy_workers") != 2:
                    pass
            assert await metric(session, "cmux_proxy_requests") == 20
        proxy.signal()
        assert (await proxy.ended())[0] == 0


async def test_an_interrupt_of_the_terminal_ends_all_processes(loop_name: str) -> None:
    flags = ("--admin", "127.0.0.1:0", "--workers", "2")
    async with proxy_process(loop_name, *flags, has_group=True) as proxy:
        await admin_address(proxy)
        os.killpg(proxy.pid, signal.SIGINT)
        await proxy.drains()


async def test_an_address_in_use_is_an_error_of_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(AssertionError) as caught:
            async with proxy_process("auto", "--admin", address):
                pass
    assert f"cannot listen on {address}" in str(caught.value)
    assert "Traceback" not in str(caught.value)

"""Isolated workspaces: reachable through the proxy and in no other way."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cmux_proxy import Timeouts, workspace_ip
from tests.helpers.proxies import local_config, proxy_process
from tests.helpers.script import Stage, get, head, stage
from tests.helpers.timing import LATER, later
from tests.helpers.tools import finish, tool
from tests.helpers.wire import WireListener
from tests.helpers.workspaces import (
    busybox,
    ending,
    holder_pid,
    in_workspace,
    listener_inside,
    need_namespaces,
    running,
)

ADDRESS = workspace_ip("a-7")


# Real servers


def servers(folder: Path) -> dict[str, list[str]]:
    """Return two servers for one port: a statically linked program, and Python's."""
    for name in ("a-1", "b-2"):
        (folder / name).mkdir()
        (folder / name / "name").write_text(name)
    return {
        "a-1": [busybox(), "httpd", "-f", "-p", "127.0.0.1:3000", "-h", str(folder / "a-1")],
        "b-2": [
            *(sys.executable, "-m", "http.server", "3000", "--bind", "127.0.0.1"),
            *("--directory", str(folder / "b-2")),
        ],
    }


async def curl_from_inside(name: str, url: str, prefix: tuple[str, ...]) -> tuple[int, bytes]:
    """Return curl's status and output from inside a workspace."""
    curl = (tool("curl"), "-q", "-sS", "--noproxy", "*", "--max-time", str(LATER), url)
    done = await finish(*in_workspace(name, *curl, prefix=prefix))
    return done.status, done.out


@pytest.mark.hosting
async def test_two_servers_on_one_port_are_reachable_and_separate(
    loop_name: str, registry: Path, prefix: tuple[str, ...], tmp_path: Path
) -> None:
    async with proxy_process(loop_name, "--connect-retry", str(LATER)) as proxy:
        with contextlib.ExitStack() as stack:
            for name, command in servers(tmp_path).items():
                stack.enter_context(running(name, *command, prefix=prefix))
            for name in ("a-1", "b-2", "a-1"):
                url = f"http://{name}-3000.localhost:{proxy.port}/name"
                done = await finish(tool("curl"), "-q", "-sSf", "--noproxy", "*", url)
                assert (done.status, done.out) == (0, name.encode()), done.errors
            refused = 7
            for name, other in (("a-1", "b-2"), ("b-2", "a-1")):
                url = "http://127.0.0.1:3000/name"
                assert await curl_from_inside(name, url, prefix) == (0, name.encode())
                url = f"http://{workspace_ip(other)}:3000/name"
                assert (await curl_from_inside(name, url, prefix))[0] == refused
            done = await finish(tool("curl"), "-q", "-s", f"http://{workspace_ip('a-1')}:3000/")
            assert done.status == refused
        await proxy.stop()


# Requests of all types, to a listener inside


@pytest.fixture
def inside(registry: Path) -> Iterator[None]:
    """Run workspace a-7 during the test."""
    need_namespaces(())
    with running("a-7", "sleep", "600"):
        yield


@contextlib.asynccontextmanager
async def stage_inside(
    host: str = "127.0.0.1", timeouts: Timeouts | None = None
) -> AsyncIterator[Stage]:
    """Set up a proxy and an upstream in workspace a-7, to which all requests go."""
    config = local_config(upstream_host=ADDRESS, timeouts=timeouts or Timeouts())
    async with stage(config) as outside:
        # The port is reserved outside too, where a test may listen on it.
        on = Stage(outside.proxy, listener_inside(ADDRESS, host, outside.port))
        try:
            yield on
            on.check()
        finally:
            on.close()
            on.listener.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", ADDRESS])
async def test_a_server_is_found_on_each_of_its_addresses(inside: None, host: str) -> None:
    async with stage_inside(host) as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content"))


@pytest.mark.parametrize("method", ["connect", "upgrade"])
async def test_half_closes_and_resets_pass_through_a_tunnel(inside: None, method: str) -> None:
    async with stage_inside() as on:
        client, upstream = await (on.tunnel() if method == "connect" else on.websocket())
        await client.says(b"last words")
        client.ends()
        await upstream.gets(b"last words")
        await upstream.gets_end()
        await upstream.says(b"still here")
        await client.gets(b"still here")
        upstream.resets()
        await client.gets_reset()


async def test_a_listener_outside_does_not_serve_an_isolated_workspace(inside: None) -> None:
    async with stage_inside() as on:
        on.listener.close()
        with contextlib.closing(WireListener(ADDRESS, on.port)):
            client = await on.client()
            await client.says(get())
            text = await client.gets_error(502, "connection_refused")
            assert text.startswith(f"nothing listens on {ADDRESS}:{on.port};")


async def test_connect_retry_waits_for_a_port_inside(inside: None) -> None:
    async with stage_inside(timeouts=Timeouts(connect_retry=LATER)) as on:
        on.listener.close()
        client = await on.client()
        await client.says(get())
        on.listener = listener_inside(ADDRESS, port=on.port)
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))


async def test_a_server_inside_may_have_the_port_of_the_proxy(inside: None) -> None:
    async with stage(local_config(listen=["0.0.0.0:0"])) as on:
        port = on.address.port
        listener = listener_inside(ADDRESS, port=port)
        with contextlib.closing(listener):
            client = await on.client()
            route = f"X-Cmux-Port-Internal: {port}"
            await client.says(
                head("GET / HTTP/1.1", "Host: a", route, "X-Cmux-Workspace-Internal: a-7")
            )
            (await later(listener.accept())).close()
            await client.gets_error(502, "connection_terminated")


async def test_hundreds_of_connections_are_established_at_once(inside: None) -> None:
    async with stage_inside() as on:
        clients = [await on.client() for _ in range(200)]
        await asyncio.gather(*(client.says(get()) for client in clients))
        upstreams = [await on.upstream() for _ in clients]
        for upstream in upstreams:
            await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        # Later, because queued requests would reuse the connections otherwise.
        for upstream in upstreams:
            await upstream.says(head("HTTP/1.1 204 No Content"))
        for client in clients:
            await client.gets(head("HTTP/1.1 204 No Content"))


async def test_after_the_workspace_has_ended_its_address_belongs_to_the_machine(
    registry: Path,
) -> None:
    need_namespaces(())
    with running("a-7", "sleep", "600") as process, ending(holder_pid(registry)):
        process.kill()
    async with stage(local_config(upstream_host=ADDRESS)) as on:
        with contextlib.closing(WireListener(ADDRESS, on.port)) as listener:
            client = await on.client()
            await client.says(get())
            (await later(listener.accept())).close()
            await client.gets_error(502, "connection_terminated")

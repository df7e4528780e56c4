"""Load balancers that keep a proxy and drop it by its health while it drains: HAProxy, Traefik."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from tests.helpers.origins import http_response, origin, responding
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import LATER, later
from tests.helpers.tools import program, tool
from tests.helpers.wire import Wire, closed_port

HAPROXY: Final = """
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen edge
    bind 127.0.0.1:{port}
    option httpchk GET /.cmux/health
    server proxy 127.0.0.1:{proxy} check inter 20ms rise 1 fall 1
"""
TRAEFIK: Final = """
entryPoints:
  edge:
    address: 127.0.0.1:{port}
providers:
  file:
    filename: dynamic.yml
"""
TRAEFIK_SERVICE: Final = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: proxy, entryPoints: [edge]}}
  services:
    proxy:
      loadBalancer:
        servers: [{{url: "http://127.0.0.1:{proxy}"}}]
        healthCheck: {{path: /.cmux/health, interval: 20ms, timeout: 5s}}
"""
BUNDLED: Final = Path(__file__).parents[2] / ".venv-bench/bin"
GREETING: Final = http_response(b"hello")


@contextlib.asynccontextmanager
async def haproxy(port: int, proxy: int, folder: Path) -> AsyncIterator[None]:
    (folder / "config").write_text(HAPROXY.format(port=port, proxy=proxy))
    async with program(tool("haproxy"), "-db", "-f", "config", folder=folder):
        yield


@contextlib.asynccontextmanager
async def traefik(port: int, proxy: int, folder: Path) -> AsyncIterator[None]:
    path = BUNDLED / "traefik"
    if not path.exists():
        pytest.skip("make bench-full installs Traefik")
    (folder / "static.yml").write_text(TRAEFIK.format(port=port))
    (folder / "dynamic.yml").write_text(TRAEFIK_SERVICE.format(proxy=proxy))
    async with program(str(path), "--configFile=static.yml", folder=folder):
        yield


async def status_of(port: int, upstream: int) -> int:
    """Return the status of a request through a port; 0 where nobody answers."""
    try:
        with await Wire.to("127.0.0.1", port) as wire:
            route = f"X-Cmux-Port-Internal: {upstream}"
            await wire.send(head("GET / HTTP/1.1", "Host: a", route, "Connection: close"))
            response = await later(wire.receive_all())
    except OSError:
        await asyncio.sleep(0)
        return 0
    return int(response.split(b" ")[1]) if response else 0


async def until(is_reached: Callable[[int], bool], ask: Callable[[], Awaitable[int]]) -> None:
    async with asyncio.timeout(LATER):
        while not is_reached(await ask()):
            pass


@pytest.mark.parametrize("edge", [haproxy, traefik])
async def test_an_edge_keeps_a_proxy_and_drops_it_while_it_drains(
    loop_name: str,
    edge: Callable[[int, int, Path], contextlib.AbstractAsyncContextManager[None]],
    tmp_path: Path,
) -> None:
    with closed_port() as free:
        port = free
    async with (
        origin(responding(lambda _request: GREETING)) as upstream,
        proxy_process(loop_name, "--drain-delay", "1h") as proxy,
        edge(port, proxy.port, tmp_path),
    ):
        await until(lambda status: status == 200, lambda: status_of(port, upstream.port))
        proxy.signal()
        await until(lambda status: status == 503, lambda: status_of(port, upstream.port))
        # The edge has noticed; whoever comes directly is still served.
        assert await status_of(proxy.port, upstream.port) == 200
        await ends(proxy)


async def ends(proxy: ProxyProcess) -> None:
    """Send the second signal."""
    proxy.signal()
    await proxy.ended()

"""A proxy with an admin listener in the test's event loop, services, and the dashboard."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from cmux_proxy import Address, Config, Proxy
from cmux_proxy.config.sections import Observability
from cmux_proxy.server.admin import administered, open_admin
from cmux_proxy.server.stats_rpc import LocalStats
from tests.helpers.browser import Browser, chromium
from tests.helpers.proxies import local_config
from tests.helpers.timing import later
from tests.helpers.wire import Wire

# JavaScript for the row of a port: its tags and cells, its process, and the URL of its link.
ROW: Final = """((port, tag) => {
  for (const row of document.querySelectorAll("#ports tbody tr")) {
    const tags = [...row.querySelectorAll(".tag")].map((node) => node.textContent).filter(Boolean);
    if (row.querySelector(".port").textContent !== String(port)) continue;
    if (tag && !tags.includes(tag)) continue;
    const cells = [...row.cells].slice(1).map((node) => node.textContent);
    return { tags, cells, process: row.querySelector(".process").textContent,
      link: row.querySelector("a:not([hidden])")?.href ?? null };
  }
  return null;
})"""


class AdministeredProxy:
    """A proxy, and its admin listener, which can end and start again at the same address."""

    def __init__(self, proxy: Proxy, config: Config) -> None:
        self.proxy = proxy
        self._config = config

    @property
    def address(self) -> Address:
        """The address at which the proxy listens."""
        return self.proxy.addresses[0]

    @property
    def page(self) -> str:
        """The URL of the dashboard."""
        return f"http://{self._config.observability.admin}/"

    @contextlib.asynccontextmanager
    async def admin_listener(self) -> AsyncIterator[None]:
        """Run the admin listener."""
        config, sockets = open_admin(self._config)
        self._config = config
        source = LocalStats(self.proxy.stats)
        async with administered(config, sockets, source, self.proxy.addresses):
            yield


@contextlib.asynccontextmanager
async def proxy_with_admin(**options: Any) -> AsyncIterator[AdministeredProxy]:
    """Run a proxy whose admin listener does not run yet."""
    observability = Observability(admin="127.0.0.1:0", access_log="off")
    config = local_config(observability=observability, **options)
    async with Proxy(replace(config)) as proxy:
        yield AdministeredProxy(proxy, config)


@contextlib.asynccontextmanager
async def service(host: str = "127.0.0.1", failing: Sequence[str] = ()) -> AsyncIterator[int]:
    """Run a service that responds with a page, and echoes at /ws; return its port."""

    def respond(_connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/ws":
            return None
        status = 500 if request.path in failing else 200
        body = b"<!doctype html><title>here</title><link rel=icon href='data:,'>here"
        fields = [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
        return Response(status, "", Headers(fields), body)

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, host, 0, process_request=respond) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@contextlib.asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[tuple[AdministeredProxy, Browser]]:
    """Open the dashboard of a proxy; fail if the browser reports an error."""
    async with (
        proxy_with_admin(**options) as proxy,
        proxy.admin_listener(),
        chromium(folder, "127.0.0.1") as browser,
    ):
        await browser.set_appearance("light", 1200, 900)
        assert await browser.open(proxy.page) == 200
        await browser.wait_for("state !== null")
        yield proxy, browser
        assert browser.console_errors == []


async def get(proxy: AdministeredProxy, *fields: str, path: str = "/") -> bytes:
    """Send a GET request to the proxy and return the status line of the response."""
    wire = await Wire.to(proxy.address.host, proxy.address.port)
    lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *fields, "", ""]
    await wire.send("\r\n".join(lines).encode())
    data = b""
    while chunk := await later(wire.receive()):
        data += chunk
    wire.close()
    return data.partition(b"\r\n")[0]


def to(port: int) -> str:
    """Return the header field that routes to a port."""
    return f"X-Cmux-Port-Internal: {port}"

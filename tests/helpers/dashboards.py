"""A proxy with an admin listener in the test's event loop, and services that are looked at."""

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
from cmux_proxy.server.stats_rpc import OneWorker
from tests.helpers.browser import Browser, chromium
from tests.helpers.proxies import local_config
from tests.helpers.timing import later
from tests.helpers.wire import Wire

# The row of a port: what is in its cells, and where its link leads.
ROW: Final = """((port, tag) => {
  for (const row of document.querySelectorAll("#ports tbody tr")) {
    const tags = [...row.querySelectorAll(".tag")].map((each) => each.textContent).filter(Boolean);
    if (row.querySelector(".port").textContent !== String(port)) continue;
    if (tag && !tags.includes(tag)) continue;
    const cells = [...row.cells].slice(1).map((each) => each.textContent);
    return { tags, cells, who: row.querySelector(".who").textContent,
      link: row.querySelector("a:not([hidden])")?.href ?? null };
  }
  return null;
})"""


class Watched:
    """A proxy, and its admin listener, which can go away and come back at the same address."""

    def __init__(self, proxy: Proxy, config: Config) -> None:
        self.proxy = proxy
        self._config = config

    @property
    def address(self) -> Address:
        """Where the proxy listens."""
        return self.proxy.addresses[0]

    @property
    def page(self) -> str:
        """The URL of the dashboard."""
        return f"http://{self._config.observability.admin}/"

    @contextlib.asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Have the admin listener answer."""
        config, sockets = open_admin(self._config)
        self._config = config
        source = OneWorker(self.proxy.snapshot)
        async with administered(config, sockets, source, self.proxy.addresses):
            yield


@contextlib.asynccontextmanager
async def watched(**options: Any) -> AsyncIterator[Watched]:
    """Run a proxy whose admin listener does not answer yet."""
    observability = Observability(admin="127.0.0.1:0", access_log="off")
    config = local_config(observability=observability, **options)
    async with Proxy(replace(config)) as proxy:
        yield Watched(proxy, config)


@contextlib.asynccontextmanager
async def service(host: str = "127.0.0.1", failing: Sequence[str] = ()) -> AsyncIterator[int]:
    """Run a service that answers with a page, and echoes at /ws; return its port."""

    def answer(_connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/ws":
            return None
        status = 500 if request.path in failing else 200
        body = b"<!doctype html><title>here</title><link rel=icon href='data:,'>here"
        fields = [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
        return Response(status, "Said", Headers(fields), body)

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, host, 0, process_request=answer) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@contextlib.asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[tuple[Watched, Browser]]:
    """Show the dashboard of a proxy; fail if the page has anything to complain about."""
    async with (
        watched(**options) as on,
        on.told(),
        chromium(folder, "127.0.0.1") as browser,
    ):
        await browser.looks("light", 1200, 900)
        assert await browser.open(on.page) == 200
        await browser.becomes("told !== null")
        yield on, browser
        assert browser.complaints == []


async def get(on: Watched, *fields: str, path: str = "/") -> bytes:
    """Ask the proxy for something and return the first line of the answer."""
    wire = await Wire.to(on.address.host, on.address.port)
    lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *fields, "", ""]
    await wire.send("\r\n".join(lines).encode())
    data = b""
    while piece := await later(wire.receive()):
        data += piece
    wire.close()
    return data.partition(b"\r\n")[0]


def to(port: int) -> str:
    """Return the field that names a port."""
    return f"X-Cmux-Port-Internal: {port}"

"""A proxy with an admin listener in the test's event loop, and services that are looked at."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from cmux_proxy import Address, Config, Proxy
from cmux_proxy.server.administering import administered, open_admin
from cmux_proxy.server.telling import OneWorker
from cmux_proxy.settings import Observing
from tests.helpers.proxies import local_config


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
        return f"http://{self._config.observing.admin}/"

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
    observing = Observing(admin="127.0.0.1:0", access_log="off")
    config = local_config(observing=observing, **options)
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

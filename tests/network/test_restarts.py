"""One proxy replaces another under load; `make bench-restart` does it for longer."""

import asyncio
import re
import socket
from contextlib import AsyncExitStack

import pytest

from tests.helpers.origins import http_response, origin, responding
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import LATER, later
from tests.helpers.wire import Wire

CLIENTS = 8
RESTARTS = 3
# Responses of each proxy before it is replaced.
SERVED = 200


class Clients:
    """Clients that send one request after the other without retries: each failure counts."""

    def __init__(self, port: int, upstream: int) -> None:
        self.count = 0
        self._port = port
        self._request = head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {upstream}")
        self._has_served = asyncio.Condition()

    async def send_requests(self, reuses: bool) -> None:
        """Send requests until cancelled, over one connection or over a new one for each."""
        while True:
            with await Wire.to("127.0.0.1", self._port) as wire:
                while await self._exchange(wire) and reuses:
                    pass

    async def _exchange(self, wire: Wire) -> bool:
        """Send one request; return whether the connection stays open."""
        await wire.send(self._request)
        data = b""
        while not data.endswith(b"\r\n\r\nhello"):
            # A proxy may have to start before.
            chunk = await later(wire.receive())
            assert chunk, f"it ended after {data!r}"
            data += chunk
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        async with self._has_served:
            self.count += 1
            self._has_served.notify_all()
        return re.search(rb"\r\nConnection: close\r\n", data) is None

    async def served(self, responses: int) -> None:
        """Wait for this number of further responses."""
        target = self.count + responses
        async with self._has_served, asyncio.timeout(LATER):
            await self._has_served.wait_for(lambda: self.count >= target)


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
@pytest.mark.parametrize(
    "overlaps",
    [pytest.param(True, marks=pytest.mark.hosting, id="overlapping"),
     pytest.param(False, id="one after the other")],
)  # fmt: skip
async def test_no_request_fails(loop_name: str, workers: str, overlaps: bool) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        async with (
            origin(responding(lambda _: http_response(b"hello"))) as upstream,
            AsyncExitStack() as stack,
        ):

            async def begin() -> ProxyProcess:
                flags = ("--workers", workers)
                return await stack.enter_async_context(
                    proxy_process(loop_name, *flags, passed=[sock])
                )

            proxy = await begin()
            clients = Clients(sock.getsockname()[1], upstream.port)
            async with asyncio.TaskGroup() as group:
                senders = [
                    group.create_task(clients.send_requests(number % 2 == 0))
                    for number in range(CLIENTS)
                ]
                for _ in range(RESTARTS):
                    await clients.served(SERVED)
                    old = proxy
                    if overlaps:
                        proxy = await begin()
                    await old.stop()
                    if not overlaps:
                        proxy = await begin()
                await clients.served(SERVED)
                for task in senders:
                    task.cancel()
            await proxy.stop()

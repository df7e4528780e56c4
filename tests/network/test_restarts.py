"""One proxy takes over from another while clients ask; `make bench-restart` does it at length."""

import asyncio
import re
import socket
from contextlib import AsyncExitStack

import pytest

from tests.helpers.origins import answer, answering, origin
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import LATER, later
from tests.helpers.wire import Wire

CLIENTS = 8
RESTARTS = 3
# How many answers there have to be from each proxy before the next one is due.
SERVED = 200


class Clients:
    """Clients that ask one thing after the other and repeat nothing, so whatever fails is seen."""

    def __init__(self, port: int, upstream: int) -> None:
        self.count = 0
        self._port = port
        self._request = head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {upstream}")
        self._has_served = asyncio.Condition()

    async def ask(self, keeps: bool) -> None:
        """Ask until cancelled, over one connection as long as it lasts, or over a new one each."""
        while True:
            with await Wire.to("127.0.0.1", self._port) as wire:
                while await self._exchange(wire) and keeps:
                    pass

    async def _exchange(self, wire: Wire) -> bool:
        """Ask once; return whether the connection goes on. The end comes with the answer."""
        await wire.send(self._request)
        data = b""
        while not data.endswith(b"\r\n\r\nhello"):
            # It may wait for a proxy to start.
            piece = await later(wire.receive())
            assert piece, f"it ended after {data!r}"
            data += piece
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        async with self._has_served:
            self.count += 1
            self._has_served.notify_all()
        return re.search(rb"\r\nConnection: close\r\n", data) is None

    async def served(self, more: int) -> None:
        """Wait until so many more have been answered."""
        wanted = self.count + more
        async with self._has_served, asyncio.timeout(LATER):
            await self._has_served.wait_for(lambda: self.count >= wanted)


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
@pytest.mark.parametrize("overlaps", [True, False], ids=["takes turns", "stops, then starts"])
async def test_no_request_fails(loop_name: str, workers: str, overlaps: bool) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        async with (
            origin(answering(lambda _: answer(b"hello"))) as upstream,
            AsyncExitStack() as end,
        ):

            async def begin() -> ProxyProcess:
                flags = ("--workers", workers)
                return await end.enter_async_context(
                    proxy_process(loop_name, *flags, passed=[sock])
                )

            proxy = await begin()
            clients = Clients(sock.getsockname()[1], upstream.port)
            async with asyncio.TaskGroup() as group:
                asking = [
                    group.create_task(clients.ask(number % 2 == 0)) for number in range(CLIENTS)
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
                for task in asking:
                    task.cancel()
            await proxy.stop()

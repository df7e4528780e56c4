"""Drain: what it closes first, what later, and what it logs."""

import asyncio
import logging

import pytest

from tests.helpers.script import ROUTE, Stage, get, head, stage
from tests.helpers.timing import soon

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def begin(on: Stage) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(on.proxy.drain(3600.0))


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "cmux_proxy"]


class LogWaiter(logging.Handler):
    """Waits until the proxy has logged a line."""

    def __init__(self) -> None:
        super().__init__()
        self._has_logged = asyncio.Event()
        logging.getLogger("cmux_proxy").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._has_logged.set()

    async def wait(self) -> None:
        await self._has_logged.wait()
        logging.getLogger("cmux_proxy").removeHandler(self)


async def test_the_remaining_connections_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stage() as on:
        await on.pair()
        await on.tunnel()
        line = LogWaiter()
        drain = begin(on)
        await soon(line.wait())
        assert logged(caplog) == ["draining: waits up to 3600 s; clients: 1, tunnels: 1"]
        await on.proxy.close()
        await soon(drain)


async def test_nothing_is_logged_without_connections(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stage() as empty, stage() as on:
        await on.tunnel()
        line = LogWaiter()
        # The first drain would log before the second one, because both take the same time.
        drains = [begin(empty), begin(on)]
        await soon(line.wait())
        assert logged(caplog) == ["draining: waits up to 3600 s; clients: 0, tunnels: 1"]
        await on.proxy.close()
        await soon(asyncio.gather(*drains))


async def test_a_partial_head_is_completed_and_served_during_the_drain() -> None:
    async with stage() as on:
        partial = await on.client()
        await partial.says(b"GET / HTTP/1.1\r\n")
        await on.serves()
        drain = begin(on)
        await asyncio.sleep(0)
        # Private, because no event outside of the proxy shows that this phase has ended.
        assert on.proxy._drain is not None
        await soon(on.proxy._drain.wait_until_idle_closed())
        await partial.says(head("Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets(get().replace(f"{ROUTE}\r\n".encode(), b""))
        await upstream.says(OK)
        await partial.gets(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await partial.gets_end()
        await soon(drain)

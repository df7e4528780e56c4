"""Drain by itself: what it does at once, what later, and what it logs."""

import asyncio
import logging

import pytest

from tests.helpers.script import ROUTE, Stage, get, head, stage
from tests.helpers.timing import soon

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def begin(on: Stage) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(on.proxy.drain(3600.0))


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "cmux_proxy"]


class Logged(logging.Handler):
    """Tells when the proxy has logged something."""

    def __init__(self) -> None:
        super().__init__()
        self._has_come = asyncio.Event()
        logging.getLogger("cmux_proxy").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._has_come.set()

    async def wait(self) -> None:
        await self._has_come.wait()
        logging.getLogger("cmux_proxy").removeHandler(self)


async def test_what_it_waits_for_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stage() as on:
        await on.pair()
        await on.tunnel()
        line = Logged()
        drain = begin(on)
        await soon(line.wait())
        assert logged(caplog) == ["draining: waits up to 3600 s; clients: 1, tunnels: 1"]
        await on.proxy.close()
        await soon(drain)


async def test_where_it_waits_for_nothing_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stage() as on:
        await soon(on.proxy.drain())
    assert logged(caplog) == []


async def test_a_head_that_was_begun_is_served_while_the_next_request_is_waited_for() -> None:
    async with stage() as on:
        begun = await on.client()
        await begun.says(b"GET / HTTP/1.1\r\n")
        await on.serves()
        drain = begin(on)
        await asyncio.sleep(0)
        assert on.proxy._drain is not None
        await soon(on.proxy._drain.begun())
        await begun.says(head("Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets(get().replace(f"{ROUTE}\r\n".encode(), b""))
        await upstream.says(OK)
        await begun.gets(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await begun.gets_end()
        await soon(drain)

"""The system calls that a request costs on native I/O, as strace sees them."""

import asyncio
import collections
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from tests.helpers.origins import OriginConnection, http_response, origin, responding
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.tools import tool
from tests.helpers.wire import Wire

HOSTINGS = ["native"]
TIMES = 20
GREETING = http_response(b"hello")
# In front is the number of the process, with spaces up to five columns.
CALL = re.compile(r"^(?:\d+ +)?(\w+)\(", re.MULTILINE)


@contextlib.asynccontextmanager
async def traced(proxy: ProxyProcess, log: Path) -> AsyncIterator[dict[str, int]]:
    """Trace the proxy in this block; its end fills in how often each call was made, by name."""
    calls: dict[str, int] = {}
    command = (tool("strace"), "-f", "-o", str(log), "-p", str(proxy.pid))
    strace = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert strace.stderr is not None
    line = (await soon(strace.stderr.readline())).decode()
    try:
        if "attached" not in line:
            pytest.skip(f"strace may not trace here: {line}")
        yield calls
    finally:
        strace.send_signal(signal.SIGINT)
        await soon(strace.communicate())
    calls.update(collections.Counter(CALL.findall(read(log))))


def read(log: Path) -> str:
    return log.read_text()


async def ask(proxy: ProxyProcess, port: int) -> None:
    with await Wire.to("127.0.0.1", proxy.port) as wire:
        route = f"X-Cmux-Port-Internal: {port}"
        await wire.send(head("GET / HTTP/1.1", "Host: a", route, "Connection: close"))
        assert (await later(wire.receive_all())).endswith(b"hello")


async def gets(wire: Wire, end: bytes) -> None:
    """Receive until these bytes have come."""
    data = b""
    while not data.endswith(end):
        data += await soon(wire.receive())


async def echo(connection: OriginConnection) -> None:
    while data := await connection.wire.receive():
        await connection.send(data)


@contextlib.asynccontextmanager
async def serving(loop_name: str) -> AsyncIterator[tuple[ProxyProcess, int]]:
    """Run a proxy, and a service to which it has a connection already; return its port too."""
    async with (
        proxy_process(loop_name) as proxy,
        origin(responding(lambda _request: GREETING)) as upstream,
    ):
        await ask(proxy, upstream.port)
        yield proxy, upstream.port


def without_waits(calls: Mapping[str, int]) -> dict[str, float]:
    """Return the calls but epoll_wait for each time: what comes together shares one."""
    return {name: count / TIMES for name, count in calls.items() if name != "epoll_wait"}


async def test_a_request_is_two_reads_and_two_writes(loop_name: str, tmp_path: Path) -> None:
    async with serving(loop_name) as (proxy, port):
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            request = head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {port}")
            await wire.send(request)
            await gets(wire, b"hello")
            async with traced(proxy, tmp_path / "calls") as calls:
                for _ in range(TIMES):
                    await wire.send(request)
                    await gets(wire, b"hello")
    assert without_waits(calls) == {"recvfrom": 2, "sendto": 2}


async def test_a_connection_for_a_request_takes_three_more(loop_name: str, tmp_path: Path) -> None:
    async with serving(loop_name) as (proxy, port), traced(proxy, tmp_path / "calls") as calls:
        for _ in range(TIMES):
            await ask(proxy, port)
    # The second accept4 finds nothing; of connections that come together, only the last has one.
    expected = {"accept4": 2, "epoll_ctl": 1, "recvfrom": 2, "sendto": 2, "close": 1}
    assert without_waits(calls) == expected


async def test_a_message_in_a_tunnel_is_a_read_and_a_write(loop_name: str, tmp_path: Path) -> None:
    async with proxy_process(loop_name) as proxy, origin(echo) as upstream:
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            route = f"X-Cmux-Port-Internal: {upstream.port}"
            await wire.send(head("CONNECT a:1 HTTP/1.1", "Host: a:1", route))
            await gets(wire, b"\r\n\r\n")
            async with traced(proxy, tmp_path / "calls") as calls:
                for _ in range(TIMES):
                    await wire.send(b"ping")
                    await gets(wire, b"ping")
    assert without_waits(calls) == {"recvfrom": 2, "sendto": 2}

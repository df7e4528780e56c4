"""Which way a tunnel takes: CONNECT, or a WebSocket where an edge refuses that, and its memory."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import Access
from cmux_proxy.client.open_tunnel import Tunnel, TunnelError
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tunnel_request import TunnelRequest
from cmux_proxy.client.tunnel_ways import TunnelOpener, Via, WebSocketMemory
from cmux_proxy.client.websocket_tunnel import WebSocketWriter
from tests.helpers.proxies import local_config
from tests.helpers.script import Stage, head, stage
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire, WireListener

URL = "http://vm:8080"


class Edge:
    """Passes requests on to a proxy, but answers those for CONNECT itself; `methods` came."""

    def __init__(self, proxy: int, refusal: bytes) -> None:
        self.listener = WireListener()
        self.methods: list[bytes] = []
        self._proxy = proxy
        self._refusal = refusal
        self._tasks: set[asyncio.Task[None]] = set()
        self._wires: list[Wire] = []

    async def run(self) -> None:
        while True:
            wire = await self.listener.accept()
            self._wires.append(wire)
            self._start(self._serve(wire))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

    async def _serve(self, wire: Wire) -> None:
        request = await wire.receive()
        self.methods.append(request.split(b" ")[0])
        if self.methods[-1] == b"CONNECT":
            if self._refusal:
                await wire.send(self._refusal)
            wire.end()
            return
        onward = await Wire.to("127.0.0.1", self._proxy)
        self._wires.append(onward)
        await onward.send(request)
        self._start(_copy(wire, onward))
        await _copy(onward, wire)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self._wires:
            wire.close()
        self.listener.close()


async def _copy(source: Wire, sink: Wire) -> None:
    with contextlib.suppress(OSError):
        while data := await source.receive():
            await sink.send(data)
    with contextlib.suppress(OSError):
        sink.end()


@contextlib.asynccontextmanager
async def edge(on: Stage, refusal: bytes) -> AsyncIterator[tuple[Edge, ProxyUrl]]:
    made = Edge(on.address.port, refusal)
    running = asyncio.get_running_loop().create_task(made.run())
    try:
        yield made, ProxyUrl("127.0.0.1", made.listener.port, False)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await made.close()


async def close(tunnel: Tunnel) -> None:
    tunnel.writer.transport.abort()
    if isinstance(tunnel.writer, WebSocketWriter) and tunnel.writer.receiving is not None:
        await soon(asyncio.wait([tunnel.writer.receiving]))


def answer(status: int, *fields: str) -> bytes:
    return head(f"HTTP/1.1 {status} No", "Content-Length: 0", *fields)


@pytest.mark.parametrize(
    "refusal",
    [
        *(answer(status) for status in (400, 403, 404, 405, 426, 501)),
        b"",
        b"SSH-2.0-none\r\n\r\n",
        head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
        answer(400, "Proxy-Status: cmux-proxy; error=http_request_error")[:-4]
        + b"\r\nContent-Type: text/plain\r\n\r\nmissing required header: X-Cmux-Port-Internal\n",
    ],
)
async def test_where_an_edge_refuses_a_connect_a_websocket_is_opened(
    refusal: bytes, tmp_path: Path
) -> None:
    async with stage() as on, edge(on, refusal) as (passed, url):
        opener = TunnelOpener(url, "auto", SOON, str(tmp_path))
        for methods in ([b"CONNECT", b"GET"], [b"CONNECT", b"GET", b"GET"]):
            tunnel = await soon(opener.open(TunnelRequest(on.port)))
            upstream = await on.upstream()
            tunnel.writer.write(b"through")
            await upstream.gets(b"through")
            assert passed.methods == methods
            await close(tunnel)
            await upstream.gets_cut()
        # The next program begins with what has worked.
        tunnel = await soon(
            TunnelOpener(url, "auto", SOON, str(tmp_path)).open(TunnelRequest(on.port))
        )
        assert passed.methods == [*methods, b"GET"]
        await close(tunnel)
        await (await on.upstream()).gets_cut()


@pytest.mark.parametrize("via", ["auto", "connect"])
async def test_a_connect_that_passes_needs_no_websocket(via: Via, tmp_path: Path) -> None:
    async with stage() as on:
        url = ProxyUrl(on.address.host, on.address.port, False)
        tunnel = await soon(
            TunnelOpener(url, via, SOON, str(tmp_path)).open(TunnelRequest(on.port))
        )
        assert not isinstance(tunnel.writer, WebSocketWriter)
        await on.upstream()
        await close(tunnel)
    assert not os.listdir(tmp_path)


async def test_only_auto_tries_the_other_way(tmp_path: Path) -> None:
    async with stage() as on, edge(on, answer(405)) as (passed, url):
        with pytest.raises(TunnelError, match="405"):
            await TunnelOpener(url, "connect", SOON, str(tmp_path)).open(TunnelRequest(on.port))
        tunnel = await soon(TunnelOpener(url, "websocket", SOON, None).open(TunnelRequest(on.port)))
        assert passed.methods == [b"CONNECT", b"GET"]
        await on.upstream()
        await close(tunnel)


async def test_what_the_proxy_itself_refuses_is_not_tried_again(tmp_path: Path) -> None:
    config = local_config(access=Access(allow_ports=["1"]))
    async with stage(config) as on, edge(on, b"") as (passed, _url):
        url = ProxyUrl(on.address.host, on.address.port, False)
        with pytest.raises(TunnelError, match="403: port"):
            await TunnelOpener(url, "auto", SOON, str(tmp_path)).open(TunnelRequest(on.port))
        assert passed.methods == []


async def test_where_neither_way_works_the_first_refusal_is_told(tmp_path: Path) -> None:
    async with stage() as on, edge(on, answer(405)) as (passed, url):
        passed._refusal = answer(405)
        passed._proxy = on.port
        opening = asyncio.get_running_loop().create_task(
            TunnelOpener(url, "auto", SOON, str(tmp_path)).open(TunnelRequest(on.port))
        )
        # A server that knows no WebSockets is behind the edge.
        upstream = await on.upstream()
        await upstream.gets_head()
        await upstream.says(answer(404))
        with pytest.raises(TunnelError, match="405"):
            await soon(opening)


def test_what_is_remembered_is_forgotten_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = WebSocketMemory(str(tmp_path / "new"))
    assert not memory.has(URL)
    memory.remember(URL, True)
    assert WebSocketMemory(str(tmp_path / "new")).has(URL)
    assert not memory.has("http://other:80")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_401)
    assert not memory.has(URL)


def test_it_is_forgotten_once_a_connect_passes(tmp_path: Path) -> None:
    memory = WebSocketMemory(str(tmp_path))
    memory.remember(URL, True)
    memory.remember(URL, False)
    assert not memory.has(URL)
    assert [path.name for path in tmp_path.iterdir()] == ["websocket-proxies.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"http://vm:8080": "now"}', "\xff"])
def test_a_file_that_is_none_is_not_used(tmp_path: Path, text: str) -> None:
    (tmp_path / "websocket-proxies.json").write_text(text, "latin-1")
    memory = WebSocketMemory(str(tmp_path))
    assert not memory.has(URL)
    memory.remember(URL, True)
    assert json.loads((tmp_path / "websocket-proxies.json").read_text()).keys() == {URL}


def test_without_a_place_nothing_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (None, str(tmp_path / "file" / "below")):
        memory = WebSocketMemory(directory)
        memory.remember(URL, True)
        assert not memory.has(URL)

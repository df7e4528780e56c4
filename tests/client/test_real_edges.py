"""Tunnels through real edges that pass no CONNECT: nginx, which refuses it, and Caddy.

Caddy responds with a 200 that is no tunnel.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tunnel_request import TunnelRequest
from cmux_proxy.client.tunnel_ways import TunnelOpener
from cmux_proxy.client.websocket_tunnel import WebSocketWriter
from tests.helpers.nginx import nginx
from tests.helpers.script import stage
from tests.helpers.timing import LATER, SOON, later, soon
from tests.helpers.tools import program, tool
from tests.helpers.wire import Wire, closed_port

NGINX: Final = """
daemon off;
{user}
pid {folder}/nginx.pid;
events {{ }}
http {{
    access_log off;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:PROXY;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""
CADDY: Final = """
{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{proxy}
}}
"""
Edge = Callable[[Path, int], contextlib.AbstractAsyncContextManager[int]]


def behind_nginx(folder: Path, proxy: int) -> contextlib.AbstractAsyncContextManager[int]:
    return nginx(folder, NGINX.replace("PROXY", str(proxy)))


@contextlib.asynccontextmanager
async def behind_caddy(folder: Path, proxy: int) -> AsyncIterator[int]:
    with closed_port() as free:
        port = free
    (folder / "Caddyfile").write_text(CADDY.format(port=port, proxy=proxy))
    variables = {"HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    command = (tool("caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile")
    async with program(*command, folder=folder, variables=variables):
        await listens(port)
        yield port


async def listens(port: int) -> None:
    async with asyncio.timeout(LATER):
        while True:
            with contextlib.suppress(OSError):
                (await Wire.to("127.0.0.1", port)).close()
                return
            await asyncio.sleep(0)


@pytest.mark.parametrize("edge", [behind_nginx, behind_caddy])
async def test_every_byte_passes_and_each_half_ends_alone(edge: Edge, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    async with stage() as on, edge(tmp_path, on.address.port) as port:
        url = ProxyUrl("127.0.0.1", port, False)
        opener = TunnelOpener(url, "auto", SOON, str(tmp_path / "state"))
        tunnel = await later(opener.open(TunnelRequest(on.port)))
        assert isinstance(tunnel.writer, WebSocketWriter)
        if edge is behind_caddy:
            # It passes the CONNECT on, and then takes it for a request with a body.
            await (await on.upstream()).gets_cut()
        upstream = await on.upstream()
        tunnel.writer.write(data)
        # nginx itself loses what waits behind a half-close of TCP.
        tunnel.writer.write_eof()
        assert await later(upstream.gets_bytes(len(data))) == data
        await upstream.gets_end()
        await later(upstream.wire.send(data))
        upstream.ends()
        assert await later(tunnel.reader.read()) == data
        tunnel.writer.close()
        assert tunnel.writer.receiving is not None
        await soon(asyncio.wait([tunnel.writer.receiving]))

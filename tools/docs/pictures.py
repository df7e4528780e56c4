"""Takes the screenshots of the dashboard in docs/assets, in its own network namespace (Linux).

python -m tools.docs.pictures; needs Chromium, and the right to make network namespaces.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from websockets.asyncio.client import connect

from tests.helpers.browser import chromium
from tests.helpers.tools import program
from tests.helpers.wire import Wire

ROOT: Final = Path(__file__).parent.parent.parent
ASSETS: Final = ROOT / "docs" / "assets"
_UNSHARE: Final = (
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--pid",
    "--fork",
    "--mount-proc",
)
# The seconds of traffic before the screenshots.
_SECONDS_OF_TRAFFIC: Final = 25
_WIDTH: Final = 1100
# The browser's own listener does not belong to the example.
_WITHOUT_BROWSER: Final = """
const all = JSON.parse;
const isExample = (entry) => !JSON.stringify(entry.at).includes("chromium");
JSON.parse = (text) => {
  const state = all(text);
  return { ...state, ports: state.ports.filter(isExample) };
};
"""

_SERVICE: Final = """
import asyncio, os, random, sys
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

port, *host = sys.argv[1:]
slow, failing = os.environ["SLOW"], os.environ["FAILING"]

async def respond(_connection, request):
    if request.path == "/hmr":
        return None
    await asyncio.sleep(float(slow) * random.choice([1, 2, 2, 3, 9]))
    status = 500 if random.random() < float(failing) else 200
    return Response(status, "", Headers([("Content-Length", "5")]), b"hello")

async def echo(connection):
    async for message in connection:
        await connection.send(message)

async def main():
    async with serve(echo, *(host or ["127.0.0.1"]), int(port), process_request=respond):
        await asyncio.Event().wait()

asyncio.run(main())
"""
# The services: isolated workspace, seconds per response, ratio of errors, and the command.
_SERVICES: Final = (
    ("", "0.004", "0", "shop.py", "3000"),
    ("agent-1", "0.006", "0", "shop.py", "3000"),
    ("", "0.003", "0", "shop.py", "3000", "127.18.0.2"),
    ("", "0.001", "0", "vite.py", "5173"),
    ("", "0.02", "0.02", "api.py", "8000"),
)
# The requests: port, workspace, path, requests per second.
_REQUESTS: Final = (
    (3000, "", "/", 12),
    (3000, "agent-1", "/", 5),
    (3000, "agent-2", "/cart", 2),
    (5173, "", "/src/main.ts", 25),
    (8000, "", "/api/orders", 8),
    (9000, "", "/graphql", 0.2),
)


async def main() -> None:
    """Run services, the proxy and traffic, and take the screenshots."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with contextlib.AsyncExitStack() as stack:
            proxy = ("-m", "cmux_proxy", "--admin", "127.0.0.1:9179", "--access-log", "off")
            await stack.enter_async_context(
                program(sys.executable, *proxy, "--listen", "127.0.0.1:8080", folder=folder)
            )
            for service in _SERVICES:
                await stack.enter_async_context(_running(folder, *service))
            # The services do not report that they listen, and a refused request would be an error.
            await asyncio.sleep(3)
            async with asyncio.TaskGroup() as group:
                senders = [group.create_task(_send_requests(*request)) for request in _REQUESTS]
                for port in (3000, 5173, 5173):
                    await stack.enter_async_context(_tunnel(port))
                await _take(folder)
                for task in senders:
                    task.cancel()


@contextlib.asynccontextmanager
async def _running(
    folder: Path, workspace: str, slow: str, failing: str, name: str, *arguments: str
) -> AsyncIterator[None]:
    (folder / name).write_text(_SERVICE)
    command = [sys.executable, name, *arguments]
    if workspace:
        inside = ("-m", "cmux_proxy", "run", "--no-outbound", "--workspace", workspace, "--")
        command = [sys.executable, *inside, *command]
    variables = {"SLOW": slow, "FAILING": failing}
    async with program(*command, folder=folder, variables=variables):
        yield


async def _send_requests(port: int, workspace: str, path: str, rate: float) -> None:
    fields = f"Host: a\r\nConnection: close\r\nX-Cmux-Port-Internal: {port}\r\n"
    if workspace:
        fields += f"X-Cmux-Workspace-Internal: {workspace}\r\n"
    while True:
        wire = await Wire.to("127.0.0.1", 8080)
        await wire.send(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())
        await wire.receive_all()
        wire.close()
        await asyncio.sleep(1 / rate)


@contextlib.asynccontextmanager
async def _tunnel(port: int) -> AsyncIterator[None]:
    fields = {"X-Cmux-Port-Internal": str(port)}
    url = "ws://127.0.0.1:8080/hmr"
    async with connect(url, additional_headers=fields, proxy=None) as tunnel:
        await tunnel.send("hello" * 500)
        yield


async def _take(folder: Path) -> None:
    async with chromium(folder, "127.0.0.1") as browser:
        await browser.hide_scroll_bars()
        await browser.set_appearance("light", _WIDTH, 900)
        await browser.open("http://127.0.0.1:9179/")
        await browser.evaluate(_WITHOUT_BROWSER)
        await browser.wait_for(f"rates.length >= {_SECONDS_OF_TRAFFIC}")
        height = await browser.evaluate("document.documentElement.scrollHeight")
        for scheme in ("light", "dark"):
            await browser.set_appearance(scheme, _WIDTH, height, "prefers-reduced-motion: reduce")
            (ASSETS / f"dashboard-{scheme}.png").write_bytes(await browser.screenshot())


if __name__ == "__main__":
    if os.environ.get("CMUX_PICTURES") != "apart":
        os.environ["CMUX_PICTURES"] = "apart"
        inner = f'ip link set lo up && exec "{sys.executable}" -m tools.docs.pictures'
        os.execvp(_UNSHARE[0], [*_UNSHARE, "sh", "-c", inner])  # noqa: S606
    asyncio.run(main())

"""Chromium over TLS and HTTP/2: everything of a page, and of many tabs, on one connection."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from cmux_proxy import Observability, Proxy, Tls
from tests.helpers.browser import Browser, chromium
from tests.helpers.loops import LOOPS
from tests.helpers.messages import Message
from tests.helpers.origins import OriginConnection, chunk, http_response, origin
from tests.helpers.proxies import local_config
from tests.helpers.script import head
from tests.helpers.timing import later
from tests.helpers.tls import leaf, write_pem
from tests.helpers.websockets import switching

# No loop makes a difference to a browser, which takes seconds to start.
HOSTINGS: Final = LOOPS[:1]
MODULES: Final = 60
TABS: Final = 20
# Reads an event of each stream, a piece of a response and a message, with all of them still open.
PAGE: Final = """<!doctype html><link rel="icon" href="data:,"><script type="module">
const source = (path) => new Promise((resolve) => {
    const events = new EventSource(path);
    events.onmessage = (event) => resolve(event.data);
});
const socket = new WebSocket(`wss://${location.host}/socket`);
const message = new Promise((resolve) => { socket.onmessage = (event) => resolve(event.data); });
const piece = async () => {
    const reader = (await fetch("/stream")).body.getReader();
    return new TextDecoder().decode((await reader.read()).value);
};
const open = await Promise.all([source("/events/1"), source("/events/2"), piece(), message]);
await import("/module/1.js");
const protocols = performance.getEntries()
    .filter((entry) => entry.nextHopProtocol)
    .map((entry) => entry.nextHopProtocol);
report(JSON.stringify([open, globalThis.loaded, [...new Set(protocols)]]));
</script>"""
# Sends what comes as an event into the WebSocket, with what a request gets meanwhile.
TAB: Final = """<!doctype html><link rel="icon" href="data:,"><script>
const socket = new WebSocket(`wss://${location.host}/socket${location.search}`);
socket.onopen = () => {
    const events = new EventSource(`/events/${location.search}`);
    events.onmessage = async (event) => {
        const response = await fetch(`/answer/${event.data}`);
        socket.send(`${event.data} ${await response.text()}`);
    };
};
</script>"""


class Site:
    """A service with modules, event streams, an endless response, and WebSockets.

    `events` has the queue of each event stream by its target; `messages` are those of WebSockets.
    """

    def __init__(self, page: str) -> None:
        self._page = page
        self.events: dict[str, asyncio.Queue[bytes]] = {}
        self.messages: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def __call__(self, connection: OriginConnection) -> None:
        """Serve one connection."""
        while (request := await connection.request()) is not None:
            if request.target.startswith("/events/"):
                await self._send_events(connection, request.target)
            elif request.target.startswith("/socket"):
                await self._talk(connection, request)
                return
            elif request.target == "/stream":
                await connection.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
                await connection.send(chunk(b"piece"))
                await connection.receive()
            else:
                await connection.send(self._response(request.target))

    def _response(self, target: str) -> bytes:
        if module := re.fullmatch(r"/module/(\d+)\.js", target):
            number = int(module[1])
            children = [child for child in (2 * number, 2 * number + 1) if child <= MODULES]
            code = "".join(f'import "/module/{child}.js";\n' for child in children)
            code += "globalThis.loaded = (globalThis.loaded ?? 0) + 1;\n"
            return http_response(code.encode(), "Content-Type: text/javascript")
        if target.startswith("/answer/"):
            return http_response(target.encode())
        return http_response(self._page.encode(), "Content-Type: text/html")

    async def _send_events(self, connection: OriginConnection, target: str) -> None:
        events = self.events[target] = asyncio.Queue()
        fields = ("Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        await connection.send(head("HTTP/1.1 200 OK", *fields))
        await connection.send(chunk(b"data: event\n\n"))
        while True:
            await connection.send(chunk(b"data: %b\n\n" % await events.get()))

    async def _talk(self, connection: OriginConnection, request: Message) -> None:
        """Send a message, and receive until the end."""
        await connection.send(switching(request.head + b"\r\n\r\n") + b"\x81\x07message")
        with contextlib.suppress(EOFError):
            while True:
                await self.messages.put((request.target, await _message(connection)))


async def _message(connection: OriginConnection) -> str:
    """Return the next short message of a client (RFC 6455 section 5.2)."""
    start = await connection.take(2)
    if start[0] & 0x0F == 8:
        raise EOFError
    mask = await connection.take(4)
    masked = await connection.take(start[1] & 0x7F)
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked)).decode()


@contextlib.asynccontextmanager
async def browsing(folder: Path, site: Site) -> AsyncIterator[tuple[Browser, Proxy, str]]:
    """Run a site, a proxy with TLS and a browser; yield the last two and the site's URL."""
    cert, key = write_pem(folder, "a", leaf("*.localhost"))
    observability = Observability(admin="127.0.0.1:0")
    config = local_config(tls=Tls(certs=[cert], keys=[key]), observability=observability)
    async with (
        origin(site) as upstream,
        Proxy(config) as proxy,
        chromium(folder) as browser,
    ):
        await browser.ignore_certificate_errors()
        yield browser, proxy, f"https://{upstream.port}.localhost:{proxy.addresses[0].port}/"


async def test_a_page_with_all_that_it_opens_is_on_one_connection(tmp_path: Path) -> None:
    async with browsing(tmp_path, Site(PAGE)) as (browser, proxy, url):
        assert await browser.open(url) == 200
        opened, loaded, protocols = json.loads(await browser.next_report())
        assert opened == ["event", "event", "piece", "message"]
        assert (loaded, protocols) == (MODULES, ["h2"])
        # RFC 8441: a response of HTTP/1.1 would be a 101.
        assert await browser.next_websocket_status() == 200
        stats = proxy.stats(100)
        # Two event streams, an endless response and a WebSocket.
        assert (stats.http2_connections, stats.http2_streams) == (1, 4)


async def test_twenty_tabs_with_an_event_stream_and_a_websocket_each_are_alive(
    tmp_path: Path,
) -> None:
    """Over HTTP/1.1 the seventh tab would wait for ever: browsers open six connections."""
    site = Site(TAB)
    async with browsing(tmp_path, site) as (browser, proxy, url):
        names = [f"?{number}" for number in range(TABS)]
        for name in names:
            await browser.open_tab(url + name)
        await expect_messages(site, names, "event")
        for number in range(3):
            for name in names:
                site.events[f"/events/{name}"].put_nowait(b"%d" % number)
            await expect_messages(site, names, str(number))
        stats = proxy.stats(100)
        assert (stats.http2_connections, stats.http2_streams) == (1, 2 * TABS)


async def expect_messages(site: Site, names: list[str], event: str) -> None:
    """Fail unless each tab sends what it has got, with the response to a request of its own."""
    messages = [await later(site.messages.get()) for _ in names]
    assert sorted(messages) == sorted(
        (f"/socket{name}", f"{event} /answer/{event}") for name in names
    )

"""Chromium, which cannot send fields of the proxy: the host of a page selects its port."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from cmux_proxy import Proxy, Tls, workspace_ip
from tests.helpers.browser import chromium
from tests.helpers.origins import Behaviour, fixed_length, origin
from tests.helpers.proxies import local_config
from tests.helpers.script import stage
from tests.helpers.tls import leaf, write_pem
from tests.helpers.wire import closed_port

PAGE: Final = """<!doctype html>
<link rel="icon" href="data:,">
<script type="module" src="/main.js"></script>
"""
MAIN: Final = """
import { greeting } from "./greeting.js";
const before = document.cookie;
document.cookie = "seen=" + location.host;
const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/echo`);
socket.onopen = () => socket.send(greeting);
socket.onmessage = (event) => report(JSON.stringify([event.data, before, isSecureContext]));
"""
FILES: Final = {
    "/": ("text/html", PAGE),
    "/main.js": ("text/javascript", MAIN),
    "/greeting.js": ("text/javascript", 'export const greeting = "hello";'),
}


class Site:
    """A page with modules and a WebSocket that echoes.

    `requests` are path, Host and Origin of each request.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[tuple[str, str, str | None]] = []

    def page(self, _connection: ServerConnection, request: Request) -> Response | None:
        """Respond to requests that are no WebSocket handshake."""
        fields = request.headers
        self.requests.append((request.path, fields["Host"], fields.get("Origin")))
        if request.path not in FILES:
            return None
        media_type, text = FILES[request.path]
        body = text.encode()
        headers = Headers([("Content-Type", media_type), ("Content-Length", str(len(body)))])
        return Response(200, "OK", headers, body)

    async def echo(self, connection: ServerConnection) -> None:
        """Send back each message with the name of the site."""
        async for message in connection:
            await connection.send(f"{self.name}: {message!s}")


def reporting_page(text: bytes) -> Behaviour:
    """Serve a page that reports a text."""
    page = b"<!doctype html><link rel=icon href=data:,><script>report('%b')</script>" % text
    return fixed_length(page, "Content-Type: text/html")


def running(site: Site, host: str, port: int) -> contextlib.AbstractAsyncContextManager[Server]:
    """Run a site for as long as the returned context."""
    return serve(site.echo, host, port, process_request=site.page)


@contextlib.asynccontextmanager
async def both_running(workspace: Site, default: Site) -> AsyncIterator[int]:
    """Run two sites on one port, one of them in workspace ws-1; return the port."""
    with closed_port() as port:
        async with (
            running(workspace, workspace_ip("ws-1"), port),
            running(default, "127.0.0.1", port),
        ):
            yield port


async def test_a_page_its_modules_and_its_websocket_are_reached_by_host(
    tmp_path: Path,
) -> None:
    workspace, default = Site("workspace"), Site("default")
    async with (
        both_running(workspace, default) as port,
        stage() as on,
        chromium(tmp_path) as browser,
    ):
        for site, name in ((workspace, f"ws-1-{port}"), (default, str(port))):
            host = f"{name}.localhost:{on.address.port}"
            assert await browser.open(f"http://{host}/") == 200
            # Each host is a separate origin with separate cookies.
            expected = [f"{site.name}: hello", "", True]
            assert json.loads(await browser.next_report()) == expected
            assert site.requests == [("/", host, None)] + [
                (path, host, f"http://{host}") for path in ("/main.js", "/greeting.js", "/echo")
            ]
            assert browser.sockets.pop() == f"ws://{host}/echo"


async def test_an_error_page_reloads_when_the_service_listens(tmp_path: Path) -> None:
    with closed_port() as port:
        async with stage() as on, chromium(tmp_path) as browser:
            url = f"http://{port}.localhost:{on.address.port}/"
            assert await browser.open(url) == 502
            heading = await browser.evaluate("document.querySelector('h1').innerText")
            assert heading == f"Nothing listens on port {port}"
            # The policy of the page allows its own style and script.
            radius = "getComputedStyle(document.querySelector('main')).borderTopLeftRadius"
            assert await browser.evaluate(radius) == "14px"
            async with origin(reporting_page(b"it listens"), port=port):
                assert await browser.next_report() == "it listens"


async def test_an_error_page_runs_no_other_scripts(tmp_path: Path) -> None:
    with closed_port() as port:
        async with stage() as on, chromium(tmp_path) as browser:
            await browser.open(f"http://{port}.localhost:{on.address.port}/")
            inserted = "document.body.append(Object.assign(document.createElement('script'), "
            await browser.evaluate(inserted + "{ text: 'window.ran = true' })); 0")
            assert await browser.evaluate("window.ran === undefined")


# A page may add fields to requests to its own origin

OTHER_PORT: Final = """
fetch("%s", { headers: { "X-Cmux-Port-Internal": "%d" } })
    .then((response) => response.text().then((text) => `${response.status} ${text.trim()}`), String)
"""
EMPTY_PAGE: Final = '<!doctype html><link rel="icon" href="data:,">'
FORBIDDEN: Final = "400 invalid header: X-Cmux-Port-Internal contradicts the host; leave it out"


def allows_everything() -> Behaviour:
    """Serve as a development server that lets every page read it, with any field."""
    allowed = [f"Access-Control-Allow-{what}: *" for what in ("Origin", "Headers", "Methods")]
    return fixed_length(EMPTY_PAGE.encode(), "Content-Type: text/html", *allowed)


async def test_a_page_reaches_no_other_port_of_its_own_origin(tmp_path: Path) -> None:
    async with (
        origin(allows_everything()) as machine,
        origin(allows_everything()) as secret,
        # The same port in a workspace.
        origin(allows_everything(), workspace_ip("ws-1"), machine.port) as workspace,
        stage() as on,
        chromium(tmp_path) as browser,
    ):
        for upstream, name in ((machine, "%d"), (workspace, "ws-1-%d")):
            page = f"http://{name % upstream.port}.localhost:{on.address.port}/"
            assert await browser.open(page) == 200
            assert await browser.evaluate(OTHER_PORT % ("/x", secret.port)) == FORBIDDEN
            # The page may name its own port, and stays in its workspace.
            assert (
                await browser.evaluate(OTHER_PORT % ("/own", upstream.port)) == f"200 {EMPTY_PAGE}"
            )
            assert [request.target for request in upstream.requests] == ["/", "/own"]
        assert not secret.requests


async def test_a_page_reaches_no_other_port_through_a_service_that_allows_everything(
    tmp_path: Path,
) -> None:
    async with (
        origin(allows_everything()) as foreign,
        origin(allows_everything()) as permissive,
        origin(allows_everything()) as secret,
        stage() as on,
        chromium(tmp_path) as browser,
    ):
        assert await browser.open(f"http://{foreign.port}.localhost:{on.address.port}/") == 200
        there = f"http://{permissive.port}.localhost:{on.address.port}/x"
        # No other origin may read the proxy's error response.
        failed = "TypeError: Failed to fetch"
        assert await browser.evaluate(OTHER_PORT % (there, secret.port)) == failed
        assert [request.method for request in permissive.requests] == ["OPTIONS"]
        assert await browser.evaluate(OTHER_PORT % (there, permissive.port)) == f"200 {EMPTY_PAGE}"
        # A host without a port does not help either.
        nowhere = f"http://localhost:{on.address.port}/"
        assert await browser.evaluate(OTHER_PORT % (nowhere, secret.port)) == failed
        assert not secret.requests


async def test_a_page_and_its_websocket_over_tls_to_which_plain_http_is_redirected(
    tmp_path: Path,
) -> None:
    site = Site("over TLS")
    cert, key = write_pem(tmp_path, "a", leaf("*.localhost"))
    config = local_config(tls=Tls(certs=[cert], keys=[key], plain_text="redirect"))
    with closed_port() as port:
        async with (
            running(site, "127.0.0.1", port),
            Proxy(config) as proxy,
            chromium(tmp_path) as browser,
        ):
            await browser.ignore_certificate_errors()
            for scheme in ("https", "http"):
                url = f"{scheme}://{port}.localhost:{proxy.addresses[0].port}/"
                assert await browser.open(url) == 200
                data, _cookies, is_secure = json.loads(await browser.next_report())
                assert (data, is_secure) == ("over TLS: hello", True)
                assert await browser.evaluate("location.protocol") == "https:"

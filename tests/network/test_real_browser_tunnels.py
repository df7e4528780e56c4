"""Chromium, whose pages get no tunnel unless their origin is listed."""

from pathlib import Path
from typing import Final

from cmux_proxy import Tunnels
from tests.helpers.browser import chromium
from tests.helpers.origins import fixed_length, origin
from tests.helpers.proxies import local_config
from tests.helpers.script import stage

PAGE: Final = fixed_length(b"<!doctype html><link rel=icon href=data:,>", "Content-Type: text/html")
BINARY: Final = '["binary"]'
# Asks for a tunnel, and for the first bytes from it.
ASK: Final = """
new Promise((tell) => {
    const socket = new WebSocket("%s", %s);
    socket.binaryType = "arraybuffer";
    socket.onerror = () => tell("refused");
    socket.onmessage = (event) => tell(new TextDecoder().decode(event.data));
})
"""


async def test_pages_get_no_tunnel_whatever_their_host(tmp_path: Path) -> None:
    async with (
        origin(PAGE) as foreign,
        stage() as on,
        chromium(tmp_path, "127.0.0.1", "localhost", "rebound.example") as browser,
    ):
        proxy = on.address.port
        pages = [
            f"http://127.0.0.1:{foreign.port}/",
            # Its name is the attacker's, and leads to the proxy by now.
            f"http://rebound.example:{foreign.port}/",
            # A page of a port behind the proxy.
            f"http://{foreign.port}.localhost:{proxy}/",
        ]
        for page in pages:
            assert await browser.open(page) == 200
            for host in ("127.0.0.1", "localhost", "rebound.example", "x.localhost"):
                url = f"ws://{host}:{proxy}/.cmux/tcp/{on.port}"
                for offered in ("[]", BINARY, '["cmux-tcp.v1"]'):
                    assert await browser.evaluate(ASK % (url, offered)) == "refused"
        await on.nothing_reached_upstream()


async def test_where_the_host_names_the_port_the_subprotocol_is_the_services(
    tmp_path: Path,
) -> None:
    async with origin(PAGE) as page, stage() as on, chromium(tmp_path) as browser:
        assert await browser.open(f"http://{page.port}.localhost:{on.address.port}/") == 200
        url = f"ws://{on.port}.localhost:{on.address.port}/.cmux/tcp/22"
        await browser.evaluate(
            f"new WebSocket('{url}', ['cmux-tcp.v1']).onerror = () => report('refused'), 0"
        )
        upstream = await on.upstream()
        request = await upstream.gets_head()
        assert request.startswith(b"GET /.cmux/tcp/22 HTTP/1.1\r\n")
        assert b"\r\nSec-WebSocket-Protocol: cmux-tcp.v1\r\n" in request
        upstream.closes()
        assert await browser.next_report() == "refused"


async def test_a_page_of_a_listed_origin_gets_its_tunnel(tmp_path: Path) -> None:
    async with origin(PAGE) as page:
        site = f"http://vnc.localhost:{page.port}"
        async with (
            stage(local_config(tunnels=Tunnels([site]))) as on,
            chromium(tmp_path) as browser,
        ):
            assert await browser.open(f"{site}/") == 200
            url = f"ws://x.localhost:{on.address.port}/.cmux/tcp/{on.port}"
            await browser.evaluate(f"{ASK.strip() % (url, BINARY)}.then(report), 0")
            upstream = await on.upstream()
            await upstream.says(b"RFB 003.008\n")
            assert await browser.next_report() == "RFB 003.008\n"
            # The same page by another name is another origin.
            assert await browser.open(f"http://other.localhost:{page.port}/") == 200
            assert await browser.evaluate(ASK % (url, BINARY)) == "refused"

"""Chromium with the authority of --tls auto in its NSS database, where certutil has put it."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from cmux_proxy import Proxy, Tls
from cmux_proxy.net.tls_contexts import configure_context
from cmux_proxy.net.tls_leaves import LeafTable
from cmux_proxy.server.authority_file import AuthorityFile
from cmux_proxy.trust.nss_databases import nss_steps
from cmux_proxy.trust.step import Certificate
from tests.helpers.authority_files import use_state
from tests.helpers.browser import Browser, chromium
from tests.helpers.proxies import local_config
from tests.helpers.tools import tool
from tests.helpers.wire import closed_port
from tests.network.test_real_browser import Site, running

PROTOCOLS: Final = """
performance.getEntries()
    .filter((entry) => entry.nextHopProtocol)
    .map((entry) => `${new URL(entry.name).pathname} ${entry.nextHopProtocol}`)
"""
UNTRUSTED: Final = "net::ERR_CERT_AUTHORITY_INVALID"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuthorityFile:
    return use_state(tmp_path / "state", monkeypatch)


def change_trust(file: AuthorityFile, home: Path, is_removal: bool) -> None:
    """Let the browsers of a home directory trust the authority, or no longer."""
    authority = file.read()
    certificate = Certificate(file.certificate_path, authority.certificate_pem(), authority.name())
    [step] = nss_steps(certificate, is_removal, tool, str(home))
    assert step.obstacle == ""
    step.run()


def proxy_with_authority() -> Proxy:
    return Proxy(local_config(tls=Tls(source="auto", plain_text="redirect")))


async def expect_site(browser: Browser, host: str, name: str) -> None:
    """Fail unless a page, its modules and its WebSocket come over HTTP/2, without a warning."""
    assert await browser.open(f"https://{host}/") == 200
    assert browser.document["securityState"] == "secure"
    assert browser.document["securityDetails"]["sanList"] == [host.partition(":")[0]]
    data, _cookies, is_secure = json.loads(await browser.next_report())
    assert (data, is_secure) == (f"{name}: hello", True)
    assert await browser.evaluate(PROTOCOLS) == ["/ h2", "/main.js h2", "/greeting.js h2"]
    # RFC 8441: a response of HTTP/1.1 would be a 101.
    assert await browser.next_websocket_status() == 200
    assert browser.sockets.pop() == f"wss://{host}/echo"


async def test_a_page_is_secure_once_the_authority_is_trusted(
    file: AuthorityFile, tmp_path: Path
) -> None:
    site = Site("trusted")
    with closed_port() as port:
        async with running(site, "127.0.0.1", port), proxy_with_authority() as proxy:
            host = f"{port}.localhost:{proxy.addresses[0].port}"
            change_trust(file, tmp_path, is_removal=False)
            async with chromium(tmp_path) as browser:
                await expect_site(browser, host, "trusted")
                # The redirect leads there too.
                assert await browser.open(f"http://{host}/") == 200
                assert await browser.evaluate("location.href") == f"https://{host}/"
                assert browser.console_errors == []


async def test_no_page_is_opened_without_the_authority(file: AuthorityFile, tmp_path: Path) -> None:
    async with proxy_with_authority() as proxy:
        url = f"https://3000.localhost:{proxy.addresses[0].port}/"
        change_trust(file, tmp_path, is_removal=False)
        change_trust(file, tmp_path, is_removal=True)
        async with chromium(tmp_path) as browser:
            assert await browser.refusal(url) == UNTRUSTED


async def test_chromium_refuses_what_the_authority_may_not_issue(
    file: AuthorityFile, tmp_path: Path
) -> None:
    authority, _ = file.load_or_make([])
    change_trust(file, tmp_path, is_removal=False)
    configure = partial(configure_context, protocols=["http/1.1"], clients=None)
    # It issues for names that it must not, as somebody would who has stolen its key.
    context = LeafTable(authority, ["bank.example"], configure).make_default().context

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server, chromium(tmp_path, "bank.example") as browser:
        assert await browser.open(f"https://3000.localhost:{port}/") == 200
        refusal = await browser.refusal(f"https://bank.example:{port}/")
        assert refusal == "net::ERR_CERT_INVALID"
